"""Calls inside a WebSocket, of OpenAI's Realtime and Responses APIs: messages enter, what they said leaves.

One JSON event is one message. `response.done` (Realtime) and `response.completed|incomplete|failed`
(Responses) end a response and hold its usage; each is one priced call, however many share a socket. A
transcription of what the user said is billed apart, by another model, and its event stands alone.
Sans-IO and without state: which event belongs to which call is for whoever sees them in order.
"""

import enum
import re
from typing import Any, NamedTuple

import msgspec

from collector.apis import responses
from collector.apis.failure import name_error
from collector.apis.lenient import Misfit, decode_leniently, describe_unreadable, usage_misfit
from collector.apis.reading import Count, Reading, settle_usage
from collector.apis.request import read_request_prefix
from collector.call import Usage

_OPERATIONS = {b"realtime": "realtime", b"responses": "responses"}


class Kind(enum.IntEnum):
    NOTHING = 0
    SESSION = 1  # says which models the session uses
    ASKED = 2  # the client asks for a response
    BEGAN = 3
    CONTENT = 4
    ENDED = 5  # `reading` says how
    ALONE = 6  # a call of one event: a transcription
    REFUSED = 7  # an error event: perhaps the answer to what was asked


class Said(NamedTuple):
    kind: Kind = Kind.NOTHING
    response_id: str = ""
    model: str = ""
    event_id: str = ""
    chars: int = 0
    reading: Reading | None = None
    transcriber: str = ""


