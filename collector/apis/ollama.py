"""Ollama's own API: /api/chat, /api/generate, /api/embed. A stream is lines of JSON; the last one counts.

A prompt that was wholly cached has no `prompt_eval_count` in older versions: absent is unknown, not zero.
Durations are nanoseconds. A request streams unless it says otherwise.
"""

import re
from typing import Any

import msgspec

from collector.apis.failure import name_error
from collector.apis.reading import Count, Reading, settle_usage
from collector.apis.request import RequestFacts
from collector.apis.request import read_request as read_any_request
from collector.apis.sse import OTHER, StreamReader
from collector.apis.whole import decode_event, decode_reply
from collector.call import Usage


class _Message(msgspec.Struct):
    content: Any = None
    thinking: Any = None
    tool_calls: Any = None


class _Reply(msgspec.Struct):
    """A whole reply, or one line of a stream."""

    model: str | None = None
    message: _Message | None = None
    response: Any = None
    thinking: Any = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Count | None = None
    eval_count: Count | None = None
    load_duration: float | None = None
    prompt_eval_duration: float | None = None
    eval_duration: float | None = None
    error: Any = None


# Inside a string the quotes would be escaped.
_SAYS_NO = re.compile(rb'"stream"\s*:\s*false')
_decoder = msgspec.json.Decoder(_Reply)


def read_request(body: bytes) -> RequestFacts:
    facts = read_any_request(body)
    if not facts.stream and not _SAYS_NO.search(body):
        facts.stream = not facts.problem
    return facts


def read_reply(body: bytes, status: int) -> Reading:
    """A reply in one piece; never raises."""
    reading, reply = decode_reply(body, status, _decoder)
    if reply is not None:
        _keep(reading, reply, reading.usage_problem)
        if reading.usage is None and not reading.usage_problem and not reading.error_type:
            reading.usage_problem = "the reply has no usage"
    return reading


class LineStream(StreamReader):
    __slots__ = ()

    def _take(self, data: bytes) -> int:
        line, misfit = decode_event(data, _decoder)
        _keep(self.reading, line, misfit)
        message = line.message or _Message()
        found = message.content or message.thinking or message.tool_calls or line.response or line.thinking
        if found:
            self._count_content(len(found) if isinstance(found, str) else 1)
        if line.done:
            self.terminal = True
        return OTHER

    def _settle(self) -> None:
        """Each line was kept as it came."""


def _keep(reading: Reading, line: _Reply, misfit: str) -> None:
    if line.model:
        reading.model = line.model[:200]
    if line.done_reason:
        reading.finish_reason = line.done_reason[:64]
    if line.error:
        reading.error_type = name_error(line.error) or "error"
    if line.prompt_eval_duration is not None and line.eval_duration is not None:
        reading.engine_ms = (line.prompt_eval_duration + line.eval_duration) / 1e6
        reading.queue_ms = None if line.load_duration is None else line.load_duration / 1e6
    if misfit:
        reading.usage, reading.usage_problem = None, misfit
    elif line.prompt_eval_count is not None or line.eval_count is not None:
        settle_usage(reading, Usage(line.prompt_eval_count, line.eval_count))
