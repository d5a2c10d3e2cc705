"""Speech to text and text to speech, as OpenAI, Groq, Mistral and vLLM speak them.

A transcription counts tokens, or the seconds of what was heard; a verbose one says its duration. Speech
that comes as audio says nothing of its usage; as events it does.
"""

import re
from typing import Any

import msgspec

from collector.apis.failure import name_error, read_error
from collector.apis.reading import Count, Reading, settle_usage
from collector.apis.sse import CONTENT_ONLY, OTHER, StreamReader
from collector.apis.whole import decode_event, decode_reply
from collector.call import Usage

_MAX_SECONDS = 1e9


class _Details(msgspec.Struct):
    audio_tokens: Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_token_details: _Details | None = None
    seconds: float | None = None
    # Mistral's names
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_audio_seconds: float | None = None


class _Reply(msgspec.Struct):
    """A whole transcription, or one event of a stream."""

    type: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    duration: Any = None  # a number, or in older replies text
    delta: Any = None
    audio: Any = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Reply)


def read_transcription(body: bytes, status: int) -> Reading:
    """A transcription in one piece; as plain text or subtitles it has no usage. Never raises."""
    reading, reply = decode_reply(body, status, _decoder)
    if reply is None:
        return reading
    _keep(reading, reply, reading.usage_problem)
    if reading.usage is None and not reading.usage_problem:
        seconds = _seconds(reply.duration)
        if seconds is None:
            reading.usage_problem = "the reply has no usage"
        else:
            reading.usage = Usage(audio_seconds=seconds)
    return reading


def read_speech(body: bytes, status: int) -> Reading:
    """Audio: not looked at."""
    if status >= 400:
        return Reading(error_type=read_error(body, status))
    return Reading(usage_problem="the reply is audio, which says no usage")


class AudioStream(StreamReader):
    """Events of a transcription, or of speech."""

    __slots__ = ()
    content_key = re.compile(rb'"(?:delta|audio)"\s*:\s*"(?=[^"\\])')

    def _take(self, data: bytes) -> int:
        event, misfit = decode_event(data, _decoder)
        kind = event.type or ""
        if event.error or kind == "error":
            self.reading.error_type = name_error(event.error) or "error"
        if event.usage is not None or misfit:
            _keep(self.reading, event, misfit)
        if kind in ("transcript.text.done", "speech.audio.done", "transcription.done"):
            self.terminal = True
        elif found := event.delta or event.audio:
            self._count_content(len(found) if isinstance(found, str) else 1)
            return OTHER if event.usage is not None or misfit else CONTENT_ONLY
        return OTHER

    def _settle(self) -> None:
        """The usage was kept as it came."""


def _keep(reading: Reading, reply: _Reply, misfit: str) -> None:
    if reply.model:
        reading.model = reply.model[:200]
    given = reply.usage
    if misfit:
        reading.usage, reading.usage_problem = None, misfit
    elif given is not None:
        usage = _convert(given)
        if usage == Usage():
            reading.usage_problem = "the reply has no usage"
        else:
            settle_usage(reading, usage)


def _convert(given: _Usage) -> Usage:
    heard = given.seconds if given.prompt_audio_seconds is None else given.prompt_audio_seconds
    return Usage(
        input_tokens=given.prompt_tokens if given.input_tokens is None else given.input_tokens,
        output_tokens=given.completion_tokens if given.output_tokens is None else given.output_tokens,
        input_audio_tokens=given.input_token_details.audio_tokens if given.input_token_details else None,
        audio_seconds=_seconds(heard),
    )


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= _MAX_SECONDS else None