_NOTHING = Said()
_TYPE = re.compile(rb'\s*\{\s*(?:"event_id"\s*:\s*(?:"[^"\\]*"|null)\s*,\s*)?"type"\s*:\s*"([a-z_.]+)"')
_RESPONSE_ID = re.compile(rb'"response_id"\s*:\s*"([^"\\]+)"')
_DELTA = re.compile(rb'"delta"\s*:\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_AUDIO = (b"audio.delta",)
_ENDS = {b"response.done", b"response.completed", b"response.incomplete", b"response.failed"}
_HEARD = {b"conversation.item.input_audio_transcription.completed", b"transcription.done"}
_READ = _ENDS | _HEARD | {b"response.created", b"session.created", b"session.updated", b"error"}
_SENT = {b"response.create", b"session.update"}


def find_operation(path: bytes) -> str:
    """What the calls in a WebSocket of this path are; "" where they can't be read."""
    return _OPERATIONS.get(path.rstrip(b"/").rpartition(b"/")[2], "")


def wants_sent(head: bytes) -> bool:
    """Is more needed of a client's message that begins so. Audio is most of what comes."""
    kind = _TYPE.match(head)
    return kind is None or kind[1] in _SENT


def wants_received(head: bytes) -> bool:
    kind = _TYPE.match(head)
    return kind is None or kind[1] in _READ or (kind[1].endswith(b".delta") and not kind[1].endswith(_AUDIO))


class _Sent(msgspec.Struct):
    type: str | None = None
    event_id: str | None = None
    model: str | None = None
    session: Any = None


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cached_tokens_details: "_Details | None" = None


class _Usage(msgspec.Struct):
    type: str | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    prompt_tokens: Count | None = None  # vLLM's transcriptions
    completion_tokens: Count | None = None
    input_token_details: _Details | None = None
    output_token_details: _Details | None = None
    seconds: float | None = None


class _Status(msgspec.Struct):
    reason: str | None = None
    error: Any = None


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    status_details: _Status | None = None
    usage: _Usage | None = None


class _Received(msgspec.Struct):
    type: str | None = None
    event_id: str | None = None
    item_id: str | None = None
    response: msgspec.Raw | None = None
    session: Any = None
    usage: _Usage | None = None
    error: Any = None


_decode_sent = msgspec.json.Decoder(_Sent).decode
_decode_received = msgspec.json.Decoder(_Received).decode
_decode_response = msgspec.json.Decoder(_Response).decode


def read_sent(message: bytes, whole: bool) -> Said:
    """A client's event; never raises. Of a long one the beginning does."""
    found = _TYPE.match(message)
    if found is not None and found[1] not in _SENT:
        return _NOTHING
    if not whole:
        asks = found is not None and found[1] == b"response.create"
        return Said(Kind.ASKED, model=read_request_prefix(message).model) if asks else _NOTHING
    try:
        event = _decode_sent(message)
    except (msgspec.MsgspecError, RecursionError):
        try:
            event, _ = decode_leniently(message, _Sent)
        except (ValueError, RecursionError):
            return _NOTHING
    if event.type == "response.create":
        return Said(Kind.ASKED, model=(event.model or "")[:200], event_id=(event.event_id or "")[:200])
    if event.type == "session.update":
        return Said(Kind.SESSION, model=(event.model or "")[:200])
    return _NOTHING


def read_received(message: bytes, whole: bool) -> Said:
    """A server's event; never raises."""
    found = _TYPE.match(message)
    if found is not None and found[1] not in _READ:
        return _read_delta(found[1], message) if found[1].endswith(b".delta") else _NOTHING
    misfits: list[Misfit] = []
    try:
        event = _decode_received(message)
    except (msgspec.MsgspecError, RecursionError):
        try:
            event, misfits = decode_leniently(message, _Received)
        except (ValueError, RecursionError) as problem:
            why = describe_unreadable(problem) if whole else "too long to read"
            return _read_unreadable(found[1] if found else b"", message, why)
    kind = (event.type or "").encode("utf-8", "replace")
    if kind in _ENDS or kind == b"response.created":
        body = bytes(event.response or b"{}")
        reading = _read_response(body) if kind == b"response.done" else responses.read_reply(body, 200)
        what = Kind.BEGAN if kind == b"response.created" else Kind.ENDED
        return Said(what, reading.response_id, reading.model, reading=reading)
    if kind in _HEARD:
        return _read_heard(event, usage_misfit(misfits))
    if kind in (b"session.created", b"session.updated"):
        return _read_session(event.session)
    if kind == b"error":
        error = event.error if isinstance(event.error, dict) else {}
        about = error.get("event_id")
        reading = Reading(error_type=name_error(event.error) or "error")
        return Said(Kind.REFUSED, event_id=about[:200] if isinstance(about, str) else "", reading=reading)
    return _read_delta(kind, message) if kind.endswith(b".delta") else _NOTHING


def _read_delta(kind: bytes, message: bytes) -> Said:
    if not kind.startswith(b"response."):
        return _NOTHING
    owner = _RESPONSE_ID.search(message)
    text = None if kind.endswith(_AUDIO) else _DELTA.search(message)
    named = owner[1].decode("utf-8", "replace")[:200] if owner else ""
    return Said(Kind.CONTENT, named, chars=len(text[1]) if text else 0)


def _read_unreadable(kind: bytes, message: bytes, why: str) -> Said:
    """Which response it was may still stand at its beginning; its usage is lost, and the call is not."""
    if kind not in _ENDS:
        return _NOTHING
    named = re.search(rb'"id"\s*:\s*"(resp_[^"\\]+)"', message[:2048])
    response_id = named[1].decode("utf-8", "replace")[:200] if named else ""
    return Said(Kind.ENDED, response_id, reading=Reading(usage_problem=f"the event is {why}"[:80]))


def _read_response(body: bytes) -> Reading:
    """The response inside a Realtime event."""
    reading, misfits = Reading(), list[Misfit]()
    try:
        response = _decode_response(body)
    except (msgspec.MsgspecError, RecursionError):
        try:
            response, misfits = decode_leniently(body, _Response)
        except (ValueError, RecursionError) as problem:
            reading.usage_problem = f"the response is {describe_unreadable(problem)}"[:80]
            return reading
    reading.response_id, reading.model = (response.id or "")[:200], (response.model or "")[:200]
    details = response.status_details
    if response.status and response.status != "in_progress":
        reading.finish_reason = ((details.reason if details else None) or response.status)[:64]
    if response.status == "failed":
        reading.error_type = (name_error(details.error) if details else "") or "error"
    if misfit := usage_misfit(misfits):
        reading.usage_problem = misfit
    elif response.usage is not None:
        settle_usage(reading, _convert(response.usage))
    else:
        reading.usage_problem = "the response has no usage"
    return reading


def _read_heard(event: _Received, misfit: str) -> Said:
    reading = Reading(response_id=(event.item_id or "")[:200], finish_reason="transcribed")
    if misfit:
        reading.usage_problem = misfit
    elif event.usage is not None:
        settle_usage(reading, _convert(event.usage))
    else:
        reading.usage_problem = "the transcription has no usage"
    return Said(Kind.ALONE, reading.response_id, reading=reading)


def _read_session(session: Any) -> Said:
    """The models of a session; the place of the transcriber's differs between versions of the API."""
    if not isinstance(session, dict):
        return _NOTHING
    model, audio = session.get("model"), session.get("audio")
    heard = audio.get("input") if isinstance(audio, dict) else None
    by = heard.get("transcription") if isinstance(heard, dict) else session.get("input_audio_transcription")
    transcriber = by.get("model") if isinstance(by, dict) else None
    return Said(
        Kind.SESSION,
        model=model[:200] if isinstance(model, str) else "",
        transcriber=transcriber[:200] if isinstance(transcriber, str) else "",
    )


_NO_DETAILS = _Details()


def _convert(given: _Usage) -> Usage:
    of_input = given.input_token_details or _NO_DETAILS
    of_output = given.output_token_details or _NO_DETAILS
    cached = of_input.cached_tokens_details or _NO_DETAILS
    inputs, outputs = given.input_tokens, given.output_tokens
    return Usage(
        input_tokens=given.prompt_tokens if inputs is None else inputs,
        output_tokens=given.completion_tokens if outputs is None else outputs,
        cache_read_tokens=of_input.cached_tokens,
        reasoning_tokens=of_output.reasoning_tokens,
        input_audio_tokens=of_input.audio_tokens,
        output_audio_tokens=of_output.audio_tokens,
        cache_audio_read_tokens=cached.audio_tokens,
        input_image_tokens=of_input.image_tokens,
        audio_seconds=given.seconds,
    )
