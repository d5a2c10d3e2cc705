"""A span as a row of the ledger. Enters: a finished span. Leaves: a `Row`.

Invariant: a row says the same whether it was read from the attributes, as any span's, or taken from the call
that a CallSpan brings along; what was unknown stays unknown.
"""

from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
from opentelemetry.sdk.trace import ReadableSpan

from collector.call import Call, Usage
from collector.ledger import names
from collector.ledger.prices import Priced
from collector.ledger.spans import CallSpan, error_type, parent_id


class Row(NamedTuple):
    """A call as the table has it, in the order in which the columns are copied; times in microseconds."""

    source_id: bytes
    started_at_us: int
    call_id: bytes
    # for whom
    tenant_id: str
    team: str
    project: str
    environment: str
    key_id: str
    unit: str
    client: str
    # to whom, what, and how it went
    route: str
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
    stream: bool
    status: int
    attempts: int
    finish_reason: str
    error_type: str
    price_state: str
    price_id: str
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
    cost_usd: Decimal | None
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


def run_of(first: str, last: str) -> tuple[str, ...]:
    """The columns from one to another, in the order of Row."""
    return Row._fields[Row._fields.index(first) : Row._fields.index(last) + 1]


OF_CALL = {"tenant_id": "tenant"}
WHOM_AND_WHAT = [OF_CALL.get(column, column) for column in run_of("tenant_id", "finish_reason")]
OWN = run_of("end_user", "response_id")
SIZES = run_of("request_bytes", "duration_us")
COUNTS = run_of("input_tokens", "reasoning_tokens")
TIMES = run_of("connect_us", "engine_us")

call_whom_and_what, call_own = attrgetter(*WHOM_AND_WHAT), attrgetter(*OWN)
call_sizes, call_times = attrgetter(*SIZES), attrgetter(*TIMES)
usage_counts = attrgetter(*COUNTS)
no_counts = (None,) * len(COUNTS)
RARE = [field for field in Usage.__struct_fields__ if field not in COUNTS]
rare_counts = attrgetter(*RARE)
no_rare = (None,) * len(RARE)


def read_span(span: ReadableSpan) -> Row:
    """Raises KeyError for a span that Sizewise didn't make."""
    if span.__class__ is CallSpan:
        return row_of(span.call, span.priced, span.source_id)
    return read_attributes(span)


def row_of(call: Call, priced: Priced, source_id: bytes) -> Row:
    usage = call.usage
    trace_id = call.trace_id if len(call.trace_id) == 16 else None
    return tuple.__new__(
        Row,
        (
            source_id,
            call.started_at_ns // 1000,
            call.call_id,
            *call_whom_and_what(call),
            error_type(call),
            priced.price_state,
            priced.price_id,
            *call_own(call),
            trace_id,
            trace_id and call.call_id[8:],
            parent_id(call),
            *call_sizes(call),
            priced.cost_usd,
            None if usage is None or rare_counts(usage) == no_rare else rare_usage(usage),
            *(no_counts if usage is None else usage_counts(usage)),
            *call_times(call),
        ),
    )


def rare_usage(usage: Usage) -> bytes:
    pairs = zip(RARE, rare_counts(usage), strict=True)
    return msgspec.json.encode({field: count for field, count in pairs if count is not None})


# What a span that lacks an attribute says by it.
ABSENT: dict[str, Any] = {
    **dict.fromkeys(names.PLAIN.values(), ""),
    **{names.PLAIN[field]: 0 for field in ("status", "attempts", *SIZES) if field in names.PLAIN},
    names.PLAIN["stream"]: False,
    **dict.fromkeys((*names.TIMES.values(), *names.USAGE.values(), names.COST)),
    names.ERROR_TYPE: "",
    names.PRICE_ID: "",
    names.FINISH_REASONS: ("",),
}
NAMED = {**names.PLAIN, **names.TIMES, **names.USAGE}
named_whom_and_what = itemgetter(*[NAMED[field] for field in WHOM_AND_WHAT if field != "finish_reason"])
named_own = itemgetter(*[NAMED[field] for field in OWN])
named_sizes = itemgetter(*[NAMED[field] for field in SIZES if field != "duration_us"])
named_counts = itemgetter(*[NAMED[field] for field in (*COUNTS, *TIMES)])


def read_attributes(span: ReadableSpan) -> Row:
    attributes: dict[str, Any] = {**ABSENT, **(span.attributes or {})}
    context, parent = span.get_span_context(), span.parent
    started_at_ns, ended_at_ns = span.start_time or 0, span.end_time or 0
    call_id = bytes.fromhex(attributes[names.CALL_ID])
    trace_id = context.trace_id.to_bytes(16, "big") if context else call_id
    rare = {field: attributes[names.USAGE[field]] for field in RARE}
    rare = {field: count for field, count in rare.items() if count is not None}
    cost = attributes[names.COST]
    return Row._make(
        (
            bytes.fromhex(attributes[names.SOURCE_ID]),
            started_at_ns // 1000,
            call_id,
            *named_whom_and_what(attributes),
            attributes[names.FINISH_REASONS][0],
            attributes[names.ERROR_TYPE],
            attributes[names.PRICE_STATE],
            attributes[names.PRICE_ID],
            *named_own(attributes),
            trace_id if trace_id != call_id else None,
            context.span_id.to_bytes(8, "big") if context and trace_id != call_id else None,
            parent.span_id.to_bytes(8, "big") if parent else None,
            *named_sizes(attributes),
            (ended_at_ns - started_at_ns) // 1000,
            None if cost is None else Decimal(cost),
            msgspec.json.encode(rare) if rare else None,
            *named_counts(attributes),
        )
    )
