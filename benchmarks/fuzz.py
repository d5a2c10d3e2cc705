"""A million random inputs: does anything crash, hang, or carry a byte of one call into another?

A fifth of them are dialogues over the relay's exchange state machine, the others go to all that parses bytes
from outside. Each follows from its seed; `python -m benchmarks.fuzz SEED` plays one again.
BENCH_INPUTS (1,200,000; BENCH_QUICK=1: 60,000), BENCH_SEED. BENCH_ATHERIS=1 lets atheris search, too, where
it is installed.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.fuzzing import exchanges, parsers
from benchmarks.fuzzing.stage import make_worker

DIALOGUES = 0.2  # of all inputs
PATIENCE_S = 20  # for one input
SHOWN = 10
_KINDS = ("dialogue", "parser")


@dataclass
class Found:
    inputs: int = 0
    calls: int = 0
    broken: list[str] = field(default_factory=list)  # with their seeds

    def add(self, other: "Found") -> None:
        self.inputs += other.inputs
        self.calls += other.calls
        self.broken += other.broken


def run() -> dict[str, Any]:
    quick = os.environ.get("BENCH_QUICK") == "1"
    inputs = int(os.environ.get("BENCH_INPUTS", "60000" if quick else "1200000"))
    seed, cores = os.environ.get("BENCH_SEED", "1"), len(os.sched_getaffinity(0))
    began = time.monotonic()
    totals = {kind: Found() for kind in _KINDS}
    shares = {"dialogue": int(inputs * DIALOGUES), "parser": inputs - int(inputs * DIALOGUES)}
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        for kind, share in shares.items():
            size = -(-share // (cores * 10))
            parts = [range(at, min(at + size, share)) for at in range(0, share, size)]
            for found in pool.map(play_part, [kind] * len(parts), [seed] * len(parts), parts):
                totals[kind].add(found)
            print(f"{kind}: {totals[kind].inputs} inputs, {len(totals[kind].broken)} findings", flush=True)
    broken = [text for found in totals.values() for text in found.broken]
    for text in broken[:SHOWN]:
        print(text)
    figures: dict[str, Any] = {"inputs": sum(found.inputs for found in totals.values())}
    figures |= {"calls": totals["dialogue"].calls, "findings": len(broken), "seed": seed}
    figures["seconds"] = round(time.monotonic() - began)
    figures["atheris_runs"] = search_with_atheris(inputs // 50)
    return figures


def play_part(kind: str, seed: str, numbers: range) -> Found:
    with player(kind) as play:
        found = Found()
        for number in numbers:
            try:
                found.calls += try_one(play, f"{kind} {seed} {number}")
            except Exception as problem:
                found.broken.append(describe(f"{kind} {seed} {number}", problem))
            found.inputs += 1
        return found


@contextmanager
def player(kind: str) -> Iterator[Callable[[str], int]]:
    """Plays one input by its seed. The relay's worker is made once, within an event loop as it wants it."""
    signal.signal(signal.SIGALRM, give_up)
    if kind == "parser":
        yield parsers.feed
        return
    folder = Path(tempfile.mkdtemp(prefix="sizewise-fuzz-"))

    async def make() -> Any:
        return make_worker(folder)

    try:
        worker = asyncio.run(make())
        yield lambda seed: exchanges.play(worker, seed)
    finally:
        shutil.rmtree(folder)


def try_one(play: Callable[[str], int], seed: str) -> int:
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        return play(seed)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def give_up(number: int, frame: object) -> None:
    raise TimeoutError(f"not done after {PATIENCE_S} s")


def describe(seed: str, problem: Exception) -> str:
    last = traceback.extract_tb(problem.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return f"seed {seed!r}: {type(problem).__name__} at {where}: {str(problem)[:600]}"


def search_with_atheris(runs: int) -> int | None:
    """None: it isn't asked for, or not there."""
    if os.environ.get("BENCH_ATHERIS") != "1" or importlib.util.find_spec("atheris") is None:
        return None
    subprocess.run([sys.executable, "-m", "benchmarks.fuzzing.guided", str(runs)], check=True)
    return runs


if __name__ == "__main__":
    again = " ".join(sys.argv[1:])
    with player(again.split()[0]) as play:
        print(try_one(play, again), "calls, nothing broken")
