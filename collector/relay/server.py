"""The client's side: connections, their requests one after the other, and the answers that are our own.

Invariants
- One request at a time: what a client pipelines is held as bytes (bounded, then reading pauses) and begins
  when the reply before it is done; two requests are never merged nor run side by side.
- After a refused head, a broken body or an unfinished upload the connection is closed: nobody knows where the
  next request begins.
"""

import asyncio
import re
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, cast

from collector.apis.replies import error_body
from collector.relay.chunked import BadChunk
from collector.relay.exchange import Exchange
from collector.relay.liveness import is_gone
from collector.relay.policy import Refusal
from collector.relay.reply import Passing
from collector.relay.request_head import HeadRefused, RequestHead, parse_request_head
from collector.relay.upload import Upload

if TYPE_CHECKING:
    from collector.relay.worker import Worker

_REASONS = {
    400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout", 413: b"Content Too Large", 417: b"Expectation Failed", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_ANSWER = (
    b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n"
    b"x-sizewise-error: %s\r\n%scontent-length: %d\r\n\r\n"
)
_HELD_BYTES = 64 * 1024
_REFUSED_BYTES = 64 * 1024
_LENGTH_LINE = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,15})\r\n")
_HEADS = 512
_DONE = Upload.DONE
_UPSTREAM_FAILURES = frozenset({502, 504})
_HEAD_REMEMBERED_BYTES = 4096


class Heads:
    """Parses heads, and remembers those seen: a client's requests differ in little but their Content-Length.

    The key is every byte of the head but the digits of its length, so an equal key is an equally good head;
    only accepted heads are kept, and none that names its one request (a trace, an id), since it won't return.
    """

    def __init__(self, identify: Callable[[RequestHead], None] = lambda head: None) -> None:
        """`identify`: binds a new head to its key, or puts a refusal into it."""
        self._remembered: dict[bytes, RequestHead] = {}
        self._identify = identify

    def read(self, raw: bytes) -> tuple[RequestHead, int]:
        """The head and the length of its body. Raises HeadRefused."""
        match = _LENGTH_LINE.search(raw)
        if match is None or len(raw) > _HEAD_REMEMBERED_BYTES:
            head = parse_request_head(raw)
            self._identify(head)
            return head, head.content_length or 0
        key = raw[: match.start(1)] + raw[match.end(1) :]
        known = self._remembered.get(key)
        if known is None:
            known = parse_request_head(raw)
            self._identify(known)
            if not (known.trace_id or known.request_id or known.idempotency_key):
                if len(self._remembered) >= _HEADS:
                    self._remembered.clear()
                self._remembered[key] = known
        return known, int(match[1])


