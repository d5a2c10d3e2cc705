"""The relay workers, looked at once a second: what each holds, and how its memory grows while it lives."""

import statistics
from collections import defaultdict
from pathlib import Path

from benchmarks.harness.product import Product
from benchmarks.proxies.clock import memory_mb
from collector.relay.counters import read_counters

WARM_UP = 0.2  # of a worker's life: its caches and buffers fill
FEWEST = 20  # samples of a life worth judging


class Samples:
    def __init__(self, product: Product) -> None:
        self._product = product
        self.memory_mb: defaultdict[int, list[float]] = defaultdict(list)  # by process id

    def take(self) -> None:
        for process in self._product.status()["processes"]:
            if process["kind"] == "relay" and process["pid"]:
                try:
                    self.memory_mb[process["pid"]].append(memory_mb(process["pid"]))
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it was just killed

    def growth_mb(self) -> float | None:
        """The most that a worker's memory grew after its first fifth, as a difference of medians."""
        lives = [life for life in self.memory_mb.values() if len(life) >= FEWEST]
        return max(map(_growth, lives), default=None)

    def largest_mb(self) -> float:
        return max(max(life) for life in self.memory_mb.values())

    def held(self) -> dict[str, int]:
        """What the workers hold now, by their own counters."""
        journals = Path(self._product.status()["journal_dir"])
        counters = [read_counters(file) for file in sorted(journals.glob("w*/counters"))]
        names = ("clients", "under_way", "upstream_connections")
        return {name: sum(one.get(name, 0) for one in counters) for name in names}


def _growth(life: list[float]) -> float:
    part = max(len(life) // 5, 1)
    warm = life[int(len(life) * WARM_UP) :]
    return statistics.median(warm[-part:]) - statistics.median(warm[:part])
