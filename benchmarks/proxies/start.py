"""Starts what is compared: each a context that gives a Proxy, and ends it by its process id."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec
import yaml

from benchmarks.proxies.clock import family
from benchmarks.proxies.cores import on_load_core, on_proxy_core
from collector.supervise.status import Status

HERE = Path(__file__).parent
KEY = "sk-bench-0123456789"
READY_S = 120.0  # LiteLLM takes its time
_ON_PROXY_CORE = on_proxy_core()


@dataclass
class Proxy:
    name: str
    port: int
    pids: list[int] = field(default_factory=list)  # whose CPU is charged
    journals: list[Path] = field(default_factory=list)  # ours: a folder for each worker


def find_missing() -> list[str]:
    """Programs without which there is nothing to compare."""
    return [name for name in ("gcc", "wrk", "nginx", "taskset") if shutil.which(name) is None]


def compile_program(name: str, folder: Path) -> Path:
    made = folder / name
    subprocess.run(["gcc", "-O2", "-o", str(made), str(HERE / f"{name}.c"), "-lm"], check=True)
    return made


@contextmanager
def running(words: list[str], log: Path, **options: object) -> "Iterator[subprocess.Popen[str]]":
    """A process that is ended when the context is left, politely first."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stderr=said, text=True, process_group=0,
            **{"stdout": said, **options},
        )  # type: ignore[call-overload]  # fmt: skip
    try:
        yield process
    except TimeoutError as problem:
        raise TimeoutError(f"{problem}; it said: {log.read_text()[-1500:]}") from None
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


@contextmanager
def start_mock(folder: Path) -> Iterator[int]:
    """The upstream; gives its port."""
    words = [*on_load_core(), str(compile_program("mock_upstream", folder))]
    with running(words, folder / "mock.log", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def start_nginx(folder: Path, mock: int) -> Iterator[Proxy]:
    port, home = free_port(), folder / "nginx"
    home.mkdir()
    text = (HERE / "nginx.conf").read_text().replace("{mock}", str(mock)).replace("{port}", str(port))
    (home / "nginx.conf").write_text(text)
    words = [*_ON_PROXY_CORE, "nginx", "-p", str(home), "-c", str(home / "nginx.conf")]
    with running(words, folder / "nginx.log") as process:
        wait_until_answers(process, port)
        yield Proxy("nginx", port, family(process.pid))


@contextmanager
def start_ours(folder: Path, mock: int, workers: int = 1, pin: list[str] = _ON_PROXY_CORE) -> Iterator[Proxy]:
    """`sizewise relay`: a supervisor with its workers, which keep accounts and journals as in production."""
    home = Path(tempfile.mkdtemp(prefix="ours-", dir=folder))
    config_file, state = home / "sizewise.yaml", home / "state"
    config = {
        "state_dir": str(state),
        "relay": {"listen": "127.0.0.1:0", "workers": workers},
        "upstreams": {"mock": {"url": f"http://127.0.0.1:{mock}", "api": "openai"}},
        "routes": [{"to": "mock"}],
    }
    config_file.write_text(yaml.safe_dump(config))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SIZEWISE_")}
    words = [*pin, str(Path(sys.executable).with_name("sizewise")), "relay", "--config", str(config_file)]
    with running(words, home / "log", env=environ) as process:
        status = wait_for_status(process, state, workers)
        port = int(status.addresses["relay"].rpartition(":")[2])
        wait_until_answers(process, port)
        pids = [child.pid for child in status.processes if child.kind == "relay" and child.pid]
        journals = [Path(status.journal_dir) / f"w{index}" for index in range(workers)]
        yield Proxy("ours", port, pids, journals)


@contextmanager
def start_litellm(folder: Path, mock: int, command: str) -> Iterator[Proxy]:
    """`command` is a litellm of an environment of its own (`pip install litellm[proxy]`)."""
    port, config_file = free_port(), folder / "litellm.yaml"
    model = {"model": "openai/mock-model", "api_base": f"http://127.0.0.1:{mock}/v1", "api_key": "sk-1234"}
    config = {
        "model_list": [{"model_name": "mock-model", "litellm_params": model}],
        "litellm_settings": {"drop_params": True, "num_retries": 0, "telemetry": False},
        "general_settings": {"master_key": KEY},
    }
    config_file.write_text(yaml.safe_dump(config))
    words = [*_ON_PROXY_CORE, command, "--config", str(config_file), "--port", str(port)]
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # asks nobody for prices
    with running(words, folder / "litellm.log", env=environ) as process:
        wait_until_answers(process, port, "/health/liveliness")
        yield Proxy("litellm", port, family(process.pid))


def wait_for_status(process: "subprocess.Popen[str]", state: Path, workers: int) -> Status:
    give_up_s = time.monotonic() + READY_S
    while time.monotonic() < give_up_s and process.poll() is None:
        for file in state.glob("run/**/status.json"):
            status = msgspec.json.decode(file.read_bytes(), type=Status)
            if sum(child.state == "running" for child in status.processes) == workers:
                return status
        time.sleep(0.05)
    raise TimeoutError("the relay did not start")


def wait_until_answers(process: "subprocess.Popen[str]", port: int, path: str = "/") -> None:
    give_up_s = time.monotonic() + READY_S
    while time.monotonic() < give_up_s and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                return
        except HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"nothing answers on port {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
