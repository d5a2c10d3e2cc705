"""The journals of one host, each with how far the ledger has it. Enters: the folder. Leaves: `Lane`s.

One process records a host's journals (a lock in their folder): two would only stop each other, since the
ledger lets one of them move a cursor.
"""

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from collector.errors import JournalError
from collector.journal import JournalReader, Position, list_journals

LOOK_EVERY_S = 1.0


class Lane(msgspec.Struct):
    """One journal on its way into the ledger."""

    reader: JournalReader
    name: str
    position: Position | None = None
    opened: bool = False  # whether `position` is what the ledger says


class Journals:
    def __init__(self, directory: Path, make_reader: Callable[[Path], JournalReader] = JournalReader) -> None:
        self._directory, self._make_reader = directory, make_reader
        self._lanes: dict[Path, Lane] = {}
        self._looked_at = float("-inf")

    def lanes(self) -> list[Lane]:
        """All journals; new ones are found within a second."""
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            with suppress(OSError):
                for path in set(list_journals(self._directory)) - self._lanes.keys():
                    with suppress(JournalError):  # the relay is just making it
                        self._lanes[path] = Lane(self._make_reader(path), path.name)
        return list(self._lanes.values())

    def forget_positions(self) -> None:
        """After trouble with the database nobody knows what was committed: it must be asked."""
        for lane in self._lanes.values():
            lane.opened = False

    def drop(self, lane: Lane) -> None:
        """It was replaced or deleted; what stands there now is found as new."""
        self._lanes = {path: other for path, other in self._lanes.items() if other is not lane}

    def lag_bytes(self) -> int:
        """What waits. A journal whose position isn't known waits wholly."""
        lag = 0
        for lane in self._lanes.values():
            with suppress(OSError):
                lag += lane.reader.lag_bytes(lane.position)
        return lag


def lock_journals(directory: Path, *, patience_s: float = 10.0) -> int:
    """Holds the folder for this process; a predecessor that is still stopping is waited for."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "record.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise JournalError(
                f"{path} is held by process {holder}: another record works on {directory}. "
                "Stop it, or give this one a journal.dir of its own."
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock
