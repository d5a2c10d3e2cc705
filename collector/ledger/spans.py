"""A call as an OpenTelemetry span, and a span as a row of the ledger.

Enters: a Call with its price (`call_span`), or a finished span (`read_span`). Leaves: a ReadableSpan, or a
`Row`. The span is built directly, with explicit times and ids that follow from the call: a tracer and its
processors would cost ten times as much, and may drop spans.

Invariants
- Written twice, a call is the same span: trace, span and call id depend on the call alone.
- read_span(call_span(call)) has every column of the call; what was unknown stays unknown.
"""

from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from collector import __version__
from collector.call import Call, Usage
from collector.ledger import names
from collector.ledger.prices import Priced

SCOPE = InstrumentationScope("sizewise", __version__, names.SCHEMA_URL)
RESOURCE = Resource({"service.name": "sizewise", "service.version": __version__}, names.SCHEMA_URL)

UNSET, FAILED = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
SAMPLED = TraceFlags(TraceFlags.SAMPLED)

PLAIN_NAMES = tuple(names.PLAIN.values())
plain_values = attrgetter(*names.PLAIN)
TIME_NAMES = tuple(names.TIMES.values())
time_values = attrgetter(*names.TIMES)
USAGE_NAMES = tuple(names.USAGE[field] for field in Usage.__struct_fields__)


class Row(NamedTuple):
    """A call as the table has it, in the order in which the columns are copied; times in microseconds."""

    source_id: bytes
    started_at_us: int
    call_id: bytes
    # for whom
    tenant_id: str
    team: str
    project: str
    route: str
    environment: str
    key_id: str
    unit: str
    client: str
    # to whom, what, and how it went
    upstream: str
    api: str
    provider: str
    operation: str
    zone: str
    model: str
    served_model: str
    service_tier: str
    fingerprint: str
    outcome: str
    usage_source: str
    usage_problem: str
    error_type: str
    price_state: str
    price_id: str
    stream: bool
    status: int
    attempts: int
    finish_reason: str
    # its own names
    end_user: str
    idempotency_key: str
    request_id: str
    response_id: str
    trace_id: bytes | None
    span_id: bytes | None
    parent_span_id: bytes | None
    # how much and how long
    request_bytes: int
    response_bytes: int
    content_events: int
    duration_us: int
    cost_usd: str | None
    other_usage: bytes | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    connect_us: int | None
    first_byte_us: int | None
    first_content_us: int | None
    relay_us: int | None
    gap_p50_us: int | None
    gap_p99_us: int | None
    queue_us: int | None
    engine_us: int | None


def span_ids(call: Call) -> tuple[bytes, bytes]:
    """Trace and span. A call without a trace is one of its own, under its own id; the call's random half is
    its span, so that who knows the call can name the span."""
    return call.trace_id if len(call.trace_id) == 16 else call.call_id, call.call_id[8:]


def call_span(call: Call, priced: Priced, source_id: bytes) -> ReadableSpan:
    attributes: dict[str, Any] = {
        name: value for name, value in zip(PLAIN_NAMES, plain_values(call), strict=True) if value
    }
    for name, value in zip(TIME_NAMES, time_values(call), strict=True):
        if value is not None:
            attributes[name] = value
    if call.usage is not None:
        add_usage(attributes, call.usage)
    attributes[names.SOURCE_ID] = source_id.hex()
    attributes[names.CALL_ID] = call.call_id.hex()
    attributes[names.PRICE_STATE] = priced.price_state
    if priced.cost_usd is not None:
        attributes[names.COST] = f"{priced.cost_usd:f}"
    if priced.price_id:
        attributes[names.PRICE_ID] = priced.price_id
    if call.finish_reason:
        attributes[names.FINISH_REASONS] = (call.finish_reason,)
    if call.first_content_us is not None:
        attributes[names.FIRST_CHUNK] = call.first_content_us / 1e6
    if call.outcome != "ok" or call.error_type:
        attributes[names.ERROR_TYPE] = error_type(call)
    operation = names.OPERATIONS.get(call.operation, call.operation)
    attributes[names.CONVERSATIONAL] = operation
    return ReadableSpan(
        name=f"{operation} {call.model}",
        context=context_of(call),
        parent=parent_of(call),
        resource=RESOURCE,
        attributes=attributes,
        kind=SpanKind.CLIENT,
        status=UNSET if call.outcome == "ok" else FAILED,
        start_time=call.started_at_ns,
        end_time=call.started_at_ns + call.duration_us * 1000,
        instrumentation_scope=SCOPE,
    )


