"""What the relay costs, beside nginx as a plain reverse proxy and, where it is installed, LiteLLM.

Our workers run as `sizewise relay` starts them, with accounts, journal and counters. All proxies share one
core, the mock upstream and the load another; rounds alternate, and the figures are medians. Ratios are what
to quote: absolute figures differ from machine to machine, and one short run wanders by a tenth.

BENCH_QUICK=1: under a minute. BENCH_ROUNDS (5), BENCH_SECONDS (3) of each load, BENCH_SEED.
BENCH_LITELLM: path of a litellm command, in an environment of its own; without it its figures are null.
"""

import os
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.proxies.clock import memory_mb
from benchmarks.proxies.loads import Load, LoadFailed, Row, at_rate, flat_out, measure
from benchmarks.proxies.spread import measure_spread
from benchmarks.proxies.start import (
    Proxy,
    compile_program,
    find_missing,
    start_litellm,
    start_mock,
    start_nginx,
    start_ours,
)

STEADY_PER_S, SPARSE_PER_S, HALF_LOAD_PER_S = 200.0, 20.0, 8000.0
FAST = ("nginx", "ours")
PEER_PHASES, PEER_SECONDS = ("call", "stream"), 5.0  # a slow peer is asked for less, and longer
COLUMNS = (("per_s", 10, 0), ("p50_ms", 9, 3), ("p99_ms", 9, 3), ("ttft50_ms", 9, 3))  # width, places
Rows = dict[tuple[str, str], list[Row]]


def run() -> dict[str, Any]:
    missing = find_missing()
    if missing:
        sys.exit(f"This comparison needs {', '.join(missing)}: install what is missing and try again.")
    quick = os.environ.get("BENCH_QUICK") == "1"
    rounds = int(os.environ.get("BENCH_ROUNDS", "2" if quick else "5"))
    seconds = float(os.environ.get("BENCH_SECONDS", "1" if quick else "3"))
    folder = make_folder()
    try:
        with start_mock(folder) as mock:
            rows, memory = compare(folder, mock, rounds, seconds)
            report(rows, memory, rounds)
            workers = measure_spread(folder, mock, seconds)
    finally:
        shutil.rmtree(folder)
    return make_figures(rows, memory) | {"workers": workers}


def make_folder() -> Path:
    """On a disk: a journal in memory would be no journal."""
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]

    def is_memory(place: Path) -> bool:
        around = [mount for mount in mounts if place.is_relative_to(mount[0])]
        return max(around, key=lambda mount: len(mount[0]))[1] in ("tmpfs", "ramfs")

    place = next((place for place in places if not is_memory(place.resolve())), places[0])
    return Path(tempfile.mkdtemp(prefix="sizewise-bench-", dir=place))


def compare(folder: Path, mock: int, rounds: int, seconds: float) -> tuple[Rows, dict[str, float]]:
    with ExitStack() as stack:
        proxies = [
            stack.enter_context(start_nginx(folder, mock)),
            stack.enter_context(start_ours(folder, mock)),
        ]
        if peer := os.environ.get("BENCH_LITELLM"):
            proxies.append(stack.enter_context(start_litellm(folder, mock, peer)))
        phases = make_phases(folder, proxies)
        rows: Rows = {}
        for turn in range(rounds):
            for phase, load in phases.items():
                for proxy in proxies if turn % 2 == 0 else proxies[::-1]:
                    if proxy.name in FAST:
                        rows.setdefault((proxy.name, phase), []).extend(try_load(proxy, load, seconds))
                    elif phase in PEER_PHASES:
                        found = try_load(proxy, load, max(seconds, PEER_SECONDS))
                        rows.setdefault((proxy.name, phase), []).extend(found)
        return rows, {proxy.name: sum(map(memory_mb, proxy.pids)) for proxy in proxies}


def try_load(proxy: Proxy, load: Load, seconds: float) -> list[Row]:
    """A peer that fails under load gives no figure; if nginx or we do, nothing is worth comparing."""
    try:
        return [measure(proxy, load, seconds)]
    except LoadFailed as problem:
        if proxy.name in FAST:
            raise
        print(problem, file=sys.stderr)
        return []


def make_phases(folder: Path, proxies: list[Proxy]) -> dict[str, Load]:
    call, long = flat_out("call.lua", 32), flat_out("long.lua", 8)
    for proxy in proxies:  # warm them up
        try_load(proxy, call, 1 if proxy.name in FAST else PEER_SECONDS)
    half = min(measure(proxies[1], call, 1).per_s / 2, HALF_LOAD_PER_S)
    for proxy in proxies[:2]:
        measure(proxy, long, 1)
    client, seed = compile_program("rate_client", folder), int(os.environ.get("BENCH_SEED", "1"))
    return {
        "call": call,
        "stream": flat_out("stream.lua", 64),
        "hidden": flat_out("stream.lua", 64, asks_usage=False),
        "sparse": at_rate(client, SPARSE_PER_S, seed, stream=True),
        "steady": at_rate(client, STEADY_PER_S, seed, stream=False),
        "half load": at_rate(client, half, seed, stream=False),
        "long prompt": long,
    }


def median(rows: Rows, name: str, phase: str, field: str) -> float | None:
    values = [getattr(row, field) for row in rows.get((name, phase), ())]
    return statistics.median(values) if values else None


def report(rows: Rows, memory: dict[str, float], rounds: int) -> None:
    print(f"medians of {rounds} rounds, CPU in us a call (or a stream of 64 events)")
    print(f"{'':9}{'':13}{'cpu_us':>10}{'per_s':>10}{'p50_ms':>9}{'p99_ms':>9}{'ttft_ms':>9}{'x nginx':>9}")
    for name, phase in rows:
        cpu, base = median(rows, name, phase, "cpu_us"), median(rows, "nginx", phase, "cpu_us")
        if cpu is None or not base:
            continue
        shown = ""
        for field, width, places in COLUMNS:
            cell = median(rows, name, phase, field)
            shown += f"{cell:{width}.{places}f}" if cell else " " * width
        print(f"{name:9}{phase:13}{cpu:10.1f}{shown}{cpu / base:9.2f}")
    print("memory, MB:", ", ".join(f"{name} {size:.0f}" for name, size in memory.items()), flush=True)


def make_figures(rows: Rows, memory: dict[str, float]) -> dict[str, float | None]:
    def ratio(name: str, base: str, phase: str) -> float | None:
        mine, other = median(rows, name, phase, "cpu_us"), median(rows, base, phase, "cpu_us")
        return round(mine / other, 3) if mine and other else None

    def added(phase: str, field: str) -> float:
        mine, other = median(rows, "ours", phase, field), median(rows, "nginx", phase, field)
        assert mine is not None
        assert other is not None
        return round(mine - other, 3)

    return {
        "cpu_call_vs_nginx": ratio("ours", "nginx", "call"),
        "cpu_stream_vs_nginx": ratio("ours", "nginx", "stream"),
        "cpu_sparse_stream_vs_nginx": ratio("ours", "nginx", "sparse"),
        "cpu_hidden_stream_vs_nginx": ratio("ours", "nginx", "hidden"),
        "cpu_long_prompt_vs_nginx": ratio("ours", "nginx", "long prompt"),
        "added_p50_ms": added("steady", "p50_ms"),
        "added_ttft_ms": added("sparse", "ttft50_ms"),
        "added_p99_ms": added("half load", "p99_ms"),
        "rss_mb": round(memory["ours"], 1),
        "litellm_call_vs_ours": ratio("litellm", "ours", "call"),
        "litellm_stream_vs_ours": ratio("litellm", "ours", "stream"),
    }
