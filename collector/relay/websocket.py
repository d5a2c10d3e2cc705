"""WebSocket frames (RFC 6455), read from the side: bytes of one direction enter, its text messages leave.

Nothing is changed or held back: the bytes pass beside this. permessage-deflate (RFC 7692) is read too rather
than taken out of the offer, so that the two ends agree on what they would agree on without us; other
extensions can't be read, so they are not offered (`keep_readable_extensions`).

Invariants
- Memory is bounded: a message is kept up to `limit` bytes, and only as far as `wants` says it is needed.
- What breaks the protocol is the other end's to refuse. Here reading stops and says why (`broken`).
- Inflating is bounded too: a compressed message over `limit` bytes stops the reading.
"""

import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

HEAD_BYTES = 512  # of a message, by which `wants` decides
_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0, 1, 2, 8
_DATA = (_TEXT, _BINARY)
_STEP = 64 * 1024
_HEADER = re.compile(rb"(?im)^sec-websocket-extensions:[ \t]*(.*)\r\n")
_DEFLATE = b"permessage-deflate"


class Message(NamedTuple):
    data: bytes
    whole: bool  # False: `data` is its beginning


class FrameReader:
    """One direction of a connection."""

    __slots__ = (
        "_compressed", "_control", "_dropping", "_fin", "_head", "_inflater", "_kept", "_key", "_left",
        "_limit", "_opcode", "_size", "_wants", "broken", "closed",
    )  # fmt: skip

    def __init__(self, wants: Callable[[bytes], bool], limit: int, *, deflate: bool) -> None:
        """`wants`: is more needed of a message that begins with these bytes."""
        self._wants, self._limit = wants, limit
        self._inflater: Any = zlib.decompressobj(-zlib.MAX_WBITS) if deflate else None
        self.broken = ""
        self.closed = False  # a Close frame has begun: no message follows
        self._head = b""  # an unfinished frame header
        self._left = 0  # payload bytes of the current frame still to come
        self._key = b""  # its mask, turned to where its payload goes on
        self._fin = self._control = False  # of the current frame
        self._opcode = 0  # of the current message; 0: between messages
        self._compressed = self._dropping = False
        self._kept = bytearray()
        self._size = 0  # of the current message, inflated

    @property
    def at_boundary(self) -> bool:
        """Between two frames: one of our own may be put in here."""
        return not (self._left or self._head or self.broken)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        found: list[Message] = []
        if self._head:
            data, self._head = self._head + data, b""
        at, end = 0, len(data)
        while at < end and not self.broken:
            if self._left:
                stop = min(at + self._left, end)
                self._left -= stop - at
                if not self._control:
                    self._take(data, at, stop)
                at = stop
            else:
                at = self._begin_frame(data, at, end)
            if not self._left and not self._head and not self._control and self._fin and self._opcode:
                self._end_message(found)
        return found

    def _begin_frame(self, data: bytes, at: int, end: int) -> int:
        second = data[at + 1] if at + 1 < end else 0
        length = second & 0x7F
        size = 2 + (8 if length == 127 else 2 if length == 126 else 0) + (4 if second & 0x80 else 0)
        if at + size > end or at + 1 >= end:
            self._head = data[at:]
            return end
        first, stop = data[at], at + size
        if length >= 126:
            length = int.from_bytes(data[at + 2 : at + (10 if length == 127 else 4)], "big")
        self._key = data[stop - 4 : stop] if second & 0x80 else b""
        self._left, self._fin = length, first & 0x80 != 0
        self._control = first & 0x08 != 0
        self._check_frame(first, length)
        return stop

    def _check_frame(self, first: int, length: int) -> None:
        opcode, reserved = first & 0x0F, first & 0x70
        if self._control:
            if opcode > 10 or length > 125 or not self._fin or reserved:
                self._break("a control frame that WebSocket doesn't have")
            self.closed = self.closed or opcode == _CLOSE
        elif opcode == _CONTINUATION:
            if not self._opcode or reserved:
                self._break("a continuation of nothing")
        elif opcode not in _DATA or self._opcode:
            self._break("a frame that WebSocket doesn't have, or a message inside another")
        elif reserved and (reserved != 0x40 or self._inflater is None):
            self._break("a frame of an extension that was not agreed on")
        elif length >> 63:
            self._break("a frame of an impossible length")
        else:
            self._opcode = opcode
            self._compressed = reserved == 0x40
            self._dropping = opcode == _BINARY
            self._size = 0

    def _take(self, data: bytes, at: int, stop: int) -> None:
        """Payload of the current message."""
        if self._dropping and not self._compressed:
            self._size += stop - at
            if self._key:
                turn = (stop - at) % 4
                self._key = self._key[turn:] + self._key[:turn]
            return
        piece = data[at:stop]
        if self._key:
            piece = unmask(piece, self._key)
            turn = len(piece) % 4
            self._key = self._key[turn:] + self._key[:turn]
        if self._compressed:
            self._inflate(piece)
        else:
            self._keep(piece)

    def _inflate(self, piece: bytes) -> None:
        try:
            while piece and not self.broken:
                plain = self._inflater.decompress(piece, _STEP)
                piece = self._inflater.unconsumed_tail
                while plain:
                    self._keep(plain)
                    if self._size > self._limit:
                        self._break(f"a compressed message of over {self._limit} bytes")
                        return
                    if len(plain) < _STEP:
                        break
                    plain = self._inflater.decompress(piece, _STEP)
                    piece = self._inflater.unconsumed_tail
                if self._inflater.eof:
                    piece = self._inflater.unused_data
                    self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        except zlib.error:
            self._break("a compressed message that can't be inflated")

    def _keep(self, piece: bytes) -> None:
        before = self._size
        self._size += len(piece)
        if self._dropping:
            return
        self._kept += piece[: max(self._limit - before, 0)]
        if before < HEAD_BYTES <= self._size:
            self._dropping = not self._wants(bytes(self._kept[:HEAD_BYTES]))

    def _end_message(self, found: list[Message]) -> None:
        if self._compressed:
            self._inflate(b"\x00\x00\xff\xff")
        if self._opcode == _TEXT and not self.broken:
            found.append(Message(bytes(self._kept), self._size == len(self._kept)))
        self._kept.clear()
        self._opcode = 0
        self._dropping = False

    def _break(self, what: str) -> None:
        self.broken = what
        self._kept.clear()


