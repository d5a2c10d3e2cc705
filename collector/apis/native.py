"""What servers of one's own say on their native routes: TGI, SGLang and llama.cpp, told by their members.

TGI and SGLang share the path /generate; llama.cpp has /completion, and /infill. A list of replies (several
prompts, or several answers) is summed up: each of its members counts its own prompt.
"""

import re
from typing import Any

import msgspec

from collector.apis.failure import name_error
from collector.apis.reading import Count, Reading, add_counts, settle_usage
from collector.apis.sse import OTHER, StreamReader
from collector.apis.whole import decode_event, decode_reply
from collector.call import Usage


class Timings(msgspec.Struct):
    """llama.cpp's: prompt_n leaves out what came from the cache."""

    cache_n: Count | None = None
    prompt_n: Count | None = None
    prompt_ms: float | None = None
    predicted_n: Count | None = None
    predicted_ms: float | None = None


class _Details(msgspec.Struct):
    """TGI: told only where the request asked for details."""

    finish_reason: str | None = None
    generated_tokens: Count | None = None
    input_length: Count | None = None
    prefill: list[Any] | None = None


class _Meta(msgspec.Struct):
    """SGLang."""

    id: str | None = None
    finish_reason: Any = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    cached_tokens: Count | None = None


class _Reply(msgspec.Struct):
    """A whole reply, or one event of a stream."""

    details: _Details | None = None
    meta_info: _Meta | None = None
    index: int | None = None
    token: Any = None
    content: Any = None
    text: Any = None
    model: str | None = None
    stop: bool | None = None
    stop_type: str | None = None
    tokens_evaluated: Count | None = None
    tokens_predicted: Count | None = None
    timings: Timings | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Reply)
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_reply(body: bytes, status: int) -> Reading:
    """A reply in one piece; never raises."""
    if status < 400 and body[:64].lstrip().startswith(b"["):
        return _read_list(body)
    reading, reply = decode_reply(body, status, _decoder)
    if reply is None:
        return reading
    misfit, reading.usage_problem = reading.usage_problem, ""
    _keep_all(reading, [reply], misfit)
    if reading.usage is None and not reading.usage_problem and not reading.error_type:
        reading.usage_problem = "the reply has no usage"
    return reading


def _read_list(body: bytes) -> Reading:
    reading = Reading()
    try:
        read = [decode_event(bytes(one), _decoder) for one in _decode_list(body)]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        reading.usage_problem = "the reply is a list that can't be read"
        return reading
    _keep_all(reading, [reply for reply, _ in read], next((misfit for _, misfit in read if misfit), ""))
    if reading.usage is None and not reading.usage_problem:
        reading.usage_problem = "the reply has no usage"
    return reading


class NativeStream(StreamReader):
    """Each event of SGLang says all so far of its answer; the last event of the others counts."""

    __slots__ = ("_last", "_misfit")
    terminal_head = re.compile(rb"\s*data: ?\[DONE\]")

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[object, _Reply] = {}  # by answer
        self._misfit = ""

    def _take(self, data: bytes) -> int:
        event, misfit = decode_event(data, _decoder)
        self._misfit = self._misfit or misfit
        if event.token is not None or event.content or event.text:
            text = event.content or event.text
            self._count_content(len(text) if isinstance(text, str) and event.meta_info is None else 1)
        if _is_counted(event):
            key = event.meta_info.id if event.meta_info is not None else None
            if key in self._last or len(self._last) < 1024:
                self._last[key] = event
        if event.error:
            self.reading.error_type = name_error(event.error) or "error"
        return OTHER

    def _settle(self) -> None:
        _keep_all(self.reading, list(self._last.values()), self._misfit)


def _is_counted(reply: _Reply) -> bool:
    return bool(reply.details or reply.meta_info or reply.timings or reply.tokens_predicted is not None)


def _keep_all(reading: Reading, replies: list[_Reply], misfit: str) -> None:
    for reply in replies:
        _keep_head(reading, reply)
    counted = [_count(reply) for reply in replies if _is_counted(reply)]
    if misfit:
        reading.usage_problem = misfit
    elif counted and len(counted) == len(replies):
        settle_usage(
            reading,
            Usage(
                input_tokens=_total([usage.input_tokens for usage in counted]),
                output_tokens=_total([usage.output_tokens for usage in counted]),
                cache_read_tokens=add_counts(*(usage.cache_read_tokens for usage in counted)),
            ),
        )


def _total(counts: list[int | None]) -> int | None:
    """Unknown as soon as one of them is."""
    return None if None in counts else add_counts(*counts)


def _keep_head(reading: Reading, reply: _Reply) -> None:
    if reply.model:
        reading.model = reply.model[:200]
    if reply.error:
        reading.error_type = name_error(reply.error) or "error"
    reason: Any = reply.stop_type or (reply.details and reply.details.finish_reason)
    if reply.meta_info is not None:
        reading.response_id = (reply.meta_info.id or "")[:200]
        reason = reply.meta_info.finish_reason
        reason = reason.get("type") if isinstance(reason, dict) else reason
    if isinstance(reason, str) and reason:
        reading.finish_reason = reason[:64]
    if reply.timings is not None:
        keep_timings(reading, reply.timings)


def _count(reply: _Reply) -> Usage:
    if reply.meta_info is not None:
        meta = reply.meta_info
        return Usage(meta.prompt_tokens, meta.completion_tokens, meta.cached_tokens)
    if reply.details is not None:
        details = reply.details
        prompt = details.input_length
        if prompt is None and details.prefill:
            prompt = len(details.prefill)
        return Usage(prompt, details.generated_tokens)
    told = convert_timings(reply.timings or Timings())
    prompt = told.input_tokens if reply.tokens_evaluated is None else reply.tokens_evaluated
    output = told.output_tokens if reply.tokens_predicted is None else reply.tokens_predicted
    return Usage(prompt, output, told.cache_read_tokens)


def keep_timings(reading: Reading, timings: Timings) -> None:
    if timings.prompt_ms is not None and timings.predicted_ms is not None:
        reading.first_token_ms = timings.prompt_ms
        reading.engine_ms = timings.prompt_ms + timings.predicted_ms


def convert_timings(timings: Timings) -> Usage:
    """An older server says how much of the prompt it read, not how much the cache spared: input unknown."""
    prompt = None
    if timings.prompt_n is not None and timings.cache_n is not None:
        prompt = timings.prompt_n + timings.cache_n
    return Usage(prompt, timings.predicted_n, timings.cache_n)
