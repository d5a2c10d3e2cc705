"""Spans: the names that other tools read, and the same row whichever way it is read."""

import json
from decimal import Decimal

import msgspec
from hypothesis import assume, given, settings
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from collector.ledger.prices import PriceList
from collector.ledger.rows import Row, read_span
from collector.ledger.spans import call_span
from tests.unit.ledger.conftest import CALLS

PRICES = PriceList()
SOURCE = bytes(range(100, 116))


def plain_copy(span):
    """What another exporter, or a collector, would have of it: nothing but the SDK's own fields."""
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=dict(span.attributes),
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def test_a_span_has_the_names_of_the_conventions(whole_call):
    span = call_span(whole_call, PRICES.price(whole_call), SOURCE)
    attributes = span.attributes
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "anthropic"
    assert attributes["gen_ai.request.model"] == "claude-sonnet-4-5"
    assert attributes["gen_ai.response.model"] == "claude-sonnet-4-5-20250929"
    assert attributes["gen_ai.request.stream"] is True
    assert attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert attributes["gen_ai.response.time_to_first_chunk"] == 0.25
    assert attributes["gen_ai.usage.input_tokens"] == 10
    assert attributes["gen_ai.usage.output_tokens"] == 0  # zero is not absent
    assert attributes["gen_ai.usage.cache_write.input_tokens"] == 4
    assert attributes["gen_ai.usage.cache_creation.input_tokens"] == 4
    assert "gen_ai.usage.cache_read.input_tokens" not in attributes
    # 6 x 3 + 4 x 3.75 a million, and one search of 10 a thousand; a decimal, as text
    assert attributes["sizewise.cost_usd"] == "0.010033"
    assert (span.name, span.kind) == ("chat claude-sonnet-4-5", SpanKind.CLIENT)
    assert span.instrumentation_scope.schema_url.startswith("https://opentelemetry.io/schemas/")
    assert span.get_span_context().trace_id == int.from_bytes(b"t" * 16, "big")
    assert span.parent.span_id == int.from_bytes(b"p" * 8, "big")
    assert span.end_time - span.start_time == 1_000_000_000
    assert json.loads(span.to_json())["attributes"]["gen_ai.usage.input_tokens"] == 10


def test_a_failed_call_is_a_failed_span(whole_call):
    failed = msgspec.structs.replace(whole_call, outcome="error", status=429)
    span = call_span(failed, PRICES.price(failed), SOURCE)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "429"


@settings(max_examples=300, deadline=None)
@given(CALLS)
def test_every_span_is_a_row_whichever_way_it_is_read(call):
    assume(call.trace_id != call.call_id)  # a call's own trace is not written
    span = call_span(call, PRICES.price(call), SOURCE)
    row = read_span(span)
    assert read_span(plain_copy(span)) == row
    assert len(row) == len(Row._fields)
    assert row.call_id == call.call_id
    assert row.duration_us == call.duration_us
    assert row.input_tokens == (call.usage and call.usage.input_tokens)
    assert row.cost_usd is None or isinstance(row.cost_usd, Decimal)


@settings(max_examples=200, deadline=None)
@given(CALLS)
def test_attributes_are_what_opentelemetry_can_carry(call):
    span = call_span(call, PRICES.price(call), SOURCE)
    for name, value in span.attributes.items():
        assert isinstance(value, str | bool | int | float | tuple), name
        assert value != "", name
    again = call_span(call, PRICES.price(call), SOURCE)
    assert again.get_span_context() == span.get_span_context()
