"""The loads, and what one of them costs a proxy: a Proxy and a load enter, a Row leaves.

A load that met a failure gives no figure: quick and wrong would be none.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.proxies.clock import cpu_seconds, wait_until_idle
from benchmarks.proxies.cores import on_load_core
from benchmarks.proxies.start import HERE, KEY, Proxy

PATH = "/v1/chat/completions"
_DONE = re.compile(r"(\d+) requests in ([\d.]+)(us|ms|s|m)")
_WRONG = re.compile(r"(Non-2xx.*|Socket errors.*)")
_HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    "Authorization: Bearer {key}\r\nUser-Agent: OpenAI/Python 1.99.0\r\nAccept: application/json\r\n"
    "Accept-Encoding: identity\r\nX-Stainless-Lang: python\r\nX-Stainless-OS: Linux\r\n"
    "X-Stainless-Runtime: CPython\r\nContent-Length: {length}\r\n\r\n"
)


class LoadFailed(Exception):  # noqa: N818
    """Calls failed, so that nothing was measured."""


@dataclass
class Row:
    """What one load saw of one proxy. Times that a load doesn't measure are 0."""

    calls: int
    per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    ttft50_ms: float = 0.0
    cpu_us: float = 0.0  # a call


Load = Callable[[Proxy, float], Row]


def measure(proxy: Proxy, load: Load, seconds: float) -> Row:
    wait_until_idle(proxy.pids)
    before = cpu_seconds(proxy.pids)
    row = load(proxy, seconds)
    time.sleep(0.05)
    row.cpu_us = (cpu_seconds(proxy.pids) - before) / max(row.calls, 1) * 1e6
    return row


def flat_out(script: str, connections: int, *, asks_usage: bool = True) -> Load:
    """As fast as so many connections can; `script` says what is sent."""

    def run(proxy: Proxy, seconds: float) -> Row:
        environ = {**os.environ, "BENCH_KEY": KEY, "BENCH_LUA": str(HERE), "BENCH_ASK": str(int(asks_usage))}
        url = f"http://127.0.0.1:{proxy.port}{PATH}"
        words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        said = subprocess.run(
            [*on_load_core(), *words, "-s", str(HERE / script), url],
            capture_output=True, text=True, env=environ, check=False,
        ).stdout  # fmt: skip
        done, wrong = _DONE.search(said), _WRONG.search(said)
        if done is None or wrong or done[1] == "0":
            raise LoadFailed(f"{proxy.name}, {script}: {wrong[0] if wrong else said[-300:]}")
        took_s = float(done[2]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[done[3]]
        return Row(int(done[1]), int(done[1]) / took_s)

    return run


def at_rate(client: Path, rate: float, seed: int, *, stream: bool) -> Load:
    """Calls begin at random moments, so many a second, however the earlier ones fare."""

    def run(proxy: Proxy, seconds: float) -> Row:
        said = subprocess.run(
            [*on_load_core(), str(client), str(proxy.port), str(rate), str(seconds), str(seed)],
            input=make_request(proxy.port, stream=stream), capture_output=True, check=True,
        ).stdout  # fmt: skip
        found = json.loads(said)
        if found["failed"]:
            raise LoadFailed(
                f"{proxy.name} at {rate:.0f}/s: {found['failed']} of {found['calls']} calls failed"
            )
        return Row(found["calls"], rate, found["p50_ms"], found["p99_ms"], found["ttft50_ms"])

    return run


def make_request(port: int, *, stream: bool) -> bytes:
    text = ("gap10 " if stream else "") + "The quick brown fox jumps. " * 32
    messages = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": text}]
    body = {"model": "mock-model", "messages": messages, "temperature": 0.7, "max_tokens": 64}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    raw = json.dumps(body, separators=(",", ":"))
    return (_HEAD.format(path=PATH, port=port, key=KEY, length=len(raw)) + raw).encode()
