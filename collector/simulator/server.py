"""HTTP/1.1 on a socket: bytes of requests enter, Deliveries write the replies, strictly one after the other.

Invariants:
- Pipelined requests wait in `_waiting` and are answered in order; a request is never begun before the reply
  before it has ended.
- `should_keep_alive` is asked inside the parser's callback: afterwards it is no longer true.
- The connection lost ends the delivery under way; what waited is forgotten.
"""

import asyncio
import time
from collections import deque
from typing import cast

import httptools

from collector.simulator.delivery import Delivery, Ending, Wire
from collector.simulator.reply import Reply
from collector.simulator.service import Answer, Request, Service, date_header

_MAX_BODY_BYTES = 256 * 1024 * 1024
_MAX_HEAD_BYTES = 256 * 1024
_MAX_WAITING = 64


class _Parsed:
    """One request as it was read, and what its connection allows."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.hosts = 0
        self.head_bytes = 0
        self.body = bytearray()
        self.method = ""
        self.http11 = True
        self.keep_alive = True


class Connection(asyncio.Protocol):
    def __init__(self, service: Service, connections: set["Connection"]):
        self._service, self._connections = service, connections
        self._parser = httptools.HttpRequestParser(self)
        self._parsed = _Parsed()
        self._waiting: deque[_Parsed] = deque()
        self._delivery: Delivery | None = None
        self._wants_continue = self._write_paused = self._broken = self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=262_144)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._waiting.clear()
        self._closing = True
        if self._delivery is not None:
            self._delivery.abort()

    def close(self) -> None:
        self._transport.abort()

    # --- reading

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._broken = True  # answered as an ordinary request, and then the connection ends
            if self._waiting:
                self._waiting[-1].keep_alive = False
        except (httptools.HttpParserError, ValueError):
            self._break(400)
        self._begin_next()

    def on_message_begin(self) -> None:
        self._parsed = _Parsed()

    def on_url(self, url: bytes) -> None:
        self._parsed.target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        key = name.decode("latin-1").lower()
        self._parsed.hosts += key == "host"
        self._parsed.headers[key] = value.decode("latin-1")

    def _count_head(self, size: int) -> None:
        self._parsed.head_bytes += size
        if self._parsed.head_bytes > _MAX_HEAD_BYTES:
            raise ValueError("head too large")

    def on_headers_complete(self) -> None:
        parsed = self._parsed
        parsed.method = self._parser.get_method().decode()
        parsed.http11 = self._parser.get_http_version() != "1.0"
        if parsed.hosts > 1 or (parsed.http11 and not parsed.hosts):
            raise ValueError("exactly one Host is needed")
        if parsed.http11 and parsed.headers.get("expect", "").lower() == "100-continue":
            self._wants_continue = True
            self._continue()

    def _continue(self) -> None:
        """Only in its turn: an interim reply belongs behind the replies to earlier requests."""
        if self._wants_continue and self._delivery is None and not self._waiting:
            self._wants_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._parsed.body += body
        if len(self._parsed.body) > _MAX_BODY_BYTES:
            raise ValueError("body too large")

    def on_message_complete(self) -> None:
        self._wants_continue = False
        self._parsed.keep_alive = self._parser.should_keep_alive()
        self._waiting.append(self._parsed)
        if len(self._waiting) > _MAX_WAITING:
            self._transport.pause_reading()

    def _break(self, status: int) -> None:
        """What can't be understood is answered after what could, and ends the connection."""
        broken = _Parsed()
        broken.method, broken.keep_alive = f"!{status}", False
        self._broken = True
        self._waiting.append(broken)

    # --- replying

    def _begin_next(self) -> None:
        if self._delivery is not None or self._closing or not self._waiting:
            return
        parsed = self._waiting.popleft()
        if len(self._waiting) == _MAX_WAITING:
            self._transport.resume_reading()
        if parsed.method.startswith("!"):
            answer = Answer(Reply(status=int(parsed.method[1:]), body=b'{"detail":"Bad Request"}'))
        else:
            request = Request(
                parsed.method, parsed.target.decode("latin-1"), parsed.headers, bytes(parsed.body)
            )
            answer = self._service.answer(request)
        self._deliver(parsed, answer)

    def _deliver(self, parsed: _Parsed, answer: Answer) -> None:
        sim, reply, behaviour = answer.sim, answer.reply, self._service.behaviour
        accepted = "gzip" in parsed.headers.get("accept-encoding", "")
        wire = Wire(
            self._transport,
            http11=parsed.http11,
            keep_alive=parsed.keep_alive,
            head_only=parsed.method == "HEAD" or reply.status == 204,
            gzip=sim.gzip == "force" or (sim.gzip == "1" and accepted),
        )
        head = [date_header()]
        if reply.content_type:
            head.append(("content-type", reply.content_type))
        head += reply.headers
        run = _Run(self._service, answer)
        self._delivery = Delivery(
            wire,
            reply,
            sim,
            first_ms=behaviour.first_ms if sim.first_ms is None else sim.first_ms,
            gap_ms=behaviour.gap_ms if sim.gap_ms is None else sim.gap_ms,
            head=head,
            on_tokens=run.count_tokens,
            on_ended=run.write_truth,
            on_free=self._free,
        )
        self._delivery.paused = self._write_paused
        run.start()
        self._delivery.start()

    def _free(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None and delivery.closes:
            self._closing = True
        if self._closing:
            return
        if self._waiting:
            # By the loop and not by recursion: a thousand pipelined requests are as deep as one.
            asyncio.get_running_loop().call_soon(self._begin_next)
        else:
            self._continue()

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._delivery is not None:
            self._delivery.paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._delivery is not None:
            self._delivery.resume()


class _Run:
    """One request in the counters and in the truth log."""

    def __init__(self, service: Service, answer: Answer):
        self._service, self._entry, self._reply = service, answer.entry, answer.reply
        # Refused requests never reach the engine.
        self._counted = self._entry is not None and self._reply.status == 200 and bool(self._reply.finish)
        self._prefilled = False

    def start(self) -> None:
        if self._counted and self._entry:
            self._service.metrics.start(self._entry.model)

    def count_tokens(self, tokens: int) -> None:
        entry, metrics = self._entry, self._service.metrics
        if not self._counted or entry is None:
            return
        if not self._prefilled:
            self._prefilled = True
            metrics.prefill(entry.model, entry.prompt_tokens, entry.cached_tokens)
            tokens += self._reply.hidden_tokens
        metrics.generate(entry.model, tokens)

    def write_truth(self, delivery: Delivery, ending: Ending) -> None:
        entry, took_s = self._entry, time.monotonic() - delivery.started_s
        if entry is None:
            return
        entry.outcome = "refused" if self._reply.status >= 400 else ending
        entry.completion_tokens = delivery.generated
        entry.reply_bytes, entry.reply_sha256 = delivery.body_bytes, delivery.body_hash.hexdigest()
        entry.first_token_ms = None if delivery.first_token_s is None else delivery.first_token_s * 1000
        entry.duration_ms = took_s * 1000
        self._service.truth.append(entry)
        if not self._counted:
            return
        if ending == "finished":
            self.count_tokens(0)  # an embedding reads its prompt and says nothing
        if ending in ("aborted", "stalled"):
            self._service.metrics.abort(entry.model)
            return
        reason = "error" if ending == "error" else entry.finish
        self._service.metrics.finish(
            entry.model,
            reason,
            prompt_tokens=entry.prompt_tokens,
            tokens=delivery.generated,
            first_s=delivery.first_token_s,
            whole_s=took_s,
        )


async def serve(service: Service, host: str, port: int) -> tuple[asyncio.Server, set[Connection]]:
    connections: set[Connection] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(service, connections), host, port, backlog=1024
    )
    return server, connections
