"""The network as the relay sees it, in memory: transports, an event loop, upstreams, a journal, by the dice.

The relay's own Worker, connections, pool and exchanges run on it unchanged; only time and sockets are ours.
What an invariant finds broken is noted in `Stage.broken`, since the relay might swallow an exception.
"""

import asyncio
import json
import random
import re
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.fuzzing.dialogues import FIND_TAG, Asked, answer
from benchmarks.fuzzing.mutations import cut, mutate
from collector.call import Call
from collector.journal.record import About, Frames, decode, encode_parts
from collector.plan import Limits, Plan, RoutePlan, UpstreamPlan
from collector.relay import server as server_module
from collector.relay import worker as worker_module
from collector.relay.exchange import Exchange
from collector.relay.routes import Router
from collector.relay.server import ClientConnection, Heads
from collector.relay.upstream import Pool, UpstreamConnection
from collector.relay.worker import Worker

LIMITS = Limits(head_bytes=4096, sniff_bytes=2048, body_bytes=20_000, read_reply_bytes=4096)
SURPLUS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"  # which nobody asked for
_REQUEST = re.compile(rb"[A-Z-]+ /[!-~]* HTTP/1\.1\r\n")
_QUIET, _OTHER = socket.socketpair()  # a socket on which nothing ever happens


def make_worker(folder: Path) -> Worker:
    """Within a running event loop, which it doesn't use."""
    places = {"host": "127.0.0.1", "port": 9, "host_header": "upstream"}
    plan = Plan(
        journal_dir=str(folder / "journal"),
        upstreams=[
            UpstreamPlan(name="openai", **places),  # type: ignore[arg-type]
            UpstreamPlan(name="anthropic", drain_s=5.0, **places),  # type: ignore[arg-type]
        ],
        routes=[RoutePlan(to="anthropic", path="/v1/messages*"), RoutePlan(to="openai")],
        limits=LIMITS,
        hash_secret="00" * 32,
        open_slots=64,
    )
    worker = Worker(plan, folder / "plan.json", 0, socket.socket())
    worker.journal.close()
    worker_module.Pool = StagePool  # type: ignore[attr-defined]
    server_module.Exchange = StageExchange  # type: ignore[attr-defined]
    return worker


class Loop:
    """What the relay asks of its event loop."""

    def __init__(self) -> None:
        self.ready: deque[Callable[[], Any]] = deque()

    def call_soon(self, work: Callable[..., Any], *values: Any) -> None:
        self.ready.append(lambda: work(*values))

    def call_later(self, delay_s: float, work: Callable[..., Any], *values: Any) -> None:
        """Time passes when the stage says so."""

    def create_task(self, work: Coroutine[Any, Any, None]) -> "Task":
        return Task(work, self)


class Task:
    """A coroutine that waits for connections only."""

    def __init__(self, work: Coroutine[Any, Any, None], loop: Loop) -> None:
        self._work, self._loop = work, loop
        self.done = self._cancelled = False
        self._callbacks: list[Callable[[Task], Any]] = []
        loop.call_soon(self.go_on, None)

    def go_on(self, value: object) -> None:
        if self._cancelled:
            self._run(lambda: self._work.throw(asyncio.CancelledError()))
        else:
            self._run(lambda: self._work.send(value))

    def cancel(self) -> None:
        """As with asyncio's: whatever comes first then, the coroutine sees only that it was cancelled."""
        self._cancelled = True
        self._loop.call_soon(self.go_on, None)

    def _run(self, step: Callable[[], Any]) -> None:
        if self.done:
            return
        try:
            Waiting.current = self
            step()
        except (StopIteration, asyncio.CancelledError):
            self.done = True
            for callback in self._callbacks:
                callback(self)

    def add_done_callback(self, callback: "Callable[[Task], Any]") -> None:
        self._callbacks.append(callback)


class Waiting:
    """`await Waiting()` gives what the stage decides on."""

    current: Task | None = None

    def __await__(self) -> Generator[None, Any, Any]:
        return (yield)


class StagePool(Pool):
    async def connect(self) -> UpstreamConnection:
        stage = Stage.current
        assert stage is not None
        assert Waiting.current is not None
        stage.connecting.append(Waiting.current)
        problem = await Waiting()
        if problem is not None:
            raise problem
        connection = UpstreamConnection(self)
        connection.connection_made(UpstreamTransport(stage, connection))  # type: ignore[arg-type]
        self.made += 1
        return connection


