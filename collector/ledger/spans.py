"""A call as a finished OpenTelemetry span. Enters: a Call, its price, and the journal it came from.

The span is not made by a tracer: that and its processors cost ten times as much, and may drop spans. And its
attributes are made when somebody reads them: an exporter to another collector does, the ledger's own takes
the call (rows.py), which saves it a quarter of its work.

Invariant: written twice, a call is the same span: trace and span id depend on the call alone.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from collector import __version__
from collector.call import Call
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
USAGE_NAMES = tuple(names.USAGE.values())


class CallSpan(ReadableSpan):
    """The SDK's ReadableSpan, its fields filled in on demand; what all calls share stands on the class."""

    _kind = SpanKind.CLIENT
    _resource = RESOURCE
    _instrumentation_scope = SCOPE
    _instrumentation_info = None
    _events = ()
    _links = ()

    def __init__(self, call: Call, priced: Priced, source_id: bytes) -> None:
        self.call, self.priced, self.source_id = call, priced, source_id

    def __getattr__(self, name: str) -> Any:
        """Asked only for what isn't there yet: the fields that ReadableSpan's own methods read."""
        if name not in MAKERS:
            raise AttributeError(name)
        made = self.__dict__[name] = MAKERS[name](self)
        return made


MAKERS: dict[str, Callable[[CallSpan], Any]] = {
    "_name": lambda span: f"{operation_of(span.call)} {span.call.model}",
    "_context": lambda span: context_of(span.call),
    "_parent": lambda span: parent_of(span.call),
    "_start_time": lambda span: span.call.started_at_ns,
    "_end_time": lambda span: span.call.started_at_ns + span.call.duration_us * 1000,
    "_status": lambda span: UNSET if span.call.outcome == "ok" else FAILED,
    "_attributes": lambda span: attributes_of(span.call, span.priced, span.source_id),
}


def call_span(call: Call, priced: Priced, source_id: bytes) -> ReadableSpan:
    return CallSpan(call, priced, source_id)


def span_ids(call: Call) -> tuple[bytes, bytes]:
    """Trace and span. A call without a trace is one of its own, under its own id; the call's random half is
    its span, so that who knows the call can name the span."""
    return call.trace_id if len(call.trace_id) == 16 else call.call_id, call.call_id[8:]


def parent_id(call: Call) -> bytes | None:
    return call.parent_span_id if len(call.parent_span_id) == 8 and len(call.trace_id) == 16 else None


def context_of(call: Call) -> SpanContext:
    trace_id, span_id = span_ids(call)
    return SpanContext(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), False, SAMPLED)


def parent_of(call: Call) -> SpanContext | None:
    parent = parent_id(call)
    if parent is None:
        return None
    return SpanContext(int.from_bytes(call.trace_id, "big"), int.from_bytes(parent, "big"), True, SAMPLED)


def operation_of(call: Call) -> str:
    return names.OPERATIONS.get(call.operation, call.operation)


def error_type(call: Call) -> str:
    """As the convention wants it: the upstream's own word, else its status, else how the call ended."""
    if call.error_type or call.outcome == "ok":
        return call.error_type
    return str(call.status) if call.status >= 400 else call.outcome


def attributes_of(call: Call, priced: Priced, source_id: bytes) -> dict[str, Any]:
    plain = zip(PLAIN_NAMES, plain_values(call), strict=True)
    attributes = {name: value for name, value in plain if value}
    times = zip(TIME_NAMES, time_values(call), strict=True)
    attributes |= {name: value for name, value in times if value is not None}
    if call.usage is not None:
        counts = zip(USAGE_NAMES, msgspec.structs.astuple(call.usage), strict=True)
        attributes |= {name: value for name, value in counts if value is not None}
        if call.usage.cache_write_tokens is not None:
            attributes[names.CACHE_CREATION] = call.usage.cache_write_tokens
    if call.operation:
        attributes[names.OPERATION] = operation_of(call)
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
    if error := error_type(call):
        attributes[names.ERROR_TYPE] = error
    return attributes
