"""Chunked bodies (RFC 9112, 7.1), read strictly and without IO: bytes in, pieces of the body out.

Written by hand because a relay must know at which byte a body ends, also when more follows in the same read
(a pipelined request, or an upstream that sent too much), and llhttp doesn't tell. A test holds it against
llhttp.

Invariants
- A size is 1 to 15 hex digits; extensions hold no line end or NUL; every line ends in CR LF.
- Nothing beyond the message is consumed: `feed` returns where it ended.
- Memory is bounded: a size line of at most 4 KiB, trailers of at most 16 KiB.
"""

import re

# Both bound the line in the same way, so that it doesn't depend on the cuts what is refused.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]{0,64};[^\r\n\0]{0,4000})?\r\n")
_SIZE_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,15}(?:[ \t]{0,64}(?:;[^\r\n\0]{0,4000})?)?\r?\Z")
_TRAILER_LIMIT = 16 * 1024
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\0-\x08\x0a-\x1f\x7f]*\Z")


class BadChunk(Exception):  # noqa: N818 - it says what came
    """The framing is broken; where the message ends can't be known any more."""


class ChunkedBody:
    __slots__ = ("_ending", "_held", "_left", "_trailers", "done")

    def __init__(self) -> None:
        self.done = False
        self._left = 0  # bytes of the current chunk's data still to come
        self._ending = 0  # bytes of the CR LF after it still to come
        self._held = b""  # an unfinished line
        self._trailers = -1  # bytes of trailers so far; -1 before the last chunk

    def at_boundary(self) -> bool:
        """Between two chunks: a chunk of our own may be put in here."""
        return not (self._left or self._ending or self._held or self._trailers >= 0)

    def take_one(self, data: bytes) -> bytes | None:
        """What a streaming server usually sends: one whole chunk. Returns its data; None: use `feed`."""
        if self._left or self._ending or self._held or self._trailers >= 0:
            return None
        match = _SIZE.match(data)
        if match is None:
            return None
        start = match.end()
        size = int(match[1], 16)
        if not size or len(data) - start - 2 != size or data[-2:] != b"\r\n":
            return None
        return data[start:-2]

    def feed(self, data: bytes, pieces: list[bytes]) -> int:
        """Append the body's pieces in `data`; return how many of its bytes belong to this message."""
        held = len(self._held)
        if held:
            data = self._held + data
            self._held = b""
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._left or self._ending:
                at = self._take(data, at, end, pieces)
            elif self._trailers >= 0:
                at = self._read_trailer(data, at)
            elif match := _SIZE.match(data, at):
                at = match.end()
                size = int(match[1], 16)
                if size and data[at + size : at + size + 2] == b"\r\n":  # usual: a whole chunk is here
                    pieces.append(data[at : at + size])
                    at += size + 2
                elif size:
                    self._left, self._ending = size, 2
                else:
                    self._trailers = 0
            else:
                at = self._hold(data, at)
        return at - held

    def _take(self, data: bytes, at: int, end: int, pieces: list[bytes]) -> int:
        if self._left:
            stop = min(at + self._left, end)
            pieces.append(data[at:stop])
            self._left -= stop - at
            if stop == end:
                return stop
            at = stop
        got = data[at : at + self._ending]
        if not b"\r\n"[2 - self._ending :].startswith(got):
            raise BadChunk("a chunk is longer than its size says")
        self._ending -= len(got)
        return at + len(got)

    def _hold(self, data: bytes, at: int) -> int:
        self._held = data[at:]
        if not _SIZE_BEGUN.match(self._held):
            raise BadChunk("the size of a chunk can't be read")
        return len(data)

    def _read_trailer(self, data: bytes, at: int) -> int:
        line_end = data.find(b"\n", at)
        if line_end < 0:
            self._held = data[at:]
            if self._trailers + len(self._held) > _TRAILER_LIMIT:
                raise BadChunk("the trailers are too long")
            return len(data)
        line = data[at : line_end + 1]
        self._trailers += len(line)
        if self._trailers > _TRAILER_LIMIT or not line.endswith(b"\r\n"):
            raise BadChunk("a trailer is too long or ends without CR LF")
        if line == b"\r\n":
            self.done = True
        elif not _TRAILER.match(line[:-2]):
            raise BadChunk("a trailer can't be read")
        return line_end + 1
