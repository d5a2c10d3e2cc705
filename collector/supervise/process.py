"""One child process: started with its file descriptors, watched through a pidfd, told what to do by signals.

Its death is noticed by the event loop itself (a pidfd becomes readable), so that a replacement starts within
milliseconds. Nothing secret is in its arguments or its environment: those are for everybody on the machine.
"""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from collector.children import PARENT_VARIABLE
from collector.supervise.restart import Restart


class Child:
    def __init__(
        self,
        kind: str,
        index: int,
        argv: Sequence[str],
        *,
        restart: Restart,
        environ: Mapping[str, str],
        died: Callable[["Child"], None],
        fds: tuple[int, ...] = (),
    ) -> None:
        self.kind = kind
        self.index = index
        self.argv = list(argv)
        self.restart = restart
        self.fds = fds
        self.state = "stopped"  # running, waiting (to be started again), stopping, stopped
        self.since_s = time.time()
        self.restarts = 0
        self.last_exit = ""
        self.lived_s = 0.0
        self.planned = False  # a restart that was asked for: no backoff, no alarm
        self.retiring = False  # not to be started again
        self._environ = environ
        self._died = died
        self._popen: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._gone = asyncio.Event()
        self._gone.set()

    @property
    def name(self) -> str:
        return f"relay worker {self.index}" if self.kind == "relay" else self.kind

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    def start(self) -> None:
        """Raises OSError when the system can't. Own process group: Ctrl-C is the supervisor's to handle."""
        popen = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if self.kind == "simulator" else None,  # it prints its port
            pass_fds=self.fds,
            env={**self._environ, PARENT_VARIABLE: str(os.getpid())},
            process_group=0,
        )
        self._popen = popen
        self._started_s = time.monotonic()
        self._gone.clear()
        self.move("running")
        self._watch(popen)

    def move(self, state: str) -> None:
        self.state = state
        self.since_s = time.time()

    def signal(self, number: int) -> None:
        if self._popen and self._popen.returncode is None:
            self._popen.send_signal(number)

    async def wait(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._gone.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def stop(self, grace_s: float, hurry: asyncio.Event | None = None) -> None:
        """SIGTERM, then SIGKILL after the grace, or soon after `hurry` is set."""
        self.retiring = True
        if self._gone.is_set():
            self.move("stopped")
            return
        self.move("stopping")
        self.signal(signal.SIGTERM)
        ended = asyncio.ensure_future(self.wait(grace_s))
        hastened = asyncio.ensure_future((hurry or asyncio.Event()).wait())
        await asyncio.wait({ended, hastened}, return_when=asyncio.FIRST_COMPLETED)
        hastened.cancel()
        if not ended.done():
            await asyncio.wait({ended}, timeout=1.0)
        ended.cancel()
        if not self._gone.is_set():
            self.signal(signal.SIGKILL)
            await self.wait(5.0)

    def _watch(self, popen: "subprocess.Popen[bytes]") -> None:
        loop = asyncio.get_running_loop()
        try:
            pidfd = os.pidfd_open(popen.pid)
        except OSError:  # an old kernel, or one that forbids it
            threading.Thread(target=self._wait_in_thread, args=(popen, loop), daemon=True).start()
        else:
            loop.add_reader(pidfd, self._readable, popen, pidfd)

    def _wait_in_thread(self, popen: "subprocess.Popen[bytes]", loop: asyncio.AbstractEventLoop) -> None:
        popen.wait()
        loop.call_soon_threadsafe(self._ended, popen)

    def _readable(self, popen: "subprocess.Popen[bytes]", pidfd: int) -> None:
        if popen.poll() is None:
            return
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self._ended(popen)

    def _ended(self, popen: "subprocess.Popen[bytes]") -> None:
        self.lived_s = time.monotonic() - self._started_s
        self.last_exit = describe_exit(popen.returncode)
        self._popen = None
        self.move("stopped")
        self._gone.set()
        self._died(self)


def describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
