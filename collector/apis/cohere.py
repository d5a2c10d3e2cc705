"""Cohere's chat, embed and rerank, and rerank, score and pooling as vLLM and others speak them.

What is billed stands in `billed_units` and may be less than the tokens that were processed: it counts.
Where only tokens are told (a server of one's own, another vendor), those count. A stream tells it in
`message-end`.
"""

import re
from typing import Any

import msgspec

from collector.apis.reading import Count, Reading, settle_usage
from collector.apis.sse import CONTENT_ONLY, OTHER, StreamReader
from collector.apis.whole import decode_event, decode_reply
from collector.call import Usage


class _Units(msgspec.Struct):
    input_tokens: Count | float | None = None  # written as 5.0 by some versions
    output_tokens: Count | float | None = None
    search_units: Count | float | None = None
    images: Count | float | None = None


class _Usage(msgspec.Struct):
    billed_units: _Units | None = None
    tokens: _Units | None = None
    cached_tokens: Count | float | None = None
    # As OpenAI's embeddings and vLLM's rerank and score tell it.
    prompt_tokens: Count | None = None
    total_tokens: Count | None = None


class _Reply(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None
    meta: _Usage | None = None


class _Message(msgspec.Struct):
    content: Any = None
    tool_calls: Any = None
    tool_plan: Any = None


class _Delta(msgspec.Struct):
    message: _Message | None = None
    usage: _Usage | None = None
    finish_reason: str | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    delta: _Delta | None = None


_decoder = msgspec.json.Decoder(_Reply)
_event_decoder = msgspec.json.Decoder(_Event)


def read_reply(body: bytes, status: int) -> Reading:
    """A reply in one piece; never raises."""
    reading, reply = decode_reply(body, status, _decoder)
    if reply is None:
        return reading
    reading.response_id = (reply.id or "")[:200]
    reading.model = (reply.model or "")[:200]
    reading.finish_reason = (reply.finish_reason or "")[:64]
    if reading.usage_problem:
        return reading
    given = reply.usage if reply.usage is not None else reply.meta
    if given is not None:
        _keep_usage(reading, given)
    if reading.usage is None and not reading.usage_problem:
        reading.usage_problem = "the reply has no usage"
    return reading


class ChatStream(StreamReader):
    __slots__ = ("_misfit", "_usage")
    content_key = re.compile(rb'"(?:text|thinking|arguments)"\s*:\s*"(?=[^"\\])')
    terminal_head = re.compile(
        rb'\s*(?:event: ?message-end[\r\n]|data: ?(?:\{"type": ?"message-end"|\[DONE\]))'
    )
    terminal_early = False  # its usage is at its end

    def __init__(self) -> None:
        super().__init__()
        self._usage: _Usage | None = None
        self._misfit = ""

    def _take(self, data: bytes) -> int:
        event, misfit = decode_event(data, _event_decoder)
        self._misfit = self._misfit or misfit
        if event.id:
            self.reading.response_id = event.id[:200]
        delta = event.delta
        if event.type == "message-end":
            self.terminal = True
        if delta is None:
            return OTHER
        if delta.finish_reason:
            self.reading.finish_reason = delta.finish_reason[:64]
        if delta.error:
            self.reading.error_type = "error"  # a message, not a name
        if delta.usage is not None:
            self._usage = delta.usage
        elif delta.message is not None and (chars := _content_chars(delta.message)):
            self._count_content(chars)
            return CONTENT_ONLY
        return OTHER

    def _settle(self) -> None:
        if self._misfit:
            self.reading.usage_problem = self._misfit
        elif self._usage is not None:
            _keep_usage(self.reading, self._usage)


def _content_chars(message: _Message) -> int:
    for found, keys in ((message.content, ("text", "thinking")), (message.tool_calls, ("function",))):
        if isinstance(found, dict):
            value = next((found[key] for key in keys if found.get(key)), None)
            if isinstance(value, dict):
                value = value.get("arguments")
            if value:
                return len(value) if isinstance(value, str) else 1
    return len(message.tool_plan) if isinstance(message.tool_plan, str) else 0


def _keep_usage(reading: Reading, given: _Usage) -> None:
    units = given.billed_units if given.billed_units is not None else given.tokens
    if units is None:
        tokens = given.total_tokens if given.prompt_tokens is None else given.prompt_tokens
        if tokens is not None:
            settle_usage(reading, Usage(input_tokens=tokens))
        return
    try:
        usage = Usage(
            input_tokens=_whole(units.input_tokens),
            output_tokens=_whole(units.output_tokens),
            cache_read_tokens=_whole(given.cached_tokens),
            images=_whole(units.images),
            search_units=_whole(units.search_units),
        )
    except ValueError as problem:
        reading.usage_problem = str(problem)[:80]
        return
    if usage != Usage():
        settle_usage(reading, usage)


def _whole(count: float | None) -> int | None:
    """Counts that come as 5.0 are counts; others are not."""
    if count is None or isinstance(count, int):
        return count
    if 0 <= count <= 10**12 and count.is_integer():
        return int(count)
    raise ValueError(f"a count of the usage is {count!r}")
