"""The client process under somebody's hand: started, stopped when its last calls have ended."""

import subprocess
import sys
from pathlib import Path

from benchmarks.harness.product import wait_until

PATIENCE_S = 60.0


class Load:
    """`with Load(relay, log, seed=1): ...` makes calls all the while."""

    def __init__(
        self, relay: str, log: Path, *, seed: float | str, clients: int = 6, options: tuple[str, ...] = ()
    ) -> None:
        self.log = log
        words = ["--relay", relay, "--log", str(log), "--seed", str(seed), "--clients", str(clients)]
        self._line = [sys.executable, "-m", "benchmarks.harness.client", *words, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Load":
        """Returns once it makes calls."""
        before = self._size()
        self._process = subprocess.Popen(self._line)
        wait_until("the client makes calls", lambda: self._size() > before)
        return self

    def _size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        if process.wait(PATIENCE_S):
            raise RuntimeError(f"the client ended with {process.returncode}")

    def wait(self) -> None:
        """For one that makes so many calls and ends."""
        assert self._process is not None
        if self._process.wait(PATIENCE_S):
            raise RuntimeError(f"the client ended with {self._process.returncode}")

    def __enter__(self) -> "Load":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
