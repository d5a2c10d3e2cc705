"""OpenAI's Responses API. The usage stands in the response, whole or inside the terminal event.

A stream ends with response.completed, .incomplete or .failed; there is no [DONE] and no option to ask.
vLLM says completed also of an incomplete response: its status counts.
"""

import re
from typing import Any

import msgspec

from collector.apis.chat_usage import InputDetails, OutputDetails
from collector.apis.failure import name_error, read_error
from collector.apis.lenient import Misfit, decode_leniently, describe_unreadable, usage_misfit
from collector.apis.reading import Count, Reading, settle_usage
from collector.apis.sse import CONTENT_ONLY, OTHER, StreamReader
from collector.call import Usage

_TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Item(msgspec.Struct):
    type: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    output: list[_Item] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str | None = None
    response: _Response | None = None
    delta: Any = None
    code: Any = None
    error: Any = None


_decode_reply = msgspec.json.Decoder(_Response).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def read_reply(body: bytes, status: int) -> Reading:
    """A reply in one piece; never raises."""
    reading = Reading()
    if status >= 400:
        reading.error_type = read_error(body, status)
        return reading
    misfits: list[Misfit] = []
    try:
        response = _decode_reply(body)
    except (msgspec.MsgspecError, RecursionError):
        try:
            response, misfits = decode_leniently(body, _Response)
        except (ValueError, RecursionError) as problem:
            reading.usage_problem = f"the reply is {describe_unreadable(problem)}"[:80]
            return reading
    _keep_response(reading, response)
    _keep_usage(reading, response, usage_misfit(misfits))
    if reading.usage is None and not reading.usage_problem and not reading.error_type:
        reading.usage_problem = "the reply has no usage"
    return reading


class ResponsesStream(StreamReader):
    __slots__ = ("_last", "_misfit")
    content_key = re.compile(rb'"delta"\s*:\s*"(?=[^"\\])')
    terminal_head = re.compile(
        rb'\s*(?:event: ?|data: ?\{"type": ?")response\.(?:completed|incomplete|failed)["\r\n]'
    )
    terminal_early = False  # its usage is at its end

    def __init__(self) -> None:
        super().__init__()
        self._last: _Response | None = None
        self._misfit = ""

    def _take(self, data: bytes) -> int:
        try:
            event = _decode_event(data)
        except (msgspec.MsgspecError, RecursionError):
            event, misfits = decode_leniently(data, _Event)
            self._misfit = self._misfit or usage_misfit(misfits)
        kind = event.type or ""
        if event.response is not None:
            _keep_response(self.reading, event.response)
            if event.response.usage is not None:
                self._last = event.response
        if kind in _TERMINAL:
            self.terminal = True
        elif kind == "error" or event.error:
            self.reading.error_type = name_error(event.error) or name_error({"code": event.code}) or "error"
        elif event.delta and kind.endswith(".delta"):
            self._count_content(len(event.delta) if isinstance(event.delta, str) else 1)
            return CONTENT_ONLY
        return OTHER

    def _settle(self) -> None:
        if self._last is not None or self._misfit:
            _keep_usage(self.reading, self._last or _Response(), self._misfit)


def _keep_response(reading: Reading, response: _Response) -> None:
    if response.model:
        reading.model = response.model[:200]
    if response.id:
        reading.response_id = response.id[:200]
    if response.service_tier:
        reading.service_tier = response.service_tier[:64]
    if response.error:
        reading.error_type = name_error(response.error) or "error"
    if response.status and response.status != "in_progress":
        reason = response.incomplete_details.reason if response.incomplete_details else None
        reading.finish_reason = (reason or response.status)[:64]


def _keep_usage(reading: Reading, response: _Response, misfit: str) -> None:
    given = response.usage
    if misfit:
        reading.usage_problem = misfit
    elif given is not None:
        of_input = given.input_tokens_details or InputDetails()
        of_output = given.output_tokens_details or OutputDetails()
        searches = sum(item.type == "web_search_call" for item in response.output or ())
        usage = Usage(
            input_tokens=given.input_tokens,
            output_tokens=given.output_tokens,
            cache_read_tokens=of_input.cached_tokens,
            cache_write_tokens=of_input.cache_write_tokens,
            reasoning_tokens=of_output.reasoning_tokens,
            input_audio_tokens=of_input.audio_tokens,
            output_audio_tokens=of_output.audio_tokens,
            input_image_tokens=of_input.image_tokens,
            output_image_tokens=of_output.image_tokens,
            web_searches=searches or None,
        )
        settle_usage(reading, usage)
