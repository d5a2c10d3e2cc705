"""How evenly the workers share connections, calls and CPU: for 1, 2 and 4 of them, a dict each."""

import time
from pathlib import Path
from typing import Any

from benchmarks.proxies.clock import cpu_seconds, wait_until_idle
from benchmarks.proxies.cores import on_proxy_cores
from benchmarks.proxies.loads import flat_out
from benchmarks.proxies.start import Proxy, start_ours
from collector.relay.counters import read_counters

WORKERS = (1, 2, 4)
CONNECTIONS = 64
PUBLISHED_S = 0.6  # counters are published a few times a second


def measure_spread(folder: Path, mock: int, seconds: float) -> dict[str, Any]:
    print(f"workers, {CONNECTIONS} connections flat out: connections, calls and CPU us a call of each")
    found = {}
    for count in WORKERS:
        with start_ours(folder, mock, count, on_proxy_cores(count)) as proxy:
            found[str(count)] = one = measure_workers(proxy, seconds)
        print(
            f"{count:3}  connections {one['connections']}  calls {one['calls']}  CPU {one['cpu_us']}",
            flush=True,
        )
    return found


def measure_workers(proxy: Proxy, seconds: float) -> dict[str, Any]:
    load = flat_out("call.lua", CONNECTIONS)
    load(proxy, 1)
    wait_until_idle(proxy.pids)
    before = _look(proxy)
    row = load(proxy, seconds)
    now = _look(proxy)
    accepted, calls, cpu_s = (
        [b - a for a, b in zip(old, new, strict=True)] for old, new in zip(before, now, strict=True)
    )
    return {
        "connections": [round(count) for count in accepted],
        "calls": [round(count) for count in calls],
        "cpu_us": [
            round(used / count * 1e6, 1) if count else None for used, count in zip(cpu_s, calls, strict=True)
        ],
        "most_vs_mean": round(max(calls) * len(calls) / max(sum(calls), 1), 2),
        "calls_per_s": round(row.per_s),
    }


def _look(proxy: Proxy) -> tuple[list[float], list[float], list[float]]:
    time.sleep(PUBLISHED_S)
    counters = [read_counters(journal / "counters") for journal in proxy.journals]
    return (
        [float(one["accepted"]) for one in counters],
        [float(one["calls"]) for one in counters],
        [cpu_seconds([pid]) for pid in proxy.pids],
    )
