"""What a span that came by OTLP tells of a call. Enters: a span, its resource's attributes, and which places
are known. Leaves: a `Sighting`, or None for a span that tells nothing.

Pure. Invariants
- Only attributes that names.py lists are read: prompts and replies, which some libraries put into spans, are
  never looked at and never kept.
- Absent is not zero: a span without token counts is a call whose usage is unknown.
- A span whose request was turned away (an error, and nothing that says that a model answered) is no call.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector.call import Call, Usage
from collector.config.effective import guess_provider
from collector.ledger import names
from collector.ledger.heard import plain_attributes

Kind = Literal[
    "client",  # an application's view of a call
    "server",  # a model server's: one sequence of a call
    "relayed",  # an application's view of a call that went to our own relay, which records it
    "link",  # no call, but it may stand between two views of one
]
TEXT_LIMIT = 200
LARGEST = 2**62
# SDKs that people point at servers of their own: what they call their provider says nothing about the price.
ADAPTABLE = {"openai", "anthropic"}
# vLLM counts the prompts of a completion and the turns of a response behind the id that the client gets.
COUNTED = re.compile(r"(?:(?!chatcmpl-)[a-z]+-.+(-\d+)|resp_.+(_\d+))\Z")


class Sighting(msgspec.Struct, frozen=True):
    trace_id: bytes
    span_id: bytes
    parent_id: bytes  # b"" for none
    kind: Kind
    started_at_ns: int
    ended_at_ns: int
    response_id: str = ""
    call: Call | None = None

    @property
    def key(self) -> tuple[bytes, bytes]:
        return self.trace_id, self.span_id


class Place(NamedTuple):
    """An upstream of the configuration, known by its host and port."""

    upstream: str
    provider: str
    zone: str


class Places(msgspec.Struct, frozen=True):
    upstreams: dict[tuple[str, int], Place] = {}
    relays: frozenset[tuple[str, int]] = frozenset()


class BadSpan(ValueError):  # noqa: N818 - it names the thing that is refused
    """A span that breaks the protocol; the text says how."""


def see(span: Span, resource: Mapping[str, Any], tenant: str, places: Places) -> Sighting | None:
    """Raises BadSpan."""
    check(span)
    own = plain_attributes(span.attributes)
    given = {**resource, **own}
    host, port = address_of(given)
    response_id = ""
    call: Call | None = None
    kind: Kind = "link"
    if names.CALL_ID in own:
        pass  # our own record of a call that a relay saw: it may be forwarded here, and is no news
    elif is_servers(span, given):
        kind, call = "server", read_server(span, given, tenant)
        response_id = reply_id(text(given.get(names.SERVER_REQUEST_ID)))
    elif (operation := operation_of(own)) and not was_refused(span, given):
        kind = "relayed" if (host, port) in places.relays else "client"
        call = read_client(span, given, operation, tenant, find_place(given, host, port, places))
        response_id = call.response_id
    elif not may_link(span, own):
        return None
    return Sighting(
        span.trace_id,
        span.span_id,
        span.parent_span_id if any(span.parent_span_id) else b"",
        kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        response_id,
        call,
    )


def check(span: Span) -> None:
    if len(span.trace_id) != 16 or not any(span.trace_id):
        raise BadSpan("a trace id has 16 bytes, and not only zeros")
    if len(span.span_id) != 8 or not any(span.span_id):
        raise BadSpan("a span id has 8 bytes, and not only zeros")
    if len(span.parent_span_id) not in (0, 8):
        raise BadSpan("a parent's span id has 8 bytes, or none")
    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano < 2**63:
        raise BadSpan("a finished span has a start, and an end that is not before it")


def is_servers(span: Span, given: Mapping[str, Any]) -> bool:
    """vLLM's span of one sequence; those of its start-up have no counts, and one turned away has neither."""
    if span.kind != Span.SPAN_KIND_SERVER or names.SERVER_REQUEST_ID not in given:
        return False
    usage = read_usage(given)
    return usage is not None and usage.input_tokens is not None


def operation_of(own: Mapping[str, Any]) -> str:
    """Ours, or "" for a span that is no call. The library that says more of itself is asked first."""
    if names.INFERENCE_KIND in own:
        return names.HEARD_OPERATIONS.get(text(own[names.INFERENCE_KIND]).upper(), "")
    for name in (names.OPERATION, names.REQUEST_TYPE):
        if said := text(own.get(name)).lower():
            return names.HEARD_OPERATIONS.get(said, "")
    asked = first(own, names.HEARD_PROVIDER) and first(own, names.HEARD_TEXTS["model"])
    return "chat" if asked and names.LOOP_KIND not in own and read_usage(own) is not None else ""


def was_refused(span: Span, given: Mapping[str, Any]) -> bool:
    """It failed, and nothing says that a model answered."""
    if span.status.code != Status.STATUS_CODE_ERROR or read_usage(given) is not None:
        return False
    answered = (*names.HEARD_TEXTS["response_id"], *names.HEARD_TEXTS["served_model"], *names.HEARD_FINISH)
    return first(given, answered) is None


