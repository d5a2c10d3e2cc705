"""OpenAI's chat, text completions and embeddings, as OpenAI, Azure, vLLM and many others speak them.

Usage may come on any event, with choices or without, on each one or on the last; `usage: null` is no usage.
Its cached and reasoning tokens are inside the totals. Only an event with `choices: []` and a usage is
the one that `stream_options.include_usage` adds, and may be hidden.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from collector.apis.chat_usage import ChatUsage, convert, convert_pooled, cost_usd
from collector.apis.failure import name_error, read_error
from collector.apis.lenient import Misfit, decode_leniently, describe_unreadable, usage_misfit
from collector.apis.native import Timings, convert_timings, keep_timings
from collector.apis.reading import Reading, merge, settle_usage
from collector.apis.sse import CONTENT_ONLY, OTHER, USAGE_ONLY, StreamReader
from collector.call import Usage


class Metrics(msgspec.Struct):
    """vLLM's --enable-per-request-metrics. generation_time_ms begins with the first token."""

    time_to_first_token_ms: float | None = None
    generation_time_ms: float | None = None
    queue_time_ms: float | None = None


class _Groq(msgspec.Struct):
    """Where Groq puts the usage of a stream, asked for or not."""

    usage: ChatUsage | None = None


class Head(msgspec.Struct):
    """What whole replies and events have in common."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    usage: ChatUsage | None = None
    metrics: Metrics | None = None
    timings: Timings | None = None  # llama.cpp
    x_groq: _Groq | None = None
    error: Any = None
    object: Any = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Reply(Head):
    choices: list[_Choice] | None = None


class _Delta(msgspec.Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None


class _StreamedChoice(msgspec.Struct):
    finish_reason: str | None = None
    delta: _Delta | None = None
    text: Any = None


class _Event(Head):
    choices: list[_StreamedChoice] | None = None


_decode_reply = msgspec.json.Decoder(_Reply).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def read_pooled(body: bytes, status: int) -> Reading:
    """A reply that has no output tokens: some servers tell nothing but the total."""
    return read_reply(body, status, convert_pooled)


def read_reply(body: bytes, status: int, convert: Callable[[ChatUsage], Usage] = convert) -> Reading:
    """A reply in one piece; never raises."""
    reading = Reading()
    if status >= 400:
        reading.error_type = read_error(body, status)
        return reading
    misfits: list[Misfit] = []
    try:
        reply = _decode_reply(body)
    except (msgspec.MsgspecError, RecursionError):
        try:
            reply, misfits = decode_leniently(body, _Reply)
        except (ValueError, RecursionError) as problem:
            reading.usage_problem = f"the reply is {describe_unreadable(problem)}"[:80]
            return reading
    _keep_head(reading, reply)
    for choice in reply.choices or ():
        reading.finish_reason = choice.finish_reason or reading.finish_reason
    if misfits and (misfit := usage_misfit(misfits)):
        reading.usage_problem = misfit
    elif reply.usage is not None:
        if reply.usage.cost is not None:
            reading.reported_cost_usd = cost_usd(reply.usage)
        settle_usage(reading, convert(reply.usage))
    elif reply.timings is not None:
        settle_usage(reading, convert_timings(reply.timings))
    elif not reading.error_type:
        reading.usage_problem = "the reply has no usage"
    return reading


class ChatStream(StreamReader):
    __slots__ = ("_misfit", "_tells_unasked", "_timings", "_usage")
    content_key = re.compile(rb'"(?:content|text|reasoning_content|reasoning|arguments)"\s*:\s*"(?=[^"\\])')

    def __init__(self) -> None:
        super().__init__()
        self._usage: ChatUsage | None = None
        self._timings: Timings | None = None
        self._misfit = ""
        self._tells_unasked = False  # usage stands beside content: the server would tell it to anybody

    def _take(self, data: bytes) -> int:
        try:
            event = _decode_event(data)
        except (msgspec.MsgspecError, RecursionError):
            event, misfits = decode_leniently(data, _Event)
            self._misfit = self._misfit or usage_misfit(misfits)
        _keep_head(self.reading, event)
        if event.usage is not None:
            self._keep_usage(event.usage)
            if event.choices == [] and not event.error:
                return OTHER if self._tells_unasked else USAGE_ONLY
            self._tells_unasked = True
        if event.timings is not None:
            self._timings = event.timings
        if event.x_groq is not None and event.x_groq.usage is not None and event.usage is None:
            self._keep_usage(event.x_groq.usage)
        chars = finished = 0
        for choice in event.choices or ():
            chars += _content_chars(choice)
            if choice.finish_reason:
                finished = 1
                self.reading.finish_reason = choice.finish_reason
        if not chars:
            return OTHER
        self._count_content(chars)
        says_more = event.usage is not None or event.timings is not None or event.x_groq is not None
        return OTHER if finished or says_more or event.error else CONTENT_ONLY

    def _keep_usage(self, usage: ChatUsage) -> None:
        """A merge; but on a stream that counts with every event, each one says all the last one said."""
        earlier = self._usage
        complete = (
            usage.prompt_tokens is not None
            and usage.completion_tokens is not None
            and usage.total_tokens is not None
        )
        if complete and earlier is not None:
            details = earlier.prompt_tokens_details or earlier.completion_tokens_details
            if details is None and earlier.prompt_cache_hit_tokens is None and earlier.cost is None:
                earlier = None
        self._usage = merge(earlier, usage)

    def _settle(self) -> None:
        if self._misfit:
            self.reading.usage_problem = self._misfit
        elif self._usage is not None:
            self.reading.reported_cost_usd = cost_usd(self._usage)
            settle_usage(self.reading, convert(self._usage))
        elif self._timings is not None:
            settle_usage(self.reading, convert_timings(self._timings))


def _keep_head(reading: Reading, head: Head) -> None:
    if head.model:
        reading.model = head.model[:200]
    if head.id:
        reading.response_id = head.id[:200]
    if head.service_tier:
        reading.service_tier = head.service_tier[:64]
    if head.system_fingerprint:
        reading.fingerprint = head.system_fingerprint[:200]
    if head.metrics is not None:
        _keep_metrics(reading, head.metrics)
    if head.timings is not None:
        keep_timings(reading, head.timings)
    if head.error or head.object == "error":
        reading.error_type = name_error(head.error) or "error"


def _keep_metrics(reading: Reading, metrics: Metrics) -> None:
    reading.queue_ms = metrics.queue_time_ms
    reading.first_token_ms = metrics.time_to_first_token_ms
    if metrics.time_to_first_token_ms is not None and metrics.generation_time_ms is not None:
        waited_ms = metrics.queue_time_ms or 0.0
        reading.engine_ms = metrics.time_to_first_token_ms + metrics.generation_time_ms - waited_ms


def _content_chars(choice: _StreamedChoice) -> int:
    """At least 1 when the choice carries content of any kind."""
    if choice.text:
        return len(choice.text) if isinstance(choice.text, str) else 1
    delta = choice.delta
    if delta is None:
        return 0
    found = delta.content or delta.reasoning_content or delta.reasoning or delta.refusal
    if isinstance(found, str):
        return len(found)
    return 1 if found or delta.tool_calls or delta.function_call or delta.audio else 0
