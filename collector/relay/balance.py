"""Whose turn it is to accept: the workers' loads, side by side in one small mapped file.

All workers wait on one listening socket (with a socket each, a dying worker would take the connections
queued for it with it), and the kernel wakes them all: who is quickest would get most. So each tells here
what it holds, and one that holds more than another leaves a connection to that one for a moment.

A worker writes its own slot only; a slot counts while its beat is fresh. A load is the connections held
plus those taken lately, which halve every HALF_LIFE_S: short connections are shared out too.
"""

import mmap
from pathlib import Path

SLOTS = 256
HALF_LIFE_S = 2.0
STALE_S = 1.0
_FIELDS = 4
_BEAT, _HELD, _RECENT, _AT = range(_FIELDS)  # when it last showed life; ...; when it last took one


class Balance:
    def __init__(self, path: Path, number: int) -> None:
        size = SLOTS * _FIELDS * 8
        path.touch(mode=0o600)
        with path.open("r+b") as file:
            file.truncate(size)
            self._view = memoryview(mmap.mmap(file.fileno(), size)).cast("d")
        self._mine = number % SLOTS * _FIELDS
        self._siblings: list[int] = []
        self._passed_over: dict[int, float] = {}  # who let us wait in vain, and until when it isn't asked
        self._view[self._mine : self._mine + _FIELDS] = memoryview(bytes(_FIELDS * 8)).cast("d")

    @property
    def alone(self) -> bool:
        return not self._siblings

    def beat(self, now: float, held: int) -> None:
        """Show life, and see who else does."""
        view, mine = self._view, self._mine
        view[mine + _HELD], view[mine + _BEAT] = held, now
        self._siblings = [
            slot
            for slot in range(0, SLOTS * _FIELDS, _FIELDS)
            if slot != mine and now - view[slot + _BEAT] < STALE_S
        ]

    def rest(self) -> None:
        """No connection is taken for now: nobody shall wait for us."""
        self._view[self._mine + _BEAT] = 0.0

    def note_taken(self, now: float, held: int) -> None:
        view, mine = self._view, self._mine
        view[mine + _RECENT] = self._recent(mine, now) + 1.0
        view[mine + _AT], view[mine + _HELD] = now, held

    def note_left(self, held: int) -> None:
        self._view[self._mine + _HELD] = held

    def load(self, now: float, held: int) -> float:
        self._view[self._mine + _HELD] = held
        return held + self._recent(self._mine, now)

    def least_other(self, now: float) -> tuple[float, float]:
        """The least load among the siblings, and when that one last took a connection."""
        view = self._view
        least, taken_at = float("inf"), 0.0
        for slot in self._siblings:
            if self._passed_over.get(slot, 0.0) > now or now - view[slot + _BEAT] > STALE_S:
                continue
            load = view[slot + _HELD] + self._recent(slot, now)
            if load < least:
                least, taken_at = load, view[slot + _AT]
        return least, taken_at

    def pass_over(self, now: float, load: float, seconds: float) -> None:
        """Don't wait for those with less than `load`: they had their time."""
        for slot in self._siblings:
            if self._view[slot + _HELD] + self._recent(slot, now) < load:
                self._passed_over[slot] = now + seconds

    def _recent(self, slot: int, now: float) -> float:
        recent, at = self._view[slot + _RECENT], self._view[slot + _AT]
        return float(recent * 0.5 ** (max(now - at, 0.0) / HALF_LIFE_S)) if recent else 0.0
