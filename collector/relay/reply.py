"""A reply on its way to the client, without IO: the body's bytes enter, what the client gets leaves.

Invariants
- The client gets the body, byte for byte, but for a usage event that we asked for and hide.
- `ending` is true when the bytes that end the reply are handed back: the call is recorded before they leave.
- Nothing that came after the reply's end is passed on, and its connection serves no other.
"""

import enum

from collector.apis.endpoints import Endpoint, read_whole
from collector.apis.reading import Reading
from collector.apis.replies import stream_error_event
from collector.relay.chunked import BadChunk, ChunkedBody
from collector.relay.reply_head import BadReply, Framing, ReplyHead
from collector.relay.tap import Tap, is_framed, make_tap

_CONTENT_TIMES = 8192  # at most so many times of content are kept


class Passing(enum.IntEnum):
    """How the body goes to the client."""

    UNTOUCHED = 0  # in the upstream's own framing
    CHUNKS = 1  # in chunks of our own: an event is hidden, or the upstream ends by closing
    BARE = 2  # without framing, ended by closing: an HTTP/1.0 client


# An enum's member costs a look-up through its class each time; these are asked for with every piece.
_UNTOUCHED, _CHUNKS, _BARE = Passing.UNTOUCHED, Passing.CHUNKS, Passing.BARE
_NONE, _LENGTH, _CHUNKED = Framing.NONE, Framing.LENGTH, Framing.CHUNKED


class Reply:
    __slots__ = (
        "_chunked",
        "_left",
        "_reading",
        "content_times",
        "done",
        "ending",
        "endpoint",
        "head",
        "hides",
        "passing",
        "streams",
        "tap",
    )

    def __init__(self, head: ReplyHead, endpoint: Endpoint | None, hides: bool, http11: bool) -> None:
        self.head, self.endpoint = head, endpoint
        self.done = False
        self.ending = False  # what was last taken ends the reply, or holds the event that ends it
        self.tap: Tap | None = None
        self.streams = head.event_stream or (endpoint is not None and is_framed(endpoint, head))
        self.hides = hides and head.event_stream and not head.content_encoding
        self.content_times: list[float] = []  # when pieces with content came
        self._reading: Reading | None = None
        framing = head.framing
        self._chunked = ChunkedBody() if framing is _CHUNKED else None
        self._left = head.content_length or 0
        if framing is _NONE or (framing is _LENGTH and not self.hides):
            self.passing = _UNTOUCHED
        elif not http11:
            self.passing = _BARE
        else:
            self.passing = _UNTOUCHED if framing is _CHUNKED and not self.hides else _CHUNKS

    def open_tap(self, limit: int) -> None:
        """Before the body is taken in pieces: its usage is read from up to `limit` bytes."""
        if self.endpoint is not None:
            self.tap = make_tap(self.endpoint, self.head, limit)

    def take_whole(self, body: bytes, limit: int) -> None:
        """The body came in one piece with its head, and goes on as it is."""
        self.done = self.ending = True
        if self.endpoint is not None:
            if self.head.content_encoding or self.head.event_stream:
                self.open_tap(limit)
                assert self.tap is not None
                self.tap.feed(body)
            else:
                self._reading = read_whole(self.endpoint, body, self.head.status)

    def read(self) -> Reading:
        """What the reply said of its usage."""
        if self.tap is not None:
            return self.tap.finish()
        return self._reading or Reading()

    def head_bytes(self, *, http11: bool, keep_alive: bool) -> bytes:
        head = self.head
        untouched = self.passing is _UNTOUCHED
        if self.passing is _CHUNKS or (untouched and self._chunked is not None):
            framing = b"transfer-encoding: chunked\r\n"
        elif untouched and head.content_length is not None:
            framing = b"content-length: %d\r\n" % head.content_length
        else:
            framing = b""
        if not keep_alive or self.passing is _BARE:
            return head.kept_lines() + framing + b"connection: close\r\n\r\n"
        return head.kept_lines() + framing + (b"\r\n" if http11 else b"connection: keep-alive\r\n\r\n")

    def take(self, data: bytes, now: float) -> bytes:
        """The body's next bytes; returns what the client gets of them. Raises BadReply."""
        if self._chunked is None:
            return self._take_bare(data, now)
        piece = self._chunked.take_one(data)
        if piece is None:
            return self._take_chunks(self._chunked, data, now)
        tap = self.tap
        if tap is not None:
            if self.hides:
                shown = tap.hide(piece)
            else:
                shown = piece
                tap.feed(piece)
            self.ending = tap.terminal
            if tap.has_content and len(self.content_times) < _CONTENT_TIMES:
                self.content_times.append(now)
            if shown != piece:
                return self._frame(shown)
        return data if self.passing is not _BARE else piece

    def _take_bare(self, data: bytes, now: float) -> bytes:
        framing = self.head.framing
        if framing is _NONE:
            self.done = self.ending = True
            if data:
                self.head.keep_alive = False
            return b""
        if framing is _LENGTH:
            self._left -= len(data)
            if self._left <= 0:
                self.done = True
                if self._left < 0:
                    data = data[: self._left]
                    self.head.keep_alive = False
        return self._pass([data] if data else [], data, now)

    def _take_chunks(self, chunked: ChunkedBody, data: bytes, now: float) -> bytes:
        pieces: list[bytes] = []
        try:
            used = chunked.feed(data, pieces)
        except BadChunk as error:
            raise BadReply(str(error)) from error
        self.done = chunked.done
        if used != len(data):
            data = data[:used]
            self.head.keep_alive = False
        return self._pass(pieces, data, now)

    def _pass(self, pieces: list[bytes], data: bytes, now: float) -> bytes:
        tap = self.tap
        if tap is not None and pieces:
            if self.hides:
                pieces = [tap.hide(piece) for piece in pieces]
            else:
                for piece in pieces:
                    tap.feed(piece)
            if tap.has_content and len(self.content_times) < _CONTENT_TIMES:
                self.content_times.append(now)
        self.ending = self.done or (tap is not None and tap.terminal)
        if self.passing is _UNTOUCHED:
            return data
        if self.hides and self.done and tap is not None:
            pieces.append(tap.flush())
        return self._frame(b"".join(pieces))

    def _frame(self, out: bytes) -> bytes:
        if self.passing is _BARE:
            return out
        framed = b"%x\r\n%s\r\n" % (len(out), out) if out else b""
        return framed + b"0\r\n\r\n" if self.done else framed

    def end(self) -> bytes:
        """The upstream closed, which ends a body of no stated length; returns what the client still gets."""
        self.done = True
        return self._pass([], b"", 0.0)

    def is_reusable(self) -> bool:
        """May the upstream's connection serve another request."""
        return self.done and self.head.keep_alive

    def error_event(self, code: str, message: str) -> bytes:
        """An event that says why a stream breaks off, where one can be put in; else b""."""
        tap, endpoint = self.tap, self.endpoint
        if tap is None or endpoint is None or not self.head.event_stream or self.head.content_encoding:
            return b""
        if tap.terminal or (tap.mid_event and not self.hides) or not self._at_boundary():
            return b""
        event = stream_error_event(endpoint.api, 502, code, message, endpoint.operation)
        return event if self.passing is _BARE else b"%x\r\n%s\r\n" % (len(event), event)

    def _at_boundary(self) -> bool:
        if self.passing is not _UNTOUCHED:
            return True
        return self._chunked is not None and self._chunked.at_boundary()