class ClientConnection(asyncio.Protocol):
    __slots__ = ("_full", "_held", "_paused", "exchange", "idle_since", "reading_head", "transport", "worker")

    def __init__(self, worker: "Worker") -> None:
        self.worker = worker
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.exchange: Exchange | None = None
        self._held = b""
        self._paused = False
        self._full = False  # it reads more slowly than we write
        self.reading_head = True  # a head was begun (or awaited on a fresh connection): its time is limited
        self.idle_since = worker.clock

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self.worker.plan.limits.buffer_bytes)
        self.worker.clients.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.worker.clients.discard(self)
        self.worker.acceptor.note_left()
        self._held = b""
        if self.exchange is not None:
            self.exchange.client_left()
            self.exchange = None

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        if self.exchange is None:
            self._read_head(self._held + data if self._held else data, now)
        elif self.exchange.upload is not _DONE and not self._held:
            self._read_body(self.exchange, data, now)
        else:
            self._hold(data)

    def eof_received(self) -> bool | None:
        return None  # a client that closes its side has left, as nginx sees it

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD_BYTES:
            self.pause_upload()

    def _read_head(self, data: bytes, now: float) -> None:
        while data[:1] == b"\r" and data.startswith(b"\r\n"):
            data = data[2:]  # RFC 9112, 2.2: empty lines before a request line are ignored
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._await_head(data)
            return
        if end > self.worker.plan.limits.head_bytes:
            self._refuse_long_head()
            return
        self._held = b""
        self.reading_head = False
        try:
            head, length = self.worker.heads.read(data[:end])
        except HeadRefused as refused:
            self.answer(refused.status, "", refused.code, refused.message, close=True)
            return
        if head.refusal is not None and (length > _REFUSED_BYTES or head.chunked or head.expects_continue):
            self._turn_away(head, head.refusal)
            return
        self.exchange = exchange = Exchange(self, head, length, now)
        rest = data[end:]
        if len(rest) == length and not head.chunked:
            exchange.whole_received(rest)
            return
        self._read_body(exchange, rest, now)
        if head.expects_continue and not rest and head.http11 and self.exchange is exchange:
            self.worker.outbox.flush()
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _turn_away(self, head: RequestHead, refusal: Refusal) -> None:
        """Not let in, and its body is not read either; a short one is, so that the client sees the answer."""
        self.worker.counters.unauthorized += 1
        status, code, message, lines, details = refusal
        self.answer(
            status, head.endpoint.api if head.endpoint else "", code, message, lines, details, close=True
        )

    def _await_head(self, data: bytes) -> None:
        if b"\n\n" in data:
            self.answer(
                400, "", "bare_line_end", "A line of the request's head ends without CR LF.", close=True
            )
        elif len(data) > self.worker.plan.limits.head_bytes:
            self._refuse_long_head()
        else:
            if data and not self._held and not self.reading_head:
                self.reading_head = True
                self.idle_since = self.worker.clock
            self._held = data

    def _refuse_long_head(self) -> None:
        limit = self.worker.plan.limits.head_bytes
        message = f"The request's head is over relay.limits.head_bytes ({limit})."
        self.answer(431, "", "head_too_large", message, close=True)

    def _read_body(self, exchange: Exchange, data: bytes, now: float) -> None:
        try:
            beyond = exchange.body_received(data, now)
        except BadChunk as error:
            exchange.fail(400, "bad_chunk", f"The request's body can't be read: {error}.", "refused")
            return
        if beyond:
            self._hold(beyond)
            if self.exchange is None:
                self.worker.loop.call_soon(self._next)

    # -- called by the exchange ----------------------------------------------------------------------------

    def keeps_alive(self, exchange: Exchange) -> bool:
        return exchange.head.keep_alive and exchange.upload is _DONE and not self.worker.stopping

    def exchange_done(self, close: bool) -> None:
        exchange, self.exchange = self.exchange, None
        reply = exchange.reply if exchange is not None else None
        bare = reply is not None and reply.passing is Passing.BARE
        self.idle_since = self.worker.clock
        if close or bare or exchange is None or not self.keeps_alive(exchange):
            self.worker.outbox.flush()
            self.transport.close()
            return
        if self._full:  # its next request begins when it has read this reply, or its replies would pile up
            self.pause_upload()
            return
        self.resume_upload()
        if self._held:
            self.worker.loop.call_soon(self._next)

    def _next(self) -> None:
        if self.exchange is None and self._held and not self._full and not self.transport.is_closing():
            held, self._held = self._held, b""
            self._read_head(held, perf_counter())

    def hand_over(self) -> bytes:
        """The connection is a tunnel's from here on, with the bytes that came beyond its handshake."""
        self.worker.clients.discard(self)
        self.exchange = None
        held, self._held = self._held, b""
        self.resume_upload()
        return held

    def answer(
        self,
        status: int,
        api: str,
        code: str,
        message: str,
        lines: bytes = b"",
        details: dict[str, str] | None = None,
        *,
        close: bool,
    ) -> None:
        """An answer of our own, in the API's shape, with further headers and members of the error."""
        body = error_body(api, status, code, message, details)
        ending = lines + b"connection: close\r\n" if close else lines
        reason = _REASONS.get(status, b"Error")
        head = _ANSWER % (status, reason, code.encode(), ending, len(body))
        bodiless = self.exchange is not None and self.exchange.head.method == b"HEAD"
        counters = self.worker.counters
        if status in _UPSTREAM_FAILURES:
            counters.upstream_failures += 1
        else:
            counters.refused += 1
        self.worker.outbox.flush()
        self.transport.write(head if bodiless else head + body)
        if close:
            self.transport.close()

    # -- flow ----------------------------------------------------------------------------------------------

    def pause_upload(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_upload(self) -> None:
        if self._paused and len(self._held) <= _HELD_BYTES and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def has_left(self) -> bool:
        """While reading is paused the event loop doesn't see a client go; the kernel does."""
        if not self._paused or self.transport.is_closing():
            return False
        return is_gone(self.transport)

    def pause_writing(self) -> None:
        self._full = True
        exchange = self.exchange
        if exchange is not None and exchange.connection is not None:
            exchange.connection.transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        exchange = self.exchange
        if exchange is None:
            self.resume_upload()
            self._next()
        elif exchange.connection is not None:
            exchange.connection.transport.resume_reading()
