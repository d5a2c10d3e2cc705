"""The world of one dialogue: the relay's own worker, a network in memory, a journal that is read at once.

The relay's Worker, connections, pool and exchanges run on it unchanged; only time and sockets are ours. What
an invariant finds broken is noted in `Stage.broken`, since the relay might swallow an exception.
"""

import json
import random
import socket
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.fuzzing.dialogues import Asked
from benchmarks.fuzzing.loop import Loop, Task, Waiting
from benchmarks.fuzzing.transports import StageTransport, UpstreamTransport, unframe
from collector.call import Call
from collector.journal.record import About, Frames, decode, encode_parts
from collector.plan import Limits, Plan, RoutePlan, UpstreamPlan
from collector.relay import server as server_module
from collector.relay import worker as worker_module
from collector.relay.exchange import Exchange
from collector.relay.outbox import Outbox
from collector.relay.routes import Router
from collector.relay.server import ClientConnection, Heads
from collector.relay.upstream import Pool, UpstreamConnection
from collector.relay.worker import Worker

LIMITS = Limits(head_bytes=4096, sniff_bytes=2048, body_bytes=20_000, read_reply_bytes=4096)


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
        worker.outbox = Outbox(self.loop)  # type: ignore[arg-type]
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
            body = unframe(body)[0]
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
