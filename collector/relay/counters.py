"""A worker's counters in a small mapped file, read by whoever shows them; they cost a store each, no call.

Layout: 8 bytes of magic, then one little-endian u64 a name, in the order of NAMES. New names go to the end.
"""

import mmap
from pathlib import Path

from collector.relay.mapped import map_file

_MAGIC = b"swcount1"
NAMES = (
    "pid",
    "accepted",
    "clients",
    "calls",
    "under_way",
    "upstream_connections",
    "journal_lost",
    "untracked",
    "refused",
    "upstream_failures",
    "interrupted",
    "beats",
    "policy_made_at_s",  # seconds since 1970: how old the policy is that holds; 0: none was read yet
    "unauthorized",
    "capped",
    "tls_failures",  # handshakes that clients did not complete
)


class Counters:
    """Plain integers while the worker runs; `publish` stores them, once a sweep."""

    __slots__ = (*NAMES, "_map", "_view")
    pid: int
    accepted: int
    clients: int
    calls: int
    under_way: int
    upstream_connections: int
    journal_lost: int
    untracked: int
    refused: int
    upstream_failures: int
    interrupted: int
    beats: int
    policy_made_at_s: int
    unauthorized: int
    capped: int
    tls_failures: int

    def __init__(self, path: Path) -> None:
        size = len(_MAGIC) + 8 * len(NAMES)
        self._map = map_file(path, size) or mmap.mmap(-1, size)  # a full disk: nobody sees them, calls go on
        self._map[: len(_MAGIC)] = _MAGIC
        self._view = memoryview(self._map)[len(_MAGIC) :].cast("Q")
        for name in NAMES:
            setattr(self, name, 0)

    def publish(self) -> None:
        view = self._view
        for index, name in enumerate(NAMES):
            view[index] = getattr(self, name)


def read_counters(path: Path) -> dict[str, int]:
    """What a worker last published; {} when there is nothing to read."""
    try:
        raw = path.read_bytes()
    except OSError:
        return {}
    if not raw.startswith(_MAGIC):
        return {}
    values = memoryview(raw)[len(_MAGIC) : len(raw) - len(raw) % 8].cast("Q")
    return dict(zip(NAMES, values, strict=False))
