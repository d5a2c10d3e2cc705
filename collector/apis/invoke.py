"""Bedrock's InvokeModel: each model family answers in its own API's shape; some count nothing at all.

Claude answers as Anthropic's Messages do, Nova as Converse, Llama and Titan each in their own way, many
newer ones as OpenAI's chat. A stream holds such events in binary frames, and ends with Bedrock's own count,
which serves where the model's events say nothing.
"""

import binascii
from typing import Any

import msgspec

from collector.apis import anthropic, bedrock, openai
from collector.apis.reading import Count, Reading, settle_usage
from collector.apis.sse import OTHER, StreamReader
from collector.apis.whole import decode_event, decode_reply
from collector.call import Usage


class _TitanResult(msgspec.Struct, rename="camel"):
    token_count: Count | None = None
    completion_reason: str | None = None


class _Reply(msgspec.Struct):
    usage: dict[str, Any] | None = None
    prompt_token_count: Count | None = None  # Llama
    generation_token_count: Count | None = None
    stop_reason: str | None = None
    input_text_token_count: Count | None = msgspec.field(default=None, name="inputTextTokenCount")  # Titan
    results: list[_TitanResult] | None = None


class _Invocation(msgspec.Struct, rename="camel"):
    """Bedrock's count: input excludes the cache, as in Converse."""

    input_token_count: Count | None = None
    output_token_count: Count | None = None
    cache_read_input_token_count: Count | None = None
    cache_write_input_token_count: Count | None = None
    invocation_latency: float | None = None


class _Last(msgspec.Struct):
    usage: _Invocation | None = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")
    type: str | None = None
    stop_reason: str | None = None
    completion_reason: str | None = msgspec.field(default=None, name="completionReason")


class _Chunk(msgspec.Struct):
    bytes: str = ""


class _Event(msgspec.Struct):
    chunk: _Chunk | None = None
    exception: bedrock.Failure | None = None


_decoder = msgspec.json.Decoder(_Reply)
_event_decoder = msgspec.json.Decoder(_Event)
_last_decoder = msgspec.json.Decoder(_Last)


def read_reply(body: bytes, status: int) -> Reading:
    """A reply of InvokeModel in one piece, told by the names of its counts; never raises."""
    reading, reply = decode_reply(body, status, _decoder)
    if reply is None:
        return reading
    usage = reply.usage
    if usage is not None:
        if "input_tokens" in usage:
            return anthropic.read_reply(body, status)
        return bedrock.read_reply(body, status) if "inputTokens" in usage else openai.read_reply(body, status)
    results = reply.results or []
    reasons = [reply.stop_reason, *(one.completion_reason for one in results)]
    reading.finish_reason = next((reason[:64] for reason in reversed(reasons) if reason), "")
    if reading.usage_problem:
        return reading
    if reply.prompt_token_count is not None or reply.generation_token_count is not None:
        settle_usage(reading, Usage(reply.prompt_token_count, reply.generation_token_count))
    elif reply.input_text_token_count is not None:
        counts = [one.token_count for one in results]
        known = [count for count in counts if count is not None]
        output = sum(known) if counts and len(known) == len(counts) else None
        settle_usage(reading, Usage(reply.input_text_token_count, output))
    else:
        reading.usage_problem = "the reply has no usage: this model counts in its headers alone"
    return reading


class InvokeStream(StreamReader):
    """Events of any model, in frames. Claude's are read as such; of the others Bedrock's count is read."""

    __slots__ = ("_claude", "_count", "_misfit")

    def __init__(self) -> None:
        super().__init__()
        self._claude = anthropic.MessagesStream()
        self._count: _Invocation | None = None
        self._misfit = ""

    def _take(self, data: bytes) -> int:
        event, _ = decode_event(data, _event_decoder)
        if event.exception is not None:
            self.reading.error_type = event.exception.type[:64]
        if event.chunk is not None:
            self._take_chunk(binascii.a2b_base64(event.chunk.bytes))
        return OTHER

    def _take_chunk(self, data: bytes) -> None:
        last, misfit = decode_event(data, _last_decoder)
        self._misfit = self._misfit or misfit
        if last.type is not None:
            self._claude.take(data)
            self.has_content = self._claude.has_content
            self.content_events = self._claude.content_events
            self.content_chars = self._claude.content_chars
        elif last.usage is None:
            self._count_content(1)  # a piece of some model's answer, in a shape of its own
        reason = last.stop_reason or last.completion_reason
        if reason:
            self.reading.finish_reason = reason[:64]
        if last.usage is not None:
            self._count = last.usage
            self.terminal = True

    def _settle(self) -> None:
        reading, claude = self.reading, self._claude.finish()
        reading.model, reading.response_id = claude.model, claude.response_id
        reading.service_tier = claude.service_tier
        reading.finish_reason = claude.finish_reason or reading.finish_reason
        reading.error_type = reading.error_type or claude.error_type
        if self._count is not None and self._count.invocation_latency is not None:
            reading.engine_ms = self._count.invocation_latency
        told = claude.usage is not None and claude.usage.output_tokens is not None
        if told:
            reading.usage = claude.usage
        elif self._misfit:
            reading.usage_problem = self._misfit
        elif self._count is not None:
            settle_usage(reading, _convert(self._count))
        elif claude.usage is not None:
            reading.usage, reading.usage_problem = claude.usage, claude.usage_problem


def _convert(given: _Invocation) -> Usage:
    return bedrock.convert(
        bedrock.ConverseUsage(
            input_tokens=given.input_token_count,
            output_tokens=given.output_token_count,
            cache_read_input_tokens=given.cache_read_input_token_count,
            cache_write_input_tokens=given.cache_write_input_token_count,
        )
    )
