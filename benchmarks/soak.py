"""Half an hour of ordinary misfortune: 200 streams, clients that leave, upstreams that break, workers killed,
configurations reloaded. Does memory stay flat, is every connection given back, and does the ledger count what
the clients counted?

The first worker is never killed, so that one life is as long as the soak. BENCH_MINUTES (30), BENCH_SEED;
BENCH_QUICK=1: less than a minute.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness.load import Load
from benchmarks.harness.product import Product, simulated_upstreams, upstreams_config
from benchmarks.harness.verdict import Verdict, judge
from benchmarks.soaking.samples import Samples

WORKERS = 3
KEEPALIVE_S = 5.0
SETTLE_S = 3 * KEEPALIVE_S


def run() -> dict[str, Any]:
    quick = os.environ.get("BENCH_QUICK") == "1"
    minutes = 0.5 if quick else float(os.environ.get("BENCH_MINUTES", "30"))
    seed, streams = os.environ.get("BENCH_SEED", "1"), 40 if quick else 200
    folder = Path(tempfile.mkdtemp(prefix="sizewise-soak-"))
    folder.chmod(0o711)
    try:
        with simulated_upstreams(folder / "truth.jsonl") as url:
            limits = {"keepalive_timeout_s": KEEPALIVE_S}
            config = {**upstreams_config(url), "relay": {"workers": WORKERS, "limits": limits}}
            with Product(folder, config) as product:
                return soak(product, folder, minutes, streams, seed)
    finally:
        shutil.rmtree(folder)


def soak(product: Product, folder: Path, minutes: float, streams: int, seed: str) -> dict[str, Any]:
    samples, troubles = Samples(product), Troubles(product, random.Random(seed))
    log = folder / "client.jsonl"
    print(f"seed {seed}: {streams} streams for {minutes:g} minutes over {WORKERS} workers", flush=True)
    with RudeLoad(product.relay, log, seed=seed, clients=streams):
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            samples.take()
            troubles.make(minutes * 60)
            time.sleep(1)
    held = wait_until_given_back(samples)
    verdict = judge(product, log, folder / "truth.jsonl")
    report(verdict, held, troubles, samples)
    growth = samples.growth_mb()
    return {
        "minutes": minutes,
        "calls": verdict.begun,
        "seen_to_end": verdict.ended,
        "ledger_rows": verdict.rows,
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "wrong": len(verdict.wrong),
        "refused_connections": verdict.refused,
        "leaked_connections": held["clients"] + held["upstream_connections"],
        "leaked_calls": held["under_way"],
        "rss_growth_mb": None if growth is None else round(growth, 2),
        "rss_largest_mb": round(samples.largest_mb(), 1),
        "worker_lives": len(samples.memory_mb),
        "kills": troubles.kills,
        "reloads": troubles.reloads,
    }


class RudeLoad(Load):
    """Clients that leave, and ask for upstreams that break."""

    def __init__(self, relay: str, log: Path, *, seed: str, clients: int) -> None:
        super().__init__(relay, log, seed=seed, clients=clients)
        self._line[:3] = [sys.executable, "-m", "benchmarks.soaking.client"]


class Troubles:
    """Kills a worker or reloads the configuration, now and then."""

    def __init__(self, product: Product, rng: random.Random) -> None:
        self._product, self._rng = product, rng
        self.kills = self.reloads = 0

    def make(self, whole_s: float) -> None:
        """Called once a second; some 60 of each in a soak, but not more often than every eight seconds."""
        chance = min(60 / whole_s, 1 / 8)
        if self._rng.random() < chance:
            self._product.kill("relay", self._rng.randrange(1, WORKERS))
            self.kills += 1
        if self._rng.random() < chance:
            self.reloads += 1
            self._product.config["relay"]["limits"]["idle_timeout_s"] = 600.0 + self.reloads
            self._product.write_config()
            done = self._product.run("reload")
            if done.returncode:
                raise RuntimeError(f"a reload was refused: {done.stderr}")


def wait_until_given_back(samples: Samples) -> dict[str, int]:
    """What is still held when everything idle must have been closed."""
    give_up_s = time.monotonic() + SETTLE_S
    while any((held := samples.held()).values()) and time.monotonic() < give_up_s:
        time.sleep(0.5)
    return held


def report(verdict: Verdict, held: dict[str, int], troubles: Troubles, samples: Samples) -> None:
    print(f"{troubles.kills} workers killed, {troubles.reloads} reloads")
    print(verdict)
    print("held at the end:", ", ".join(f"{count} {name}" for name, count in held.items()))
    for pid, life in samples.memory_mb.items():
        print(f"worker {pid}: {len(life)} s, {life[0]:.1f} MB at first, {life[-1]:.1f} MB at last")
    for kind in ("lost", "doubled", "wrong"):
        for text in getattr(verdict, kind)[:5]:
            print(f"  {kind}: {text}")
