"""A request's body that did not come in one piece with its head, without IO: bytes enter, pieces leave.

It is gathered until it is whole, because its model decides where it goes; one over the sniff limit is sent on
as it comes, once what is there has been looked at.
"""

import enum

from collector.relay.chunked import ChunkedBody


class Upload(enum.IntEnum):
    GATHERING = 0  # the body is kept until it is whole, or over the sniff limit
    STREAMING = 1  # the rest of a large body is passed on as it comes
    DONE = 2


class Body:
    """`whole` once its last byte was taken; what lies beyond belongs to the next request."""

    __slots__ = ("_chunked", "_left", "_parts", "size", "whole")

    def __init__(self, length: int, *, chunked: bool) -> None:
        self._chunked = ChunkedBody() if chunked else None
        self._left = length
        self._parts: list[bytes] = []
        self.size = 0
        self.whole = False

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """The body's bytes in `data`, and what lies beyond it. Raises BadChunk."""
        if self._chunked is not None:
            pieces: list[bytes] = []
            used = self._chunked.feed(data, pieces)
            self.whole = self._chunked.done
            piece, beyond = b"".join(pieces), data[used:]
        else:
            left = self._left
            piece, beyond = (data, b"") if len(data) <= left else (data[:left], data[left:])
            self._left = left - len(piece)
            self.whole = self._left == 0
        self.size += len(piece)
        return piece, beyond

    def keep(self, piece: bytes) -> None:
        self._parts.append(piece)

    def let_go(self) -> bytes:
        """What was kept so far."""
        kept = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return kept

    def frame(self, piece: bytes) -> bytes:
        """A piece of a streamed body as the upstream gets it: in chunks if the client sent chunks."""
        if self._chunked is None:
            return piece
        framed = b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""
        return framed + b"0\r\n\r\n" if self.whole else framed
