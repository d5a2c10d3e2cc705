"""OpenAI's images: generations, edits, variations. Newer models count tokens, older ones only pictures.

A picture stands in its event as text, so events are long: they are read up to the size of a large picture.
"""

import re
from typing import Any

import msgspec

from collector.apis.chat_usage import InputDetails, OutputDetails
from collector.apis.failure import name_error
from collector.apis.framed import MAX_BYTES
from collector.apis.reading import Count, Reading, settle_usage
from collector.apis.sse import OTHER, StreamReader
from collector.apis.whole import decode_event, decode_reply
from collector.call import Usage


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class _Picture(msgspec.Struct):
    """Of a picture nothing is kept but that it is there."""


class _Reply(msgspec.Struct):
    """A whole reply, or one event of a stream."""

    type: str | None = None
    model: str | None = None
    data: list[_Picture] | None = None
    usage: _Usage | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Reply)


def read_reply(body: bytes, status: int) -> Reading:
    """A reply in one piece; never raises."""
    reading, reply = decode_reply(body, status, _decoder)
    if reply is None:
        return reading
    reading.model = (reply.model or "")[:200]
    if reading.usage_problem:
        return reading
    pictures = len(reply.data) if reply.data else None
    if reply.usage is not None:
        settle_usage(reading, _convert(reply.usage, pictures))
    elif pictures:
        reading.usage = Usage(images=pictures)
    else:
        reading.usage_problem = "the reply has no usage"
    return reading


class ImageStream(StreamReader):
    """Each finished picture has an event with its own usage: they add up."""

    __slots__ = ("_misfit", "_pictures", "_usages")
    max_event_bytes = MAX_BYTES
    terminal_head = re.compile(rb"\s*data: ?\[DONE\]")

    def __init__(self) -> None:
        super().__init__()
        self._usages: list[Usage] = []
        self._pictures = 0
        self._misfit = ""

    def _take(self, data: bytes) -> int:
        event, misfit = decode_event(data, _decoder)
        self._misfit = self._misfit or misfit
        kind = event.type or ""
        if event.error or kind == "error":
            self.reading.error_type = name_error(event.error) or "error"
        if kind.endswith((".partial_image", ".completed")):
            self._count_content(1)
        if kind.endswith(".completed"):
            self._pictures += 1
            if event.usage is not None:
                self._usages.append(_convert(event.usage, None))
        return OTHER

    def _settle(self) -> None:
        if self._misfit:
            self.reading.usage_problem = self._misfit
        elif self._usages:
            added = {
                name: add_up([getattr(usage, name) for usage in self._usages])
                for name in Usage.__struct_fields__
            }
            added["images"] = self._pictures
            settle_usage(self.reading, Usage(**added))
        elif self._pictures:
            self.reading.usage = Usage(images=self._pictures)


def add_up(counts: list[int | None]) -> int | None:
    said = [count for count in counts if count is not None]
    return sum(said) if len(said) == len(counts) else None


def _convert(given: _Usage, pictures: int | None) -> Usage:
    of_input = given.input_tokens_details or InputDetails()
    of_output = given.output_tokens_details or OutputDetails()
    return Usage(
        input_tokens=given.input_tokens,
        output_tokens=given.output_tokens,
        cache_read_tokens=of_input.cached_tokens,
        input_image_tokens=of_input.image_tokens,
        output_image_tokens=of_output.image_tokens,
        images=pictures,
    )
