"""One reply on its way: a Reply and what the directives wish enter, bytes and one ending leave.

Invariants:
- Exactly one ending is told (`on_ended`), whatever happens: the reply over, a planned cut, the client gone.
- Tokens count as generated when their bytes are handed to the socket; of a whole reply, by the clock.
- Nothing is written while the client does not read (`paused`): a slow client slows the generation.
"""

import asyncio
import hashlib
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

from collector.simulator.directives import Directives
from collector.simulator.reply import Piece, Reply

Ending = Literal["finished", "error", "aborted", "cut", "reset", "stalled"]
_BATCH_BYTES = 65536
_STALL_S = 86_400
_STRIKES = ("error_after", "engine_death_after", "cut_after", "reset_after", "stall_after")
_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large", 422: "Unprocessable Entity",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 529: "Overloaded",
}  # fmt: skip


class Wire:
    """What the client's connection allows: set per request, before its delivery starts."""

    def __init__(
        self, transport: asyncio.Transport, *, http11: bool, keep_alive: bool, head_only: bool, gzip: bool
    ):
        self.transport, self.http11, self.keep_alive = transport, http11, keep_alive
        self.head_only, self.gzip = head_only, gzip


class Delivery:
    def __init__(
        self,
        wire: Wire,
        reply: Reply,
        sim: Directives,
        *,
        first_ms: float,
        gap_ms: float,
        head: list[tuple[str, str]],
        on_tokens: Callable[[int], None],
        on_ended: Callable[["Delivery", Ending], None],
        on_free: Callable[[], None],
    ):
        self.wire, self.reply, self.sim = wire, reply, sim
        self.first_s, self.gap_s = first_ms / 1000, gap_ms / 1000
        self.on_tokens, self.on_ended, self.on_free = on_tokens, on_ended, on_free
        self.paused = False
        self.tokens = 0
        self.body_bytes = 0
        self.body_hash = hashlib.sha256()
        self.started_s = time.monotonic()
        self.first_token_s: float | None = None
        self.ending: Ending | None = None
        self.closes = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._held: Piece | None = None  # the next piece, waiting for its time
        self._failing = self._stalled = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._strike = _find_strike(sim)
        self._compress = zlib.compressobj(6, wbits=31) if wire.gzip else None
        self._pieces = reply.pieces if reply.pieces is not None else self._whole()
        self._head = self._frame_head(head)

    # --- the head

    def _frame_head(self, headers: list[tuple[str, str]]) -> bytes:
        reply, wire, sim = self.reply, self.wire, self.sim
        http11 = wire.http11 and not sim.http10
        lines = list(headers)
        if self._compress:
            lines.append(("content-encoding", "gzip"))
            lines.append(("vary", "Accept-Encoding"))
            if reply.pieces is None:
                reply.body = self._compress.compress(reply.body) + self._compress.flush()
                self._compress = None
        streamed = reply.pieces is not None
        self.chunked = streamed and http11 and not sim.read_until_close
        sized = not streamed and not sim.read_until_close
        if sized:
            lines.append(("content-length", str(len(reply.body))))
        elif self.chunked:
            lines.append(("transfer-encoding", "chunked"))
        self.closes = not wire.keep_alive or sim.http10 or not (self.chunked or sized)
        if self.closes:
            lines.append(("connection", "close"))
        elif not wire.http11:
            lines.append(("connection", "keep-alive"))
        version = "1.1" if http11 else "1.0"
        reason = _REASONS.get(reply.status, "Unknown")
        text = (
            f"HTTP/{version} {reply.status} {reason}\r\n"
            + "".join(f"{k}: {v}\r\n" for k, v in lines)
            + "\r\n"
        )
        return text.encode("latin-1")

    # --- the course

    def start(self) -> None:
        if self.sim.slow_head_ms:
            half = len(self._head) // 2
            pause_s = self.sim.slow_head_ms / 1000
            self._timer = self._loop.call_later(pause_s, self._write_half_head, half, pause_s)
            return
        self._open()

    def _write_half_head(self, half: int, pause_s: float) -> None:
        self.wire.transport.write(self._head[:half])
        self._head = self._head[half:]
        self._timer = self._loop.call_later(pause_s, self._open)

    def _open(self) -> None:
        """The head of a stream goes at once, as vLLM's does; that of a whole reply with its body."""
        if self.reply.pieces is not None:
            self._put(self._head)
        if self.wire.head_only:
            self._put(b"" if self.reply.pieces is not None else self._head)
            self._flush()
            self._end("finished")
            return
        self._advance()

    def _advance(self) -> None:
        """Send pieces until one has to wait, the client does not read, or the reply is over."""
        self._timer = None
        while self.ending is None:
            if self.paused:
                self._flush()
                return
            piece = self._held
            self._held = None
            if piece is None:
                if self._strike_now():
                    return
                piece = next(self._pieces, None)
                if piece is None:
                    self._close_body()
                    return
                delay_s = self._delay(piece)
                if delay_s > 0:
                    self._flush()
                    self._held = piece
                    self._timer = self._loop.call_later(delay_s, self._advance)
                    return
            self._send(piece)

    def _delay(self, piece: Piece) -> float:
        if not piece.tokens:
            return 0.0
        return self.gap_s if self.tokens else self.first_s

    def _send(self, piece: Piece) -> None:
        if piece.tokens:
            if self.first_token_s is None:
                self.first_token_s = time.monotonic() - self.started_s
            self.tokens += piece.tokens
            self.on_tokens(piece.tokens)
        self._put_body(piece.data)
        if self._out_bytes >= _BATCH_BYTES:
            self._flush()

    @property
    def generated(self) -> int:
        """Tokens made so far; the hidden ones come before the first that is sent."""
        hidden = self.reply.hidden_tokens if self.tokens or self.ending == "finished" else 0
        return self.tokens + hidden

    def resume(self) -> None:
        self.paused = False
        if self._timer is None and self.ending is None:
            self._timer = self._loop.call_soon(self._advance)

    # --- a whole reply, as two pieces, so that it can break off in the middle

    def _whole(self) -> Iterator[Piece]:
        body, total = self.reply.body, self.reply.output_tokens
        if total:
            yield Piece(b"", 1)
            if total > 1:
                self.gap_s *= total - 1
                yield Piece(b"", total - 1)
        if self._strike and self._strike[1] <= total:
            # The rest is decided by the strike, when the half is out.
            self._put(self._head)
            yield Piece(body[: len(body) // 2])
            self._strike = (self._strike[0], 0)
            return
        self._put(self._head)
        yield Piece(body)

    # --- planned mishaps

    def _strike_now(self) -> bool:
        """True when the course was taken over."""
        if self._strike is None or self._stalled or self._failing or self.tokens < self._strike[1]:
            return False
        if self.reply.pieces is None and self.body_bytes == 0:
            return False  # a whole reply breaks off in its body
        name = self._strike[0]
        if name in ("error_after", "engine_death_after"):
            self._failing = True
            events = (
                self.reply.fail("engine_death" if name == "engine_death_after" else "error")
                if self.reply.fail
                else []
            )
            self._pieces = iter([Piece(event) for event in events])
            return False
        self._flush()
        if name == "stall_after":
            self._stalled = True
            self._timer = self._loop.call_later(_STALL_S, self._advance)
            return True
        if name == "reset_after":
            # RST instead of FIN: the kernel throws away what was not read.
            sock = self.wire.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closes = True
        self._end("reset" if name == "reset_after" else "cut")
        return True

    # --- bytes

    def _put_body(self, data: bytes) -> None:
        if not data:
            return
        if self.sim.crlf and self.reply.pieces is not None:
            data = data.replace(b"\n", b"\r\n")
        self.body_bytes += len(data)
        self.body_hash.update(data)
        if self._compress:
            data = self._compress.compress(data) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        self._put_framed(data)

    def _put_framed(self, data: bytes) -> None:
        if data:
            self._put(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    def _flush(self) -> None:
        if not self._out_bytes:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        if self.sim.one_byte_writes:
            for at in range(len(data)):
                self.wire.transport.write(data[at : at + 1])
        else:
            self.wire.transport.write(data)

    def _close_body(self) -> None:
        if self._compress:
            self._put_framed(self._compress.flush())
        if self.chunked:
            self._put(b"0\r\n\r\n")
        self._end("error" if self._failing else "finished")

    # --- endings

    def abort(self) -> None:
        """The client is gone. Of a whole reply, what the clock says had been generated."""
        if self.ending is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._held is not None and self.reply.pieces is None:
            done = self._count_elapsed()
            self.on_tokens(done - self.tokens)
            self.tokens = done
        self._end("stalled" if self._stalled else "aborted")

    def _count_elapsed(self) -> int:
        total = self.reply.output_tokens
        elapsed_s = time.monotonic() - self.started_s - self.first_s
        if elapsed_s < 0:
            return self.tokens
        per_token_s = self.gap_s / (total - 1) if total > 1 else 0.0
        return max(self.tokens, min(total, 1 + int(elapsed_s / per_token_s)) if per_token_s else total)

    def _end(self, ending: Ending) -> None:
        """Told before the last bytes leave: whoever sees the reply's end finds it in the truth log."""
        self.ending = ending
        self.on_ended(self, ending)
        self._flush()
        if ending == "reset":
            self.wire.transport.abort()
        elif self.closes:
            self.wire.transport.close()
        self.on_free()


def _find_strike(sim: Directives) -> tuple[str, int] | None:
    return next(((name, at) for name in _STRIKES if (at := getattr(sim, name)) is not None), None)
