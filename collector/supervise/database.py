"""Keeps the database at hand: starts the embedded Postgres, or takes the given one, and migrates it.

Nothing here can stop a relay: whatever fails is kept as the status, logged once, and tried again with a
growing delay. All blocking work is done by one thread that lives as long as the supervisor: some children
are bound to the life of the thread that started them, and a thread of a pool may end early.
"""

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from collector.config import Config
from collector.errors import StoreError
from collector.supervise.restart import BackoffRestart
from collector.supervise.status import DatabaseStatus

log = logging.getLogger("sizewise.supervise")
Result = TypeVar("Result")
STOP_S = 30.0


class Postgres(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    def is_running(self) -> bool: ...
    def stop(self) -> None: ...


class Store(Protocol):
    """What is needed of collector.store; tests put something smaller in its place."""

    def start_postgres(self, data_dir: Path) -> Postgres: ...
    def running_url(self, data_dir: Path) -> str: ...
    def migrate(self, url: str, zone: str) -> None: ...


class RealStore:
    def start_postgres(self, data_dir: Path) -> Postgres:
        from collector.store.embedded import start_postgres

        return start_postgres(data_dir)

    def running_url(self, data_dir: Path) -> str:
        from collector.store.embedded import running_url

        url = running_url(data_dir)
        if not url:
            raise StoreError(f"no Postgres runs for {data_dir}: start `sizewise up`, or set database.url")
        return url

    def migrate(self, url: str, zone: str) -> None:
        from collector.store.schema import migrate

        migrate(url, zone=zone)


class WorkThread:
    """Runs one function after the other; being a daemon, it never holds up the end of the process."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while True:
            self._work.get()()

    def submit(self, function: Callable[[], Result]) -> "asyncio.Future[Result]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Any, problem: BaseException | None) -> None:
            if future.done():
                return
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)

        def work() -> None:
            try:
                outcome: tuple[Any, BaseException | None] = (function(), None)
            except Exception as problem:
                outcome = (None, problem)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, *outcome)

        self._work.put(work)
        return future


class DatabaseKeeper:
    def __init__(
        self, config: Config, owns_embedded: bool, changed: Callable[[], None], store: Store | None = None
    ) -> None:
        self.url = config.database_url
        kind = "external" if self.url else "embedded" if owns_embedded else "shared"
        self.status = DatabaseStatus(kind=kind)
        self.tried = asyncio.Event()  # the first attempt has ended, one way or the other
        self.ready = asyncio.Event()
        self.down = asyncio.Event()  # the opposite of ready
        self._config = config
        self._changed = changed
        self._store = store or RealStore()
        self._thread = WorkThread("database")
        self._postgres: Postgres | None = None
        self._stopping = False

    async def keep(self) -> None:
        """Until cancelled: bring it up, and again whenever it went down."""
        restart, started_s = BackoffRestart(), time.monotonic()
        while True:
            try:
                self._move("starting")
                await self._thread.submit(self._bring_up)
                self._move("ready")
                log.info("database is ready (%s)", self.status.kind)
                self.down.clear()
                self.ready.set()
                self.tried.set()
                started_s = time.monotonic()
                await self._until_down()
                problem = "the embedded Postgres went down"
            except Exception as failure:
                problem = _one_line(failure)
            self.ready.clear()
            self.down.set()
            now_s = time.monotonic()
            delay_s = restart.delay_s(now_s - started_s, now_s)
            started_s = now_s
            log.warning("database: %s; trying again in %.1f s, calls go on meanwhile", problem, delay_s)
            self._move("failed", problem)
            self.tried.set()
            await asyncio.sleep(delay_s)

    async def stop(self) -> None:
        """Also waits for a start that is under way, so that no Postgres is left behind."""
        self._stopping = True
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._thread.submit(self._shut_down), STOP_S)
        self._move("stopped")

    def _bring_up(self) -> None:
        if self._stopping:
            return
        if self.status.kind == "embedded":
            if self._postgres is None or not self._postgres.is_running():
                self._postgres = self._store.start_postgres(self._config.database.data_dir)
            self.url = self._postgres.url
            self.status.pid = self._postgres.pid
        elif self.status.kind == "shared":
            self.url = self._store.running_url(self._config.database.data_dir)
        self._store.migrate(self.url, self._config.reporting.timezone)

    def _shut_down(self) -> None:
        if self._postgres is not None:
            self._postgres.stop()

    async def _until_down(self) -> None:
        """Only the embedded one is ours to watch; of another one its users notice by themselves."""
        if self._postgres is None or self._postgres.pid is None:
            await asyncio.Event().wait()
            return
        loop, down = asyncio.get_running_loop(), asyncio.Event()
        try:
            pidfd = os.pidfd_open(self._postgres.pid)
        except OSError:
            while self._postgres.is_running():  # noqa: ASYNC110 - there is nothing to be told by
                await asyncio.sleep(1.0)
            return
        try:
            loop.add_reader(pidfd, down.set)
            await down.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    def _move(self, state: str, problem: str = "") -> None:
        self.status.state, self.status.problem, self.status.since = state, problem, time.time()
        self._changed()


def _one_line(failure: Exception) -> str:
    text = " ".join(str(failure).split()) or type(failure).__name__
    return text if len(text) <= 400 else text[:397] + "..."
