"""Owns the listening sockets; starts, watches, replaces, reloads and stops the processes of one machine.

Order, and why: relay workers first and at once, since nothing behind them may keep a call waiting; then the
database and its schema; then record and web, which need it. The end is the other way round: clients are
served to the end of their streams, record drains the journal, the pages go, then Postgres.

Invariants
- A relay worker that dies refuses no connection: the listening socket stays open here.
- A configuration that is refused changes nothing.
- No process is left behind: children are bound to this process by the kernel (collector.children).
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping

from collector import __version__
from collector.config import Loaded, make_plan, with_hash_secret, write_effective
from collector.errors import SizewiseError
from collector.plan import read_plan, write_plan
from collector.supervise.changes import (
    child_environment,
    part_of,
    refuse_fixed_changes,
    with_database_url,
)
from collector.supervise.crew import Crew
from collector.supervise.database import DatabaseKeeper, Store
from collector.supervise.lock import Locks, make_folder
from collector.supervise.sockets import listen, shown_address
from collector.supervise.status import ReloadStatus, Status, run_folder, write_status

log = logging.getLogger("sizewise.supervise")

KINDS = frozenset({"relay", "record", "web"})
NEED_DATABASE = frozenset({"record", "web"})
DRAIN_S = 30.0  # for record to bring the journal's rest into the database
WEB_STOP_S = 10.0
RETRY_S = 1.0
DEFAULT_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "relay": (sys.executable, "-m", "collector.relay"),
    "record": (sys.executable, "-m", "collector.ledger"),
    "web": (sys.executable, "-m", "collector.web"),
    "simulator": (sys.executable, "-m", "collector.children", "collector.simulator"),
}


class Supervisor:
    def __init__(
        self,
        load: Callable[[], Loaded],
        kinds: frozenset[str] = KINDS,
        *,
        simulator_port: int = 0,
        commands: Mapping[str, tuple[str, ...]] = DEFAULT_COMMANDS,
        store: Store | None = None,
    ) -> None:
        """Everything that can be refused is refused here, before anything was started."""
        self._load = load
        self._loaded = load()
        self.kinds = kinds
        self._command = "up" if kinds == KINDS else "+".join(sorted(kinds))
        self._store = store
        self._simulator_port = simulator_port
        config = self._loaded.config
        # Under root Postgres runs as somebody else, and has its folder below.
        make_folder(config.state_dir, 0o711 if os.geteuid() == 0 else 0o700)
        make_folder(config.state_dir / "run")
        self.run_dir = run_folder(config.state_dir, kinds, KINDS)
        make_folder(self.run_dir)
        self._locks = Locks(config.state_dir)
        self._listeners: dict[str, socket.socket] = {}
        try:
            for kind in sorted(kinds):
                self._locks.take(kind, self._command)
            self._owns_database = (
                bool(kinds & NEED_DATABASE)
                and not config.database_url
                and self._locks.is_free("database", self._command)
            )
            self.config = with_hash_secret(config)
            self._listen()
        except BaseException:
            self.release()
            raise
        self.crew = Crew(commands, child_environment(os.environ), self._changed)
        self._reload = ReloadStatus()
        self._state = "starting"
        self._since_s = time.time()
        self.started = asyncio.Event()  # all of it is up, or the database's first attempt failed
        self._stop = asyncio.Event()
        self._database: DatabaseKeeper | None = None

    # -- what others ask

    @property
    def addresses(self) -> dict[str, str]:
        return {kind: shown_address(listener) for kind, listener in self._listeners.items()}

    @property
    def loaded(self) -> Loaded:
        return self._loaded

    def status(self) -> Status:
        return Status(
            version=__version__,
            pid=os.getpid(),
            kinds=sorted(self.kinds),
            state=self._state,
            since=self._since_s,
            config_file=str(self._loaded.file or ""),
            addresses=self.addresses,
            journal_dir=str(self.config.journal.dir),
            **({"database": self._database.status} if self._database else {}),
            processes=self.crew.status(),
            reload=self._reload,
        )

    # -- life

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Everything that was started has ended when it returns."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        tasks: list[asyncio.Task[None]] = []
        try:
            if "relay" in self.kinds:
                write_plan(make_plan(self.config), self.run_dir / "plan.json")
                for index in range(self._workers()):
                    self._add_relay(index)
            if self._simulator_port:
                self.crew.add("simulator", ("--port", str(self._simulator_port), "--quiet"))
            if self.kinds & NEED_DATABASE:
                (self.run_dir / "config.json").unlink(missing_ok=True)  # a former run's
                self._database = DatabaseKeeper(self.config, self._owns_database, self._changed, self._store)
                tasks.append(asyncio.create_task(self._database.keep()))
                tasks.append(asyncio.create_task(self._start_readers()))
            else:
                self._is_up()
            await self._stop.wait()
        finally:
            await self._shut_down(tasks)
            self.release()

    def stop(self) -> None:
        """The second time it hastens."""
        if self._stop.is_set():
            self.crew.hurry()
        self.crew.end()
        self._stop.set()

    def release(self) -> None:
        self._close_listeners()
        self._locks.release()

    def _listen(self) -> None:
        if "relay" in self.kinds:
            self._listeners["relay"] = listen(self.config.relay.listen, "The relay", "relay.listen")
        if "web" in self.kinds:
            self._listeners["web"] = listen(self.config.web.listen, "The page", "web.listen")

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            listener.close()

    async def _start_readers(self) -> None:
        """web once the database was tried, since it says what is wrong; record once it is migrated."""
        database = self._database
        assert database is not None
        await database.tried.wait()
        while True:
            try:
                self._bring_readers(database)
            except OSError as problem:  # no room for the file they read, say
                log.warning("record and web can't be started: %s; trying again", problem)
                await asyncio.sleep(RETRY_S)
                continue
            self._is_up()
            await (database.down if database.ready.is_set() else database.ready).wait()

    def _bring_readers(self, database: DatabaseKeeper) -> None:
        if database.url != self.config.database_url or not (self.run_dir / "config.json").exists():
            self._publish_config(database.url)
            self.crew.restart("record", "web")
        if "web" in self.kinds and database.url and not self.crew.of("web"):
            self._add_web()
        if "record" in self.kinds and database.ready.is_set() and not self.crew.of("record"):
            self._add_record()

    def _is_up(self) -> None:
        if self._state == "starting":
            self._state = "running"
        self.started.set()
        self._changed()

    async def _shut_down(self, tasks: list[asyncio.Task[None]]) -> None:
        self._state = "stopping"
        self._changed()
        log.info("stopping: streams under way may end, then the journal is drained (Ctrl-C again hastens)")
        for task in tasks:
            task.cancel()
        with contextlib.suppress(KeyError):
            self._listeners.pop("relay").close()
        grace_s = self.config.relay.limits.shutdown_grace_s + 2.0
        await self.crew.stop("relay", grace_s)
        await self.crew.stop("simulator", 5.0)
        await self.crew.stop("record", DRAIN_S)
        await self.crew.stop("web", WEB_STOP_S)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        if self._database:
            await self._database.stop()
        self._state = "stopped"
        self._changed()
        log.info("stopped")

    # -- children

    def _workers(self) -> int:
        workers = self.config.relay.workers
        return len(os.sched_getaffinity(0)) if workers == "auto" else workers

    def _add_relay(self, index: int) -> None:
        fd = self._listeners["relay"].fileno()
        plan = str(self.run_dir / "plan.json")
        self.crew.add("relay", ("--plan", plan, "--fd", str(fd), "--worker", str(index)), index, (fd,))

    def _add_record(self) -> None:
        self.crew.add("record", ("--config-file", str(self.run_dir / "config.json")))

    def _add_web(self) -> None:
        fd = self._listeners["web"].fileno()
        self.crew.add("web", ("--fd", str(fd), "--config-file", str(self.run_dir / "config.json")), 0, (fd,))

    # -- configuration

    def _publish_config(self, database_url: str) -> None:
        config = with_database_url(self.config, database_url)
        write_effective(config, self.run_dir / "config.json")
        self.config = config

    def _asked_to_reload(self) -> None:
        try:
            text = self._apply(self._load())
            ok = True
            log.info("reloaded: %s", text)
        except (SizewiseError, OSError) as refusal:
            ok, text = False, str(refusal)
            log.error("not reloaded, everything stays as it was: %s", text)
        self._reload = ReloadStatus(count=self._reload.count + 1, ok=ok, text=text, at=time.time())
        self._changed()

    def _apply(self, loaded: Loaded) -> str:
        """Raises before anything is changed; says what was done."""
        url = self.config.database_url
        given = with_hash_secret(loaded.config)
        refuse_fixed_changes(self._loaded.config, loaded.config)
        new = with_database_url(given, url)
        old, self.config, self._loaded = self.config, new, loaded
        done = []
        plan, plan_file = make_plan(new), self.run_dir / "plan.json"
        if "relay" in self.kinds and read_plan(plan_file) != plan:  # a renewed certificate counts
            write_plan(plan, plan_file)
            for child in self.crew.of("relay"):
                child.signal(signal.SIGHUP)
            done.append("relay workers read the new plan")
        if "relay" in self.kinds and self._resize():
            done.append(f"{self._workers()} relay workers now")
        stale = [kind for kind in ("record", "web") if part_of(old, kind) != part_of(new, kind)]
        if self.crew.of("record") or self.crew.of("web"):
            write_effective(new, self.run_dir / "config.json")
        for kind in stale:
            if self.crew.of(kind):
                self.crew.restart(kind)
                done.append(f"{kind} starts again")
        return ", ".join(done) or "nothing has changed"

    def _resize(self) -> bool:
        wanted = self._workers()
        have = {child.index: child for child in self.crew.of("relay")}
        for index in range(wanted):
            if index not in have:
                self._add_relay(index)
        grace_s = self.config.relay.limits.shutdown_grace_s + 2.0
        for index, child in have.items():
            if index >= wanted:
                self.crew.retire(child, grace_s)
        return set(have) != set(range(wanted))

    def _changed(self) -> None:
        status = self.status()
        try:
            write_status(status, self.run_dir / "status.json")
        except OSError as problem:  # a full disk must not end the supervisor
            log.warning("the status file can't be written: %s", problem.strerror)
