"""The child processes together: started, replaced when they die, restarted on purpose, stopped."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Mapping

from collector.supervise.process import Child
from collector.supervise.restart import BackoffRestart, RelayRestart
from collector.supervise.status import ProcessStatus

log = logging.getLogger("sizewise.supervise")
RESTART_GRACE_S = 30.0


class Crew:
    def __init__(
        self,
        commands: Mapping[str, tuple[str, ...]],
        environ: Mapping[str, str],
        changed: Callable[[], None],
    ) -> None:
        self.children: list[Child] = []
        self._commands = commands
        self._environ = environ
        self._changed = changed
        self._ending = False
        self._hurry = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    def add(self, kind: str, arguments: tuple[str, ...], index: int = 0, fds: tuple[int, ...] = ()) -> None:
        child = Child(
            kind,
            index,
            [*self._commands[kind], *arguments],
            restart=RelayRestart() if kind == "relay" else BackoffRestart(),
            environ=self._environ,
            died=self._died,
            fds=fds,
        )
        self.children.append(child)
        self._start(child)

    def of(self, kind: str) -> list[Child]:
        return [child for child in self.children if child.kind == kind and not child.retiring]

    def end(self) -> None:
        """From now on nothing is started any more."""
        self._ending = True

    def hurry(self) -> None:
        self._hurry.set()

    async def stop(self, kind: str, grace_s: float) -> None:
        chosen = [child for child in self.children if child.kind == kind]
        await asyncio.gather(*(child.stop(grace_s, self._hurry) for child in chosen))
        self._changed()

    def retire(self, child: Child, grace_s: float) -> None:
        if child.pid is None:
            child.retiring = True
            self.children.remove(child)
            return
        task = asyncio.get_running_loop().create_task(child.stop(grace_s, self._hurry))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def restart(self, *kinds: str) -> None:
        """Asked for, so without backoff and without alarm."""
        for child in self.children:
            if child.kind in kinds and child.pid:
                child.planned = True
                child.signal(signal.SIGTERM)
                asyncio.get_running_loop().call_later(RESTART_GRACE_S, _kill_if_same, child, child.pid)

    def status(self) -> list[ProcessStatus]:
        return [
            ProcessStatus(
                kind=child.kind,
                index=child.index,
                pid=child.pid,
                state=child.state,
                since=child.since_s,
                restarts=child.restarts,
                last_exit=child.last_exit,
            )
            for child in self.children
        ]

    def _start(self, child: Child) -> None:
        if child.retiring or self._ending:
            return
        try:
            child.start()
        except OSError as problem:
            child.last_exit, child.lived_s = f"could not be started: {problem.strerror}", 0.0
            self._replace(child)
        else:
            log.info("%s started, pid %s", child.name, child.pid)
        self._changed()

    def _died(self, child: Child) -> None:
        if child.retiring or self._ending:
            log.info("%s ended (%s)", child.name, child.last_exit)
            if not self._ending:
                self.children.remove(child)
        elif child.planned:
            child.planned = False
            self._start(child)
        else:
            child.restarts += 1
            self._replace(child)
        self._changed()

    def _replace(self, child: Child) -> None:
        delay_s = child.restart.delay_s(child.lived_s, time.monotonic())
        when = "at once" if delay_s == 0 else f"in {delay_s:.1f} s"
        log.warning("%s died (%s), replaced %s", child.name, child.last_exit, when)
        child.move("waiting")
        if delay_s == 0:
            self._start(child)
        else:
            asyncio.get_running_loop().call_later(delay_s, self._start, child)


def _kill_if_same(child: Child, pid: int) -> None:
    if child.pid == pid:
        child.signal(signal.SIGKILL)
