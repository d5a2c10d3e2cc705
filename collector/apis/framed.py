"""Streams that are not server-sent events: lines of JSON, one long JSON array, Amazon's binary frames.

Pieces of the body enter, cut anywhere; a Reading leaves. A cutter finds where each message ends; what a
message says is read by the same StreamReader that reads its API's server-sent events, so both say the same.

Invariants
- What a message says doesn't depend on how the stream was cut: each is read whole, once, in order.
- Nothing is changed or held back. What is kept is the incomplete message at the end, at most MAX_BYTES.
- No bytes make it raise: after bytes that can't be a message nothing more is read, and the reason is kept.
"""

import re
from collections.abc import Callable, Iterator
from typing import Protocol

from collector.apis.reading import Reading
from collector.apis.sse import StreamReader

MAX_BYTES = 16 << 20  # an image comes in one message

_BRACKET = re.compile(rb'["{}\[\]]')
_STRING_END = re.compile(rb'["\\]')


class Unreadable(ValueError):  # noqa: N818 - it says what happened
    """The stream can't be read any further; the text says why."""


class Cutter(Protocol):
    def cut(self, piece: bytes) -> Iterator[bytes]:
        """The messages that this piece completes. Raises Unreadable."""
        ...

    def end(self) -> bytes:
        """What the body's end completes: b"" for nothing."""
        ...


class FramedReader:
    """Reads a reply from the side, as a StreamReader does; nothing of it can be hidden."""

    __slots__ = ("_broken", "_cutter", "_reader")
    mid_event = True  # no place for an event of our own

    def __init__(self, cutter: Cutter, reader: StreamReader) -> None:
        self._cutter, self._reader = cutter, reader
        self._broken = False

    @property
    def terminal(self) -> bool:
        return self._reader.terminal

    @property
    def has_content(self) -> bool:
        return self._reader.has_content

    def feed(self, chunk: bytes) -> None:
        if self._broken:
            return
        try:
            for message in self._cutter.cut(chunk):
                self._reader.take(message)
        except Unreadable as problem:
            self._broken = True
            self._reader.note_problem(str(problem))

    def hide(self, chunk: bytes) -> bytes:
        self.feed(chunk)
        return chunk

    def flush(self) -> bytes:
        return b""

    def finish(self) -> Reading:
        if not self._broken and (last := self._cutter.end()):
            self._reader.take(last)
        return self._reader.finish()


class LineCutter:
    """One JSON value a line."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = bytearray()

    def cut(self, piece: bytes) -> Iterator[bytes]:
        lines = piece.split(b"\n")
        for part in lines[:-1]:
            line = bytes(self._tail) + part if self._tail else part
            self._tail.clear()
            if line := line.strip():
                yield line
        self._tail += lines[-1]
        if len(self._tail) > MAX_BYTES:
            self._tail.clear()
            raise Unreadable(f"a line of more than {MAX_BYTES} bytes was not read")

    def end(self) -> bytes:
        line = bytes(self._tail).strip()
        self._tail.clear()
        return line


class ArrayCutter:
    """The objects of one JSON array. Brackets are counted outside of strings; the objects are not decoded."""

    __slots__ = ("_depth", "_escaped", "_held", "_in_string")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False
        self._held = bytearray()  # of the object under way

    def cut(self, piece: bytes) -> Iterator[bytes]:
        at = start = 0
        while at < len(piece):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_STRING_END if self._in_string else _BRACKET).search(piece, at)
            if found is None:
                break
            at = found.end()
            token = found.group()
            if token == b'"':
                self._in_string = not self._in_string
            elif token == b"\\":
                self._escaped = True
            elif token in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = at - 1
            else:
                self._depth -= 1
                if self._depth < 0:
                    raise Unreadable("the stream is not a JSON array")
                if self._depth == 1:
                    yield bytes(self._held) + piece[start:at]
                    self._held.clear()
        if self._depth >= 2:
            self._held += piece[start:]
            if len(self._held) > MAX_BYTES:
                self._held.clear()
                raise Unreadable(f"an event of more than {MAX_BYTES} bytes was not read")

    def end(self) -> bytes:
        return b""


def read_framed(cutter: Callable[[], Cutter], reader: type[StreamReader]) -> Callable[[], FramedReader]:
    return lambda: FramedReader(cutter(), reader())
