"""Many calls over one WebSocket: OpenAI's Responses as coding agents speak it, and Realtime.

Messages enter, one by one; a Reading leaves for each response that ended: each is a call of its own. What
was begun and not ended when the connection closes is a call too, of unknown usage.
"""

import msgspec

from collector.apis.chat_usage import InputDetails
from collector.apis.reading import Count, Reading, settle_usage
from collector.apis.responses import ResponsesStream
from collector.apis.whole import decode_event
from collector.call import Usage

_BEGIN = {"response.created"}
_END = {"response.completed", "response.incomplete", "response.failed", "response.done"}
_MAX_UNDER_WAY = 64


class _CachedDetails(msgspec.Struct):
    audio_tokens: Count | None = None


class _LiveDetails(InputDetails):
    cached_tokens_details: _CachedDetails | None = None


class _LiveUsage(msgspec.Struct):
    """Realtime's: the same counts under names in the singular."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_token_details: _LiveDetails | None = None
    output_token_details: InputDetails | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    usage: _LiveUsage | None = None


class _Session(msgspec.Struct):
    model: str | None = None


class _Message(msgspec.Struct):
    type: str | None = None
    response: _Response | None = None
    session: _Session | None = None


_decoder = msgspec.json.Decoder(_Message)


class Conversation:
    """One connection's messages from the server. Never raises."""

    def __init__(self) -> None:
        self.model = ""  # as the session says
        self._under_way: dict[str, ResponsesStream] = {}

    def take(self, message: bytes) -> Reading | None:
        """The reading of the response that this message ended."""
        try:
            event, misfit = decode_event(message, _decoder)
        except (ValueError, RecursionError):
            return None
        kind = event.type or ""
        if event.session is not None and event.session.model:
            self.model = event.session.model[:200]
        if not kind.startswith("response."):
            return None
        given = event.response or _Response()
        key = given.id or next(iter(self._under_way), "")
        if kind in _END:
            stream = self._under_way.pop(key, None) or ResponsesStream()
            return self._end(stream, message, given, misfit if kind == "response.done" else "")
        if kind in _BEGIN and len(self._under_way) < _MAX_UNDER_WAY:
            self._under_way[key] = ResponsesStream()
        if key in self._under_way:
            self._under_way[key].take(message)
        return None

    def finish(self) -> list[Reading]:
        """At the connection's end: what was begun and never ended."""
        readings = [stream.finish() for stream in self._under_way.values()]
        self._under_way.clear()
        for reading in readings:
            reading.model = reading.model or self.model
            reading.usage, reading.usage_problem = None, "the connection closed before the response ended"
        return readings

    def _end(self, stream: ResponsesStream, message: bytes, given: _Response, misfit: str) -> Reading:
        stream.take(message)
        reading = stream.finish()
        reading.model = reading.model or self.model
        live = given.usage
        if misfit:
            reading.usage, reading.usage_problem = None, misfit
        elif live is not None and (live.input_token_details or live.output_token_details):
            reading.usage, reading.usage_problem = None, ""
            settle_usage(reading, _convert(live))
        return reading


def _convert(given: _LiveUsage) -> Usage:
    of_input = given.input_token_details or _LiveDetails()
    of_output = given.output_token_details or InputDetails()
    of_cache = of_input.cached_tokens_details or _CachedDetails()
    return Usage(
        input_tokens=given.input_tokens,
        output_tokens=given.output_tokens,
        cache_read_tokens=of_input.cached_tokens,
        cache_audio_read_tokens=of_cache.audio_tokens,
        input_audio_tokens=of_input.audio_tokens,
        output_audio_tokens=of_output.audio_tokens,
        input_image_tokens=of_input.image_tokens,
    )
