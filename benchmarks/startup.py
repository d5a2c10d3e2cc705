"""From `sizewise up` to a ready product, the first time and later, and from a call's end to its being shown.

Ready means that every process runs and /readyz says so. The first start makes the database. BENCH_QUICK=1:
one round instead of five; medians and the worst.
"""

import http.client
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness.product import Product, simulated_upstreams, upstreams_config, wait_until

LATER = 2  # starts after the first, in each round
CALLS = 5
BODY = '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}'


def run() -> dict[str, Any]:
    rounds = 1 if os.environ.get("BENCH_QUICK") == "1" else 5
    seconds: dict[str, list[float]] = {"first": [], "later": [], "seen": []}
    for _ in range(rounds):
        folder = Path(tempfile.mkdtemp(prefix="sizewise-startup-"))
        folder.chmod(0o711)
        try:
            with simulated_upstreams(folder / "truth.jsonl") as url:
                make_round(Product(folder, upstreams_config(url)), seconds)
        finally:
            shutil.rmtree(folder)
    print(f"seconds, medians and worst of {rounds} rounds, {os.cpu_count()} cores")
    texts = {"first": "first start to ready", "later": "later ones", "seen": "a call's end to /api/v1/calls"}
    for name, text in texts.items():
        print(f"{text:32}{statistics.median(seconds[name]):8.2f}{max(seconds[name]):8.2f}")
    medians = {f"{name}_s": round(statistics.median(values), 2) for name, values in seconds.items()}
    return medians | {f"worst_{name}_s": round(max(values), 2) for name, values in seconds.items()}


def make_round(product: Product, seconds: dict[str, list[float]]) -> None:
    for name in ("first", *["later"] * LATER):
        began = time.monotonic()
        with product:
            seconds[name].append(time.monotonic() - began)
            seconds["seen"] += [time_until_seen(product) for _ in range(CALLS)]


def time_until_seen(product: Product) -> float:
    before = len(product.get("/api/v1/calls?limit=50")["calls"])
    connection = http.client.HTTPConnection(product.relay, timeout=30)
    connection.request("POST", "/v1/chat/completions", BODY)
    reply = connection.getresponse().read()
    ended = time.monotonic()
    assert b'"usage"' in reply
    connection.close()
    wait_until("it is seen", lambda: len(product.get("/api/v1/calls?limit=50")["calls"]) > before)
    return time.monotonic() - ended
