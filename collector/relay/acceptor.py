"""Takes connections from the listening socket that the workers share: each its part, none beyond the limit.

Invariants
- A connection waits for a less loaded sibling at most PATIENCE_S beyond that one's last sign of taking any.
- At the limit nothing is taken: what waits stays in the socket's queue, for a sibling or for later.
- A TLS handshake has the time a request's head has, and counts as a connection.
"""

import asyncio
import select
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

from collector.plan import Plan
from collector.relay.balance import Balance
from collector.relay.log import log
from collector.relay.server import ClientConnection
from collector.relay.tls import make_server_context

if TYPE_CHECKING:
    from collector.relay.worker import Worker

PATIENCE_S = 0.005
_WAIT_S = 0.001
_PASS_OVER_S = 0.1
_REST_S = 0.1
_AT_ONCE = 16


class Acceptor:
    def __init__(self, worker: "Worker", listener: socket.socket, number: int) -> None:
        self._worker, self._listener = worker, listener
        self._balance = Balance(Path(worker.plan.journal_dir) / "balance", number)
        self._tls = make_context(worker.plan)
        self._arriving = 0  # accepted, and no client yet: its TLS handshake is under way
        self._queue = select.poll()
        self._queue.register(listener.fileno(), select.POLLIN)
        self._waiting_since = 0.0
        self._reading = self._stopped = False

    def start(self) -> None:
        self._listener.setblocking(False)
        self.beat()
        self._resume()

    def stop(self) -> None:
        self._stopped = True
        self._pause()
        self._balance.rest()
        self._listener.close()

    def use(self, context: ssl.SSLContext | None) -> None:
        """For connections from now on."""
        self._tls = context

    @property
    def held(self) -> int:
        return len(self._worker.clients) + len(self._worker.tunnels) + self._arriving

    def note_left(self) -> None:
        """A connection has ended: a sibling may look at once."""
        self._balance.note_left(self.held)

    def beat(self) -> None:
        """Once a sweep."""
        if self._stopped:
            return
        if self._is_full():
            self._balance.rest()
        else:
            self._balance.beat(time.monotonic(), self.held)

    # -- taking --------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        if self._balance.alone:
            self._take(_AT_ONCE)
            return
        now = time.monotonic()
        load = self._balance.load(now, self.held)
        least, taken_at = self._balance.least_other(now)
        if load > least and self._may_wait(now, taken_at):
            self._pause()
            self._worker.loop.call_later(_WAIT_S, self._look_again)
            return
        if least == float("inf"):
            self._take(_AT_ONCE)
            return
        if load > least:
            self._balance.pass_over(now, load, _PASS_OVER_S)
        self._waiting_since = 0.0
        # One, and of a burst some more: with each, our load grows by two (it is held, and was taken lately).
        self._take(1 + max(0, min(_AT_ONCE, int((least - load + 1 + least / 16) / 2))))

    def _may_wait(self, now: float, taken_at: float) -> bool:
        if not self._waiting_since:
            self._waiting_since = now
        return now - max(self._waiting_since, taken_at) < PATIENCE_S

    def _look_again(self) -> None:
        if not self._stopped and not self._queue.poll(0):
            self._waiting_since = 0.0  # somebody took it; the next one is waited for anew
        self._resume()

    def _take(self, count: int) -> None:
        worker = self._worker
        for _ in range(count):
            if self._is_full():
                self._rest()
                return
            try:
                raw, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of descriptors: leave the rest in the queue for a moment
                log("accept_failed", worker=worker.name, error=str(error))
                self._rest()
                return
            worker.counters.accepted += 1
            if raw.family in (socket.AF_INET, socket.AF_INET6):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._arriving += 1
            self._balance.note_taken(time.monotonic(), self.held)
            worker.spawn(self._serve(raw))

    async def _serve(self, raw: socket.socket) -> None:
        worker, tls = self._worker, self._tls
        patience_s = worker.plan.limits.head_timeout_s if tls else None
        try:
            await worker.loop.connect_accepted_socket(
                lambda: ClientConnection(worker), raw, ssl=tls, ssl_handshake_timeout=patience_s
            )
        except (OSError, asyncio.IncompleteReadError):  # ssl.SSLError and TimeoutError are OSErrors
            worker.counters.tls_failures += tls is not None
            raw.close()
        finally:
            self._arriving -= 1

    def _is_full(self) -> bool:
        return self.held >= self._worker.plan.limits.connections_per_worker

    def _rest(self) -> None:
        self._pause()
        self._balance.rest()
        self._worker.loop.call_later(_REST_S, self._resume)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._worker.loop.remove_reader(self._listener.fileno())

    def _resume(self) -> None:
        if not self._stopped and not self._reading:
            self._reading = True
            self._worker.loop.add_reader(self._listener.fileno(), self._accept)


def make_context(plan: Plan) -> ssl.SSLContext | None:
    """Raises OSError when the plan's certificate can't be used."""
    return make_server_context(plan.tls) if plan.tls else None
