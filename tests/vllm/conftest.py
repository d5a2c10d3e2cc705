"""A real vLLM before the product. Opt in: `make test-vllm VLLM_PYTHON=/path/python VLLM_MODEL=/path/model`.

VLLM_PYTHON is an interpreter that has vLLM (the CPU build will do), VLLM_MODEL a folder with a model. A
tiny one with random weights is enough, since only tokens are counted.
"""

import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.harness.product import Product, wait_until

MODEL = "tiny"
QUIET = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TORCHDYNAMO_DISABLE": "1",
}


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python, model = os.environ.get("VLLM_PYTHON"), os.environ.get("VLLM_MODEL")
    if not python or not model:
        pytest.skip("VLLM_PYTHON and VLLM_MODEL name an interpreter with vLLM and a model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = f"--model {model} --load-format dummy --host 127.0.0.1 --port {port} --served-model-name {MODEL}"
    words += " --max-model-len 512 --enforce-eager --dtype bfloat16 --max-num-seqs 8"
    log = (tmp_path_factory.mktemp("vllm") / "log").open("wb")
    with log:
        server = subprocess.Popen(
            [python, "-m", "vllm.entrypoints.openai.api_server", *words.split()],
            env=os.environ | QUIET,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until("vLLM answers", lambda: answers(url) or server.poll() is not None, 300, 1.0)
            assert server.poll() is None, Path(log.name).read_text()[-2000:]
            yield url
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


@pytest.fixture(scope="session")
def product(vllm: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("product"), {"upstreams": {"vllm": {"url": vllm}}}) as running:
        yield running


@pytest.fixture
def counted(vllm: str) -> Callable[[], tuple[int, int]]:
    """What vLLM's own counters say: prompt tokens and generated ones."""

    def read() -> tuple[int, int]:
        with urllib.request.urlopen(f"{vllm}/metrics", timeout=5) as reply:
            text = reply.read().decode()
        sums = []
        for name in ("prompt_tokens", "generation_tokens"):
            found = re.findall(rf"^vllm:{name}_total{{[^}}]*}} (\S+)$", text, re.MULTILINE)
            sums.append(int(sum(map(float, found))))
        return sums[0], sums[1]

    return read
