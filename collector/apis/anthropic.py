"""Anthropic's Messages API, as Anthropic and vLLM speak it.

input_tokens excludes what was read from and written to the cache: both are added. A stream gives its usage
in message_start and then, cumulative, in message_delta, which may be the only one with input and cache.
The output count of message_start is a beginning, not a result: without a message_delta it is unknown.
"""

import re
from typing import Any

import msgspec

from collector.apis.failure import name_error, read_error
from collector.apis.lenient import Misfit, decode_leniently, describe_unreadable, usage_misfit
from collector.apis.reading import Count, Reading, merge, settle_usage
from collector.apis.sse import CONTENT_ONLY, OTHER, StreamReader
from collector.call import Usage


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    server_tool_use: _ServerTools | None = None
    service_tier: str | None = None


class _Message(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: Any = None


class _Delta(msgspec.Struct):
    stop_reason: str | None = None
    text: Any = None
    thinking: Any = None
    partial_json: Any = None


class _Event(msgspec.Struct):
    type: str | None = None
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


_decode_reply = msgspec.json.Decoder(_Message).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def read_reply(body: bytes, status: int) -> Reading:
    """A reply in one piece; never raises."""
    reading = Reading()
    if status >= 400:
        reading.error_type = read_error(body, status)
        return reading
    misfits: list[Misfit] = []
    try:
        message = _decode_reply(body)
    except (msgspec.MsgspecError, RecursionError):
        try:
            message, misfits = decode_leniently(body, _Message)
        except (ValueError, RecursionError) as problem:
            reading.usage_problem = f"the reply is {describe_unreadable(problem)}"[:80]
            return reading
    _keep_message(reading, message)
    if misfit := usage_misfit(misfits):
        reading.usage_problem = misfit
    elif message.usage is not None:
        _keep_usage(reading, message.usage)
    elif not reading.error_type:
        reading.usage_problem = "the reply has no usage"
    return reading


class MessagesStream(StreamReader):
    __slots__ = ("_counted", "_misfit", "_usage")
    content_key = re.compile(rb'"(?:text|thinking|partial_json)"\s*:\s*"(?=[^"\\])')
    terminal_head = re.compile(rb'\s*(?:event: ?message_stop[\r\n]|data: ?\{"type": ?"message_stop")')

    def __init__(self) -> None:
        super().__init__()
        self._usage: _Usage | None = None
        self._counted = False  # a message_delta told the output
        self._misfit = ""

    def _take(self, data: bytes) -> int:
        try:
            event = _decode_event(data)
        except (msgspec.MsgspecError, RecursionError):
            event, misfits = decode_leniently(data, _Event)
            self._misfit = self._misfit or usage_misfit(misfits)
        if event.type == "content_block_delta":
            return self._take_content(event.delta)
        if event.type == "message_stop":
            self.terminal = True
        if event.message is not None:
            _keep_message(self.reading, event.message)
            if event.message.usage is not None:
                self._usage = merge(self._usage, event.message.usage)
        if event.usage is not None:
            self._usage = merge(self._usage, event.usage)
            self._counted = self._counted or event.usage.output_tokens is not None
        if event.delta is not None and event.delta.stop_reason:
            self.reading.finish_reason = event.delta.stop_reason[:64]
        if event.error or event.type == "error":
            self.reading.error_type = name_error(event.error) or "error"
        return OTHER

    def _take_content(self, delta: _Delta | None) -> int:
        found = delta and (delta.text or delta.thinking or delta.partial_json)
        if not found:
            return OTHER
        self._count_content(len(found) if isinstance(found, str) else 1)
        return CONTENT_ONLY

    def _settle(self) -> None:
        if self._misfit:
            self.reading.usage_problem = self._misfit
        elif self._usage is not None:
            if not self._counted:
                self._usage.output_tokens = None
                self.reading.usage_problem = "the stream ended before its output was counted"
            _keep_usage(self.reading, self._usage)


def _keep_message(reading: Reading, message: _Message) -> None:
    if message.model:
        reading.model = message.model[:200]
    if message.id:
        reading.response_id = message.id[:200]
    if message.stop_reason:
        reading.finish_reason = message.stop_reason[:64]
    if message.error:
        reading.error_type = name_error(message.error) or "error"


def _keep_usage(reading: Reading, given: _Usage) -> None:
    if given.service_tier:
        reading.service_tier = given.service_tier[:64]
    settle_usage(reading, _convert(given))


def _convert(given: _Usage) -> Usage:
    read, written, long_lived = given.cache_read_input_tokens, given.cache_creation_input_tokens, None
    if given.cache_creation is not None:
        # A breakdown below the total leaves a remainder: it is priced as the short-lived kind.
        long_lived, short_lived = (
            given.cache_creation.ephemeral_1h_input_tokens,
            given.cache_creation.ephemeral_5m_input_tokens,
        )
        if written is None and (long_lived is not None or short_lived is not None):
            written = (long_lived or 0) + (short_lived or 0)
    outside = given.input_tokens
    return Usage(
        input_tokens=None if outside is None else outside + (read or 0) + (written or 0),
        output_tokens=given.output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=long_lived,
        web_searches=given.server_tool_use.web_search_requests if given.server_tool_use else None,
    )
