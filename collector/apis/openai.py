"""OpenAI's chat, text completions and embeddings, as OpenAI, Azure, vLLM and many others speak them.

Usage may come on any event, with choices or without, on each one or on the last; `usage: null` is no usage.
Its cached and reasoning tokens are inside the totals. Only an event with `choices: []` and a usage is
the one that `stream_options.include_usage` adds, and may be hidden.
"""

import re
from typing import Any

import msgspec

from collector.apis.failure import name_error, read_error
from collector.apis.lenient import Misfit, decode_leniently, describe_unreadable, usage_misfit
from collector.apis.reading import Count, Reading, merge, settle_usage
from collector.apis.sse import CONTENT_ONLY, OTHER, USAGE_ONLY, StreamReader
from collector.call import Usage


class InputDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    created_cache_tokens: Count | None = None  # vLLM's name for cache writes
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class OutputDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class ChatUsage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: Count | None = None  # DeepSeek


class Metrics(msgspec.Struct):
    """vLLM's --enable-per-request-metrics. generation_time_ms begins with the first token."""

    time_to_first_token_ms: float | None = None
    generation_time_ms: float | None = None
    queue_time_ms: float | None = None


class Head(msgspec.Struct):
    """What whole replies and events have in common."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    usage: ChatUsage | None = None
    metrics: Metrics | None = None
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


def read_reply(body: bytes, status: int) -> Reading:
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
    if misfit := usage_misfit(misfits):
        reading.usage_problem = misfit
    elif reply.usage is not None:
        settle_usage(reading, _convert(reply.usage))
    elif not reading.error_type:
        reading.usage_problem = "the reply has no usage"
    return reading


class ChatStream(StreamReader):
    __slots__ = ("_misfit", "_usage")
    content_key = re.compile(rb'"(?:content|text|reasoning_content|reasoning|arguments)"\s*:\s*"(?=[^"\\])')

    def __init__(self) -> None:
        super().__init__()
        self._usage: ChatUsage | None = None
        self._misfit = ""

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
                return USAGE_ONLY
        chars = finished = 0
        for choice in event.choices or ():
            chars += _content_chars(choice)
            if choice.finish_reason:
                finished = 1
                self.reading.finish_reason = choice.finish_reason
        if not chars:
            return OTHER
        self._count_content(chars)
        return OTHER if finished or event.usage is not None or event.error else CONTENT_ONLY

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
            if details is None and earlier.prompt_cache_hit_tokens is None:
                earlier = None
        self._usage = merge(earlier, usage)

    def _settle(self) -> None:
        if self._misfit:
            self.reading.usage_problem = self._misfit
        elif self._usage is not None:
            settle_usage(self.reading, _convert(self._usage))


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


_NO_INPUT_DETAILS = InputDetails()
_NO_OUTPUT_DETAILS = OutputDetails()


def _convert(given: ChatUsage) -> Usage:
    of_input = given.prompt_tokens_details or _NO_INPUT_DETAILS
    of_output = given.completion_tokens_details or _NO_OUTPUT_DETAILS
    cached, written = of_input.cached_tokens, of_input.cache_write_tokens
    return Usage(
        input_tokens=given.prompt_tokens,
        output_tokens=_output_tokens(given, of_output.reasoning_tokens),
        cache_read_tokens=given.prompt_cache_hit_tokens if cached is None else cached,
        cache_write_tokens=of_input.created_cache_tokens if written is None else written,
        reasoning_tokens=of_output.reasoning_tokens,
        input_audio_tokens=of_input.audio_tokens,
        output_audio_tokens=of_output.audio_tokens,
        input_image_tokens=of_input.image_tokens,
        output_image_tokens=of_output.image_tokens,
    )


def _output_tokens(given: ChatUsage, reasoning: int | None) -> int | None:
    """Some servers count reasoning beside the completion; their own total gives it away."""
    prompt, completion = given.prompt_tokens, given.completion_tokens
    if reasoning and prompt is not None and completion is not None:
        total = prompt + completion + reasoning
        return completion + reasoning if given.total_tokens == total else completion
    return completion
