"""Amazon Bedrock: Converse and ConverseStream. Input excludes what was read from and written to the cache.

A stream is a sequence of binary frames (see `eventstream`), which the cutter turns into {"its type": {...}}.
Its usage stands in the event `metadata`, the last one.
"""

import re
from typing import Any

import msgspec

from collector.apis.reading import Count, Reading, add_counts, merge, settle_usage
from collector.apis.sse import OTHER, StreamReader
from collector.apis.whole import decode_event, decode_reply
from collector.call import Usage


class _CacheDetail(msgspec.Struct, rename="camel"):
    ttl: str | None = None
    input_tokens: Count | None = None


class ConverseUsage(msgspec.Struct, rename="camel"):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_write_input_tokens: Count | None = None
    cache_read_input_token_count: Count | None = None  # as the Nova models' own API names them
    cache_write_input_token_count: Count | None = None
    cache_details: list[_CacheDetail] | None = None


class _Metrics(msgspec.Struct, rename="camel"):
    latency_ms: float | None = None


class _Tier(msgspec.Struct):
    type: str | None = None


class _Performance(msgspec.Struct):
    latency: str | None = None


class _Metadata(msgspec.Struct, rename="camel"):
    """What a whole reply and the metadata of a stream have in common."""

    usage: ConverseUsage | None = None
    metrics: _Metrics | None = None
    service_tier: _Tier | None = None
    performance_config: _Performance | None = None


class _Reply(_Metadata, rename="camel"):
    stop_reason: str | None = None


class _Tool(msgspec.Struct):
    input: Any = None


class _Reasoning(msgspec.Struct):
    text: Any = None


class _Delta(msgspec.Struct, rename="camel"):
    text: Any = None
    tool_use: _Tool | None = None
    reasoning_content: _Reasoning | None = None


class _BlockDelta(msgspec.Struct):
    delta: _Delta | None = None


class _Stop(msgspec.Struct, rename="camel"):
    stop_reason: str | None = None


class Failure(msgspec.Struct):
    type: str = "error"


class _Event(msgspec.Struct, rename="camel"):
    content_block_delta: _BlockDelta | None = None
    message_stop: _Stop | None = None
    metadata: _Metadata | None = None
    exception: Failure | None = None


_decoder = msgspec.json.Decoder(_Reply)
_event_decoder = msgspec.json.Decoder(_Event)


def read_reply(body: bytes, status: int) -> Reading:
    """A reply of Converse in one piece; never raises."""
    reading, reply = decode_reply(body, status, _decoder)
    if reply is None:
        return reading
    reading.finish_reason = (reply.stop_reason or "")[:64]
    keep_metadata(reading, reply, reading.usage_problem)
    if reading.usage is None and not reading.usage_problem:
        reading.usage_problem = "the reply has no usage"
    return reading


class ConverseStream(StreamReader):
    __slots__ = ("_metadata", "_misfit")
    terminal_head = re.compile(rb"(?!)")  # no byte pattern: frames have a length

    def __init__(self) -> None:
        super().__init__()
        self._metadata: _Metadata | None = None
        self._misfit = ""

    def _take(self, data: bytes) -> int:
        event, misfit = decode_event(data, _event_decoder)
        self._misfit = self._misfit or misfit
        if event.content_block_delta is not None and (delta := event.content_block_delta.delta):
            found = delta.text or (delta.tool_use and delta.tool_use.input)
            found = found or (delta.reasoning_content and delta.reasoning_content.text)
            if found:
                self._count_content(len(found) if isinstance(found, str) else 1)
        if event.message_stop is not None and event.message_stop.stop_reason:
            self.reading.finish_reason = event.message_stop.stop_reason[:64]
        if event.metadata is not None:
            self._metadata = merge(self._metadata, event.metadata)
            self.terminal = True
        if event.exception is not None:
            self.reading.error_type = event.exception.type[:64]
        return OTHER

    def _settle(self) -> None:
        if self._metadata is not None or self._misfit:
            keep_metadata(self.reading, self._metadata or _Metadata(), self._misfit)


def keep_metadata(reading: Reading, given: _Metadata, misfit: str) -> None:
    if given.metrics is not None:
        reading.engine_ms = given.metrics.latency_ms
    if given.service_tier is not None and given.service_tier.type:
        reading.service_tier = given.service_tier.type[:64]
    elif given.performance_config is not None and given.performance_config.latency == "optimized":
        reading.service_tier = "latency_optimized"  # has prices of its own
    if misfit:
        reading.usage_problem = misfit
    elif given.usage is not None:
        settle_usage(reading, convert(given.usage))


def convert(given: ConverseUsage) -> Usage:
    read, written = given.cache_read_input_tokens, given.cache_write_input_tokens
    read = given.cache_read_input_token_count if read is None else read
    written = given.cache_write_input_token_count if written is None else written
    details = given.cache_details or ()
    if written is None:
        written = add_counts(*(one.input_tokens for one in details))
    outside = given.input_tokens
    return Usage(
        input_tokens=None if outside is None else outside + (read or 0) + (written or 0),
        output_tokens=given.output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=add_counts(*(one.input_tokens for one in details if one.ttl == "1h")),
    )
