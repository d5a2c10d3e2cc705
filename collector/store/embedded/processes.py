"""Postgres' processes: the postmaster we start and watch, and those that a former one may have left.

The kernel ends the postmaster when the THREAD that started it ends (PR_SET_PDEATHSIG). So one thread starts
it, waits for it, reaps it, and ends only with it or with our whole process: killed or not, it goes with us.

Others are known by the tag in their title and by their owner. A number in postmaster.pid proves nothing: it
may be a zombie's, or by now another program's.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

from collector.store.embedded import launch
from collector.store.embedded.accounts import Account
from collector.store.embedded.places import Home

# Fast shutdown, which writes a checkpoint; then immediate, which means a recovery at the next start.
STOP_STEPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


def clean_environment() -> dict[str, str]:
    """Without PG* settings meant for others, and without our secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C"}


class Postmaster:
    """One run of the server."""

    def __init__(self, command: list[str], account: Account, output: BinaryIO) -> None:
        self._gone = threading.Event()
        self._started = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._error: BaseException | None = None
        self.exit_code: int | None = None
        steps = [str(os.getpid()), str(account.uid), str(account.gid), *command]
        full = [sys.executable, "-I", "-S", launch.__file__, *steps]
        threading.Thread(target=self._watch, args=(full, output), daemon=True, name="postgres").start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    def _watch(self, command: list[str], output: BinaryIO) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=clean_environment(),
                start_new_session=True,  # Ctrl-C is for us: we stop the database last
            )
        except BaseException as error:  # handed over to the thread that waits for us
            self._error = error
            self._gone.set()
            return
        finally:
            self._started.set()
        self.exit_code = self._process.wait()
        self._gone.set()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return not self._gone.is_set()

    def wait(self, timeout_s: float) -> bool:
        return self._gone.wait(timeout_s)

    def stop(self) -> None:
        for number, patience_s in STOP_STEPS:
            if not self.is_running():
                return
            assert self._process is not None
            self._process.send_signal(number)  # safe: the process is reaped only through this object
            self.wait(patience_s)


def leftover_pids(home: Home) -> tuple[list[int], list[int]]:
    """Postmasters of this home, and their children, that are alive (a zombie has no command line)."""
    postmasters, children = [], []
    argument, title = f"cluster_name={home.tag}".encode(), f"postgres: {home.tag}:".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != home.account.uid or (entry / "comm").read_bytes() != b"postgres\n":
                continue
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if argument in words.split(b"\0"):
            postmasters.append(int(entry.name))
        elif words.startswith(title):
            children.append(int(entry.name))
    return postmasters, children


def clear_leftovers(home: Home) -> list[int]:
    """End whatever a former run left, so that there are never two; returns what was found.

    A postmaster takes its children along. Children without one see it by themselves, at the latest when
    their statement ends; we do not wait for that statement.
    """
    found: list[int] = []
    for number, patience_s in STOP_STEPS:
        deadline = time.monotonic() + patience_s
        sent: set[int] = set()
        while time.monotonic() < deadline:
            postmasters, children = leftover_pids(home)
            if not postmasters and not children:
                return found
            found = found or postmasters or children
            for pid in set(postmasters or children) - sent:
                _send(pid, number if postmasters or number == signal.SIGKILL else signal.SIGQUIT)
                sent.add(pid)
            time.sleep(0.02)
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