def may_link(span: Span, own: Mapping[str, Any]) -> bool:
    """The HTTP request of a call stands between the application's span and the relay's."""
    return names.CALL_ID in own or first(own, names.HEARD_HTTP) is not None


def read_client(span: Span, given: Mapping[str, Any], operation: str, tenant: str, place: Place) -> Call:
    usage, failed = read_usage(given), span.status.code == Status.STATUS_CODE_ERROR
    status = whole(first(given, names.HEARD_STATUS)) or 0
    return msgspec.structs.replace(
        read_common(span, given, tenant, usage),
        upstream=place.upstream,
        provider=place.provider,
        zone=place.zone,
        operation=operation,
        status=status if status < 1000 else 0,
        outcome="error" if failed else "ok",
        stream=first(given, names.HEARD_STREAM) is True,
    )


def read_server(span: Span, given: Mapping[str, Any], tenant: str) -> Call:
    request_id = text(given.get(names.SERVER_REQUEST_ID))
    return msgspec.structs.replace(
        read_common(span, given, tenant, read_usage(given)),
        operation="chat" if request_id.startswith("chatcmpl-") else "",
        response_id=reply_id(request_id),
        queue_us=microseconds(given.get(names.SERVER_QUEUE_S)),
        engine_us=microseconds(given.get(names.SERVER_ENGINE_S)),
    )


def read_common(span: Span, given: Mapping[str, Any], tenant: str, usage: Usage | None) -> Call:
    texts: dict[str, Any] = {field: text(first(given, keys)) for field, keys in names.HEARD_TEXTS.items()}
    finish = first(given, names.HEARD_FINISH)
    return Call(
        **texts,
        call_id=make_call_id(span.trace_id, span.span_id, span.start_time_unix_nano),
        started_at_ns=span.start_time_unix_nano,
        tenant=tenant,
        trace_id=span.trace_id,
        parent_span_id=span.parent_span_id if any(span.parent_span_id) else b"",
        finish_reason=text(finish[0] if isinstance(finish, list) and finish else finish),
        usage=usage,
        usage_source="unknown" if usage is None else "reported",
        usage_problem="the span has no token counts" if usage is None else "",
        first_content_us=microseconds(first(given, names.HEARD_FIRST_CHUNK)),
        duration_us=(span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
    )


def make_call_id(trace_id: bytes, span_id: bytes, started_at_ns: int) -> bytes:
    """Time first, as in every call's id, and the span last: who knows the call can name the span."""
    milliseconds = (started_at_ns // 1_000_000 & 0xFFFF_FFFF_FFFF).to_bytes(6, "big")
    return milliseconds + bytes([0x70 | trace_id[14] & 0x0F, trace_id[15]]) + span_id


def read_usage(given: Mapping[str, Any]) -> Usage | None:
    counts = {
        field: count
        for field, keys in names.HEARD_USAGE.items()
        if (count := whole(first(given, keys))) is not None
    }
    if not counts.keys() & {"input_tokens", "output_tokens"}:
        return None
    cached = counts.get("cache_read_tokens", 0) + counts.get("cache_write_tokens", 0)
    if "input_tokens" in counts and cached > counts["input_tokens"]:
        counts["input_tokens"] += cached  # its library leaves cached tokens out, as Anthropic's API does
    return Usage(**counts)


def find_place(given: Mapping[str, Any], host: str, port: int, places: Places) -> Place:
    """What the configuration says of the address; else who is known to listen there; else what was said."""
    if known := places.upstreams.get((host, port)):
        return known
    said = text(first(given, names.HEARD_PROVIDER)).lower()
    provider = guess_provider(host) if host else ""
    if not provider and not (host and said in ADAPTABLE):
        provider = names.HEARD_PROVIDERS.get(said, "")
    return Place("", provider, "")


def address_of(given: Mapping[str, Any]) -> tuple[str, int]:
    """A host's name and port; some write a URL there."""
    said = text(first(given, names.HEARD_HOST)).lower()
    if "://" in said:
        try:
            parts = urlsplit(said)
            port = parts.port
        except ValueError:
            return "", 0
        return parts.hostname or "", port or (80 if parts.scheme == "http" else 443)
    return said, whole(given.get(names.HEARD_PORT)) or 443


def reply_id(request_id: str) -> str:
    found = COUNTED.match(request_id)
    return request_id[: -len(found[1] or found[2])] if found else request_id


def first(given: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((given[key] for key in keys if given.get(key) is not None), None)


def text(value: Any) -> str:
    return value[:TEXT_LIMIT] if isinstance(value, str) else ""


def whole(value: Any) -> int | None:
    """A count. Some write it as a text or with a decimal point."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < LARGEST else None


def microseconds(seconds: Any) -> int | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e7:
        return None
    return round(seconds * 1e6)