def add_usage(attributes: dict[str, Any], usage: Usage) -> None:
    for name, value in zip(USAGE_NAMES, msgspec.structs.astuple(usage), strict=True):
        if value is not None:
            attributes[name] = value
    if usage.cache_write_tokens is not None:
        attributes[names.CACHE_CREATION] = usage.cache_write_tokens


def error_type(call: Call) -> str:
    """As the convention wants it: the upstream's own word, else its status, else how the call ended."""
    return call.error_type or (str(call.status) if call.status >= 400 else call.outcome)


def context_of(call: Call) -> SpanContext:
    trace_id, span_id = span_ids(call)
    return SpanContext(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), False, SAMPLED)


def parent_of(call: Call) -> SpanContext | None:
    if len(call.parent_span_id) != 8 or len(call.trace_id) != 16:
        return None
    ids = int.from_bytes(call.trace_id, "big"), int.from_bytes(call.parent_span_id, "big")
    return SpanContext(*ids, True, SAMPLED)


RARE = {names.USAGE[field]: field for field in Usage.__struct_fields__ if field not in Row._fields}

# What a span that lacks an attribute says by it.
ABSENT: dict[str, Any] = {
    **dict.fromkeys(names.PLAIN.values(), ""),
    **{names.PLAIN[field]: 0 for field in ("status", "attempts", "request_bytes", "response_bytes")},
    names.PLAIN["content_events"]: 0,
    names.PLAIN["stream"]: False,
    **dict.fromkeys((*TIME_NAMES, *(set(USAGE_NAMES) - set(RARE)), names.COST)),
    names.ERROR_TYPE: "",
    names.PRICE_STATE: "",
    names.PRICE_ID: "",
    names.FINISH_REASONS: ("",),
}


def attributes_between(first: str, last: str) -> tuple[str, ...]:
    """The attributes of a run of the row's columns."""
    named = {**names.PLAIN, **names.TIMES, **names.USAGE}
    named |= {"tenant_id": names.PLAIN["tenant"], "error_type": names.ERROR_TYPE, "cost_usd": names.COST}
    named |= {"price_state": names.PRICE_STATE, "price_id": names.PRICE_ID}
    columns = Row._fields
    return tuple(named[column] for column in columns[columns.index(first) : columns.index(last) + 1])


whom_and_what = itemgetter(*attributes_between("tenant_id", "attempts"))
own_names = itemgetter(*attributes_between("end_user", "response_id"))
sizes = itemgetter(*attributes_between("request_bytes", "content_events"))
counts_and_times = itemgetter(*attributes_between("input_tokens", "engine_us"))


def read_span(span: ReadableSpan) -> Row:
    """The inverse of call_span; raises KeyError for a span that Sizewise didn't make."""
    attributes = {**ABSENT, **(span.attributes or {})}
    context, parent = span.get_span_context(), span.parent
    started_at_ns, ended_at_ns = span.start_time or 0, span.end_time or 0
    call_id = bytes.fromhex(attributes[names.CALL_ID])
    trace_id: bytes | None = context.trace_id.to_bytes(16, "big") if context else None
    shared = trace_id is not None and trace_id != call_id
    return tuple.__new__(
        Row,
        (
            bytes.fromhex(attributes[names.SOURCE_ID]),
            started_at_ns // 1000,
            call_id,
            *whom_and_what(attributes),
            attributes[names.FINISH_REASONS][0],
            *own_names(attributes),
            trace_id if shared else None,
            context.span_id.to_bytes(8, "big") if shared and context else None,
            parent.span_id.to_bytes(8, "big") if parent else None,
            *sizes(attributes),
            (ended_at_ns - started_at_ns) // 1000,
            attributes[names.COST],
            None if attributes.keys().isdisjoint(RARE) else rare_usage(attributes),
            *counts_and_times(attributes),
        ),
    )


def rare_usage(attributes: dict[str, Any]) -> bytes:
    return msgspec.json.encode(
        {field: attributes[name] for name, field in RARE.items() if name in attributes}
    )
