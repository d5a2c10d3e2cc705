"""One relay worker: a listening socket that the supervisor owns, one journal, one event loop.

Invariants
- It takes connections as soon as it runs: nothing it waits for is behind the relay.
- Told to stop, it takes no new connection and no new request, lets the replies under way end (up to the
  grace), and closes its journal last.
"""

import asyncio
import hashlib
import hmac
import os
import signal
import socket
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from collector.journal.writer import Journal
from collector.plan import Plan, UpstreamPlan, read_plan
from collector.relay.acceptor import Acceptor, make_context
from collector.relay.counters import Counters
from collector.relay.exchange import Exchange
from collector.relay.log import log
from collector.relay.open_calls import OpenCalls, read_left_open
from collector.relay.outbox import Outbox
from collector.relay.policy import Admission
from collector.relay.routes import Router
from collector.relay.server import ClientConnection, Heads
from collector.relay.tunnel import GOING_AWAY, Tunnel
from collector.relay.upload import Upload
from collector.relay.upstream import Pool

_SWEEP_S = 0.25


class Worker:
    def __init__(self, plan: Plan, plan_file: Path, number: int, listener: socket.socket) -> None:
        self.plan, self._plan_file = plan, plan_file
        self.name = f"w{number}"
        self.loop = asyncio.get_running_loop()
        folder = Path(plan.journal_dir) / self.name
        self.journal = Journal(folder, segment_bytes=plan.segment_bytes, fsync_ms=plan.fsync_ms)
        left_open = read_left_open(folder / "open_calls", plan.tenant)
        written = [call for call in left_open if call.call_id != self.journal.last_call_id]
        for call in written:
            self.journal.append(call)
        self.open_calls = OpenCalls(folder / "open_calls", plan.open_slots)
        self.counters = Counters(folder / "counters")
        self.counters.pid = os.getpid()
        self.counters.interrupted = len(written)
        self.router = Router(plan)
        self.outbox = Outbox(self.loop)
        self.admission = Admission(plan)
        self._refresh_policy()
        self.heads = Heads(self.admission.identify)
        self.refuses_option: set[tuple[str, str]] = set()  # upstream and model that refused stream_options
        self.clients: set[ClientConnection] = set()
        self.tunnels: set[Tunnel] = set()
        self.clock = time.monotonic()  # coarse: as of the last sweep
        self.stopping = False
        self._pools: dict[str, Pool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining: dict[Exchange, float] = {}
        self._hash_key = bytes.fromhex(plan.hash_secret)
        self._stopped = asyncio.Event()
        try:
            self.acceptor = Acceptor(self, listener, number)
        except OSError as error:
            log("cannot_accept", worker=self.name, error=str(error))
            raise SystemExit(1) from error

    async def run(self) -> None:
        self.acceptor.start()
        self.loop.add_signal_handler(signal.SIGTERM, self.stop)
        self.loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor decides
        self.loop.add_signal_handler(signal.SIGHUP, self.reload)
        self.loop.call_later(_SWEEP_S, self._sweep)
        await self._stopped.wait()
        self.counters.publish()
        self.journal.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def pool_of(self, upstream: UpstreamPlan) -> Pool:
        pool = self._pools.get(upstream.name)
        if pool is None:
            pool = self._pools[upstream.name] = Pool(upstream, self.plan.limits)
        return pool

    def hash(self, text: str) -> str:
        """Keyed, so that what it stands for can't be guessed from it; of nothing, nothing."""
        if not text:
            return ""
        return hmac.new(self._hash_key, text.encode(), hashlib.sha256).hexdigest()[:32]

    def drain(self, exchange: Exchange, seconds: float) -> None:
        """The client left; read on for a while, since the upstream bills the whole reply anyway."""
        self._draining[exchange] = self.clock + seconds

    def drained(self, exchange: Exchange) -> None:
        self._draining.pop(exchange, None)

    # -- time ----------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        self.outbox.flush()
        now = self.clock = time.monotonic()
        limits = self.plan.limits
        for client in list(self.clients):
            exchange = client.exchange
            if client.has_left():
                client.transport.abort()
            elif exchange is not None:
                self._check_exchange(exchange, now)
            elif client.transport.is_closing():  # it doesn't read its last reply
                if now - client.idle_since > limits.idle_timeout_s:
                    client.transport.abort()
            elif client.reading_head and now - client.idle_since > limits.head_timeout_s:
                client.answer(
                    408, "", "head_timeout", "The request's head did not arrive in time.", close=True
                )
            elif not client.reading_head and now - client.idle_since > limits.keepalive_timeout_s:
                client.transport.close()
        for exchange, deadline in list(self._draining.items()):
            if now > deadline:
                exchange.timed_out("after the client left")
        for tunnel in list(self.tunnels):
            tunnel.check(now)
        for pool in self._pools.values():
            pool.sweep(now)
        if self._refresh_policy():
            self.heads = Heads(self.admission.identify)
        self.acceptor.beat()
        self._publish()
        if self.stopping and not self.clients and not self.tunnels and not self._draining:
            self._stopped.set()
        else:
            self.loop.call_later(_SWEEP_S, self._sweep)

    def _check_exchange(self, exchange: Exchange, now: float) -> None:
        limits = self.plan.limits
        if now - exchange.activity > limits.idle_timeout_s:
            exchange.timed_out(f"nothing came for {limits.idle_timeout_s:g} s")
        elif exchange.upload is not Upload.DONE and now - exchange.activity > limits.head_timeout_s:
            exchange.timed_out(f"nothing came for {limits.head_timeout_s:g} s")
        elif now - exchange.begun > limits.total_timeout_s:
            exchange.timed_out(f"it took over {limits.total_timeout_s:g} s")

    def _publish(self) -> None:
        counters = self.counters
        counters.clients = len(self.clients) + len(self.tunnels)
        counters.under_way = len(self.open_calls)
        counters.untracked = self.open_calls.untracked
        counters.journal_lost = self.journal.lost
        counters.upstream_connections = sum(pool.open for pool in self._pools.values())
        counters.policy_made_at_s = int(self.admission.made_at_s)
        counters.beats += 1
        counters.publish()

    def _refresh_policy(self) -> bool:
        """Whether what was worked out for the heads seen no longer holds."""
        try:
            return self.admission.refresh()
        except ValueError as error:
            log("policy_unreadable", worker=self.name, error=str(error))
            return False

    # -- signals -------------------------------------------------------------------------------------------

    def stop(self) -> None:
        if self.stopping:
            return
        self.stopping = True
        self.outbox.flush()
        self.acceptor.stop()
        for client in list(self.clients):
            if client.exchange is None:
                client.transport.close()
        for tunnel in list(self.tunnels):
            tunnel.part(*GOING_AWAY)
        self.loop.call_later(self.plan.limits.shutdown_grace_s, self._stop_hard)

    def _stop_hard(self) -> None:
        for client in list(self.clients):
            client.transport.abort()
        for tunnel in list(self.tunnels):
            tunnel.abort("interrupted", "relay_stopped")
        self._stopped.set()

    def reload(self) -> None:
        """Take the new plan; what is under way ends as it began."""
        try:
            plan = read_plan(self._plan_file)
            context = make_context(plan)
        except (OSError, ValueError) as error:  # a certificate that can't be used is an OSError
            log("reload_failed", worker=self.name, error=str(error))
            return
        self.acceptor.use(context)
        self.plan = plan
        self.router = Router(plan)
        self.outbox = Outbox(self.loop)
        self.admission = Admission(plan)
        self._refresh_policy()
        self.heads = Heads(self.admission.identify)
        self.refuses_option.clear()
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close_idle()
            pool.retired = True
        log("reloaded", worker=self.name)
