"""Kills of every process, at any moment and at the bad ones, under load: is any call lost, or there twice?

One ledger through all of it. The client is a process of its own, and its log says what must be in the ledger.
BENCH_KILLS: of each kind (20); BENCH_SEED; BENCH_QUICK=1: one of each. What is begun again and again waits
longer each time, so the product starts afresh after one kill of each kind: a round.
"""

import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness.doomed import doomed_upstream, with_doomed
from benchmarks.harness.kills import KILLS, Stage, kill_supervisor
from benchmarks.harness.load import Load
from benchmarks.harness.product import Product, simulated_upstreams, upstreams_config
from benchmarks.harness.verdict import Verdict, judge


def run() -> dict[str, Any]:
    quick = os.environ.get("BENCH_QUICK") == "1"
    seed = int(os.environ.get("BENCH_SEED", "1"))
    kills = 1 if quick else int(os.environ.get("BENCH_KILLS", "20"))
    folder = Path(tempfile.mkdtemp(prefix="sizewise-faults-"))
    folder.chmod(0o711)
    try:
        return break_things(folder, kills, seed)
    finally:
        shutil.rmtree(folder)


def break_things(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    truth, log = folder / "truth.jsonl", folder / "client.jsonl"
    status_file = folder / "state" / "run" / "status.json"
    done = dict.fromkeys([*KILLS, "supervisor"], 0)
    print(f"seed {seed}, {kills} kills of each of {len(done)} kinds, under load")
    starts: list[float] = []
    verdict = Verdict()
    with simulated_upstreams(truth) as url, doomed_upstream(status_file, seed) as doomed:
        product = Product(folder, with_doomed(upstreams_config(url), doomed))
        for number in range(kills):
            began = time.monotonic()
            with product:
                starts.append(time.monotonic() - began)
                make_round(product, log, rng, done)
                verdict = judge(product, log, truth)
                print(f"round {number + 1}: {verdict}", flush=True)
    report(done, verdict, starts)
    return {
        "kills": sum(done.values()),
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "wrong": len(verdict.wrong),
        "refused_connections": verdict.refused,
        "calls": verdict.ended,
        "interrupted": verdict.interrupted,
        "first_start_s": round(starts[0], 2),
        "later_start_s": round(max(starts[1:]), 2) if starts[1:] else None,
    }


def make_round(product: Product, log: Path, rng: random.Random, done: dict[str, int]) -> None:
    stage, names = Stage(product, log), [*KILLS]
    rng.shuffle(names)
    with Load(product.relay, log, seed=rng.random()):
        for name in names:
            KILLS[name](stage, rng)
            done[name] += 1
            time.sleep(rng.random() * 0.5)
    kill_supervisor(stage, rng)
    done["supervisor"] += 1


def report(done: dict[str, int], verdict: Verdict, starts: list[float]) -> None:
    for name, count in done.items():
        print(f"{name:30}{count:6} kills")
    print(verdict)
    for kind in ("lost", "doubled", "wrong"):
        for text in getattr(verdict, kind)[:10]:
            print(f"  {kind}: {text}")
    print(f"ready {starts[0]:.1f} s after the first start")
    if starts[1:]:
        print(f"and after later ones within {', '.join(f'{seconds:.1f}' for seconds in starts[1:])} s")