class StageExchange(Exchange):
    """Tells the stage that it lives."""

    def __init__(self, client: ClientConnection, head: Any, length: int, now: float) -> None:
        super().__init__(client, head, length, now)
        assert Stage.current is not None
        Stage.current.exchanges.append(self)


class StageJournal:
    """Every frame is read again at once, by the journal's own reader."""

    lost = 0

    def __init__(self, stage: "Stage") -> None:
        self._stage = stage
        self.calls: dict[bytes, Call] = {}

    def append_parts(self, about: About, varying: msgspec.Struct) -> bool:
        frames = list(Frames(encode_parts(about, varying)))
        if len(frames) != 1:
            self._stage.note(f"a call became {len(frames)} frames")
            return True
        call = decode(frames[0][1])
        if call.call_id in self.calls:
            self._stage.note("a call was recorded twice")
        self.calls[call.call_id] = call
        return True


class StageTransport:
    """One side's connection: what is delivered is cut by the dice, and held while the relay doesn't read."""

    def __init__(self, stage: "Stage", protocol: Any) -> None:
        self.stage, self.protocol = stage, protocol
        self.closing = self.lost = self.paused = self.full = False
        self.pieces: deque[bytes] = deque()  # to be delivered to the relay
        stage.transports.append(self)

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.took(bytes(data))

    def took(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.stage.loop.call_soon(self.lose, None)

    abort = close

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.closing = self.lost = True
            self.pieces.clear()
            self.protocol.connection_lost(error)

    @property
    def can_deliver(self) -> bool:
        return bool(self.pieces) and not (self.paused or self.closing)

    def deliver(self) -> None:
        self.protocol.data_received(self.pieces.popleft())

    def toggle_full(self) -> None:
        self.full = not self.full
        if not self.lost:
            (self.protocol.pause_writing if self.full else self.protocol.resume_writing)()

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> Any:
        return _QUIET if name == "socket" else None


class ClientTransport(StageTransport):
    """Invariants: a client gets bytes of the call under way alone; its end is recorded first."""

    def __init__(self, stage: "Stage", asked: list[Asked]) -> None:
        super().__init__(stage, ClientConnection(stage.worker))
        self.asked, self.got = asked, bytearray()
        self.tags = {one.tag for one in asked}
        self.protocol.connection_made(self)

    def took(self, data: bytes) -> None:
        self.got += data
        exchange = self.protocol.exchange
        if exchange is None:
            return
        own = FIND_TAG.search(exchange.head.query)
        for tag in FIND_TAG.findall(data):
            if own and own[0] in self.stage.asked and tag in self.stage.asked and tag != own[0]:
                self.stage.note(f"bytes of {tag!r} in the reply to {own[0]!r}")
        reply = exchange.reply
        counted = exchange.head.endpoint is not None
        if (
            counted
            and reply is not None
            and reply.ending
            and exchange.call_id not in self.stage.journal.calls
        ):
            self.stage.note("the end of a reply went out before its call was recorded")

    def check_tags(self) -> None:
        for tag in FIND_TAG.findall(bytes(self.got)):
            if tag in self.stage.asked and tag not in self.tags:
                self.stage.note(f"a client got bytes of {tag!r}, another's call")


class UpstreamTransport(StageTransport):
    """Reads requests with a parser of its own, and answers each.

    Invariant: what arrives is whole requests, none before the reply to the last has come.
    """

    def __init__(self, stage: "Stage", protocol: UpstreamConnection) -> None:
        super().__init__(stage, protocol)
        self._inbox = b""
        self._ends = False
        self._spoiled = False  # it said more than a reply

    def took(self, data: bytes) -> None:
        if self._spoiled:
            self.stage.note("a request went to an upstream that had said more than its reply")
        if not self._inbox:
            if self.pieces and self.stage.clean:
                self.stage.note("a request was sent before the reply to the last had come")
            self.pieces.clear()  # a damaged reply may have ended early for the relay
        self._inbox += data
        head_end = self._inbox.find(b"\r\n\r\n") + 4
        if head_end < 4 or not _REQUEST.match(self._inbox):
            self.stage.note(f"an upstream got {self._inbox[:60]!r} for a request")
            return
        size = self._body_size(self._inbox[:head_end].lower(), self._inbox[head_end:])
        if size is None:
            return
        raw, self._inbox = self._inbox[: head_end + size], self._inbox[head_end + size :]
        if self._inbox:
            self.stage.note(f"an upstream got {self._inbox[:60]!r} behind a request")
        self._answer(raw, raw[head_end:])

    def _body_size(self, head: bytes, rest: bytes) -> int | None:
        """None: not all of it has come."""
        lengths = re.findall(rb"\r\ncontent-length: (\d+)(?=\r\n)", head)
        chunked = head.count(b"\r\ntransfer-encoding: chunked\r\n")
        if len(lengths) + chunked > 1 or head.count(b"\r\nhost: ") != 1 or b"\r\nx-sizewise-" in head:
            self.stage.note(f"an upstream got the head {head!r}")
        if chunked:
            return _unframe(rest)[1]
        size = int(lengths[0]) if lengths else 0
        return size if len(rest) >= size else None

    def _answer(self, raw: bytes, body: bytes) -> None:
        stage = self.stage
        tag = FIND_TAG.search(raw.partition(b"\r\n")[0])
        asked = stage.asked.get(tag[0]) if tag else None
        if asked is None:
            reply, self._ends = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False
        else:
            if stage.clean:
                stage.check_body(asked, raw, body)
            reply, self._ends = answer(stage.rng, asked, body)
        if not stage.clean and stage.rng.random() < 0.4:
            reply = mutate(stage.rng, reply)
        self.pieces.extend(cut(stage.rng, reply))
        if stage.clean and not self._ends and stage.rng.random() < 0.1:
            self.pieces[-1] += SURPLUS
            self._spoiled = True

    def deliver(self) -> None:
        super().deliver()
        if self._ends and not self.pieces and not self.lost:
            self.protocol.eof_received()
            self.close()


class Stage:
    """One dialogue's world. `clean`: nothing is damaged and nobody leaves, so that everything must fit."""

    current: "Stage | None" = None

    def __init__(self, worker: Worker, rng: random.Random, clean: bool) -> None:
        Stage.current = self
        self.worker, self.rng, self.clean = worker, rng, clean
        self.loop, self.journal = Loop(), StageJournal(self)
        self.broken: list[str] = []
        self.asked: dict[bytes, Asked] = {}
        self.transports: list[StageTransport] = []
        self.connecting: list[Task] = []
        self.exchanges: list[Exchange] = []
        worker.loop, worker.journal = self.loop, self.journal  # type: ignore[assignment]
        worker.heads, worker.router = Heads(worker.admission.identify), Router(worker.plan)
        worker.refuses_option.clear()
        worker.clients.clear()
        worker._draining.clear()
        worker.open_calls._free = list(range(worker.plan.open_slots))
        worker._pools = {}

    def note(self, text: str) -> None:
        self.broken.append(text)

    def check_body(self, asked: Asked, raw: bytes, body: bytes) -> None:
        """The request arrives as it was sent, but for our option."""
        if b"\r\ntransfer-encoding: chunked\r\n" in raw[: -len(body)]:
            body = _unframe(body)[0]
        if body == asked.body:
            return
        got, sent = json.loads(body), json.loads(asked.body)
        options = got.pop("stream_options", None)
        sent.pop("stream_options", None)
        if got != sent or options != {"include_usage": True}:
            self.note(f"a request changed on its way: {asked.body!r} became {body!r}")

    def run_ready(self) -> None:
        self.loop.ready.popleft()()

    def pass_time(self) -> None:
        """Long enough for every limit."""
        worker = self.worker
        for client in worker.clients:
            client.idle_since -= 10_000
            if client.exchange is not None:
                client.exchange.activity -= 10_000
        for exchange in worker._draining:
            worker._draining[exchange] = 0.0
        worker._sweep()

    def close_pools(self) -> int:
        """How many upstream connections are left when the idle ones are closed."""
        pools = list(self.worker._pools.values())
        for pool in pools:
            pool.close_idle()
        while self.loop.ready:
            self.run_ready()
        return sum(pool.open for pool in pools)


def _unframe(framed: bytes) -> tuple[bytes, int | None]:
    """A body out of its chunks, and where they end: None when they go on. The relay adds no trailers."""
    body, at = b"", 0
    while (end := framed.find(b"\r\n", at)) >= 0:
        size = int(framed[at:end], 16)
        body, at = body + framed[end + 2 : end + 2 + size], end + 4 + size
        if not size:
            return body, at if at <= len(framed) else None
    return body, None