def unmask(data: bytes, key: bytes) -> bytes:
    """Also masks: it is its own inverse."""
    size = len(data)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")


def make_close(code: int, reason: bytes, mask: bytes = b"") -> bytes:
    """A Close frame; a client's side is masked."""
    payload = code.to_bytes(2, "big") + reason
    if mask:
        return bytes((0x88, 0x80 | len(payload))) + mask + unmask(payload, mask)
    return bytes((0x88, len(payload))) + payload


def frame_handshake(lines: bytes) -> bytes:
    """The opening handshake as the server gets it."""
    return keep_readable_extensions(lines) + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def keep_readable_extensions(lines: bytes) -> bytes:
    """Header lines of a handshake that offer no extension but permessage-deflate."""

    def keep(match: re.Match[bytes]) -> bytes:
        offers = [offer.strip() for offer in match[1].split(b",")]
        kept = [offer for offer in offers if offer.partition(b";")[0].strip().lower() == _DEFLATE]
        if len(kept) == len(offers):
            return match[0]
        return b"Sec-WebSocket-Extensions: " + b", ".join(kept) + b"\r\n" if kept else b""

    return _HEADER.sub(keep, lines)


def read_extensions(head: bytes) -> tuple[bool, str]:
    """Of the head that agrees: is it permessage-deflate, and what is agreed on that can't be read."""
    named = [part.partition(b";")[0].strip() for value in _HEADER.findall(head) for part in value.split(b",")]
    others = [name for name in named if name and name.lower() != _DEFLATE]
    return bool(named) and not others, b", ".join(others).decode("latin-1")[:60]
