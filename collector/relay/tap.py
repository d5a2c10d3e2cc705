"""Reads a reply's usage from the side: pieces of its body enter, a Reading leaves; nothing is changed.

A tap never raises and never holds more than `limit` bytes: a reply that is larger, or encoded in a way that
can't be decoded here, has unknown usage with the reason.
"""

from typing import Protocol

from collector.apis.endpoints import Endpoint, read_whole
from collector.apis.reading import Reading
from collector.relay.decoders import Decoder, find_decoder
from collector.relay.reply_head import ReplyHead


class WholeTap:
    """A reply in one piece: kept until its end, then read."""

    __slots__ = ("_endpoint", "_limit", "_pieces", "_size", "_status")
    terminal = has_content = mid_event = False

    def __init__(self, endpoint: Endpoint, status: int, limit: int) -> None:
        self._endpoint, self._status, self._limit = endpoint, status, limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._limit:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def hide(self, piece: bytes) -> bytes:
        self.feed(piece)
        return piece

    def flush(self) -> bytes:
        return b""

    def finish(self) -> Reading:
        if self._size > self._limit:
            return Reading(usage_problem=f"the reply is over {self._limit} bytes and was not read")
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        return read_whole(self._endpoint, body, self._status)


class EncodedTap:
    """A compressed reply: decoded aside, at most `limit` bytes of it."""

    __slots__ = ("_decoder", "_inner", "_left", "_problem", "has_content")

    def __init__(self, inner: "Tap", decoder: Decoder | None, encoding: bytes, limit: int) -> None:
        self._inner, self._decoder, self._left = inner, decoder, limit
        self._problem = "" if decoder else f"the reply is encoded as {encoding.decode('latin-1')[:40]}"
        self.has_content = False

    mid_event = True  # in a compressed stream there is no place for an event of our own

    @property
    def terminal(self) -> bool:
        return self._inner.terminal

    def feed(self, piece: bytes) -> None:
        self.has_content = False
        if self._decoder is None:
            return
        try:
            for plain in self._decoder.decode(piece):
                self._left -= len(plain)
                if self._left < 0:
                    self._problem = "the reply is too large when decoded and was not read"
                    self._decoder = None
                    return
                self._inner.feed(plain)
                self.has_content |= self._inner.has_content
        except Exception as error:
            self._problem = f"the reply's encoding can't be read: {str(error)[:60]}"
            self._decoder = None

    def hide(self, piece: bytes) -> bytes:
        self.feed(piece)
        return piece

    def flush(self) -> bytes:
        return b""

    def finish(self) -> Reading:
        reading = self._inner.finish()
        if self._problem and reading.usage is None:
            reading.usage_problem = self._problem
        return reading


class Tap(Protocol):
    """Either a reader of streams or one of the taps here; only the former can hide."""

    @property
    def terminal(self) -> bool: ...
    @property
    def has_content(self) -> bool: ...
    @property
    def mid_event(self) -> bool: ...
    def feed(self, chunk: bytes, /) -> None: ...
    def hide(self, chunk: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...
    def finish(self) -> Reading: ...


def make_tap(endpoint: Endpoint, head: ReplyHead, limit: int) -> Tap:
    tap: Tap
    if head.event_stream:
        tap = endpoint.reader()
    elif is_framed(endpoint, head) and endpoint.framed is not None:
        tap = endpoint.framed()
    else:
        tap = WholeTap(endpoint, head.status, limit)
    encoding = head.content_encoding
    if encoding:
        return EncodedTap(tap, find_decoder(encoding), encoding, limit)
    return tap


def is_framed(endpoint: Endpoint, head: ReplyHead) -> bool:
    """A stream in a framing of its API's own: lines, an array, binary frames."""
    return endpoint.framed is not None and head.status < 400 and head.content_type == endpoint.framed_type
