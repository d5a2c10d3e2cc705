"""Who runs where: the load and the mock on the first core, every proxy on the second, so that none of them
is measured against its own load. With a single core nothing is pinned."""

import os

CORES = sorted(os.sched_getaffinity(0))


def on_load_core() -> list[str]:
    return _pin(CORES[:1])


def on_proxy_core() -> list[str]:
    return _pin(CORES[1:2])


def on_proxy_cores(workers: int) -> list[str]:
    """A core for each worker where there are enough; else they share all of them, also the load's."""
    return _pin(CORES[1 : 1 + workers] if len(CORES) > workers else CORES)


def _pin(cores: list[int]) -> list[str]:
    return ["taskset", "-c", ",".join(map(str, cores))] if len(CORES) > 1 else []
