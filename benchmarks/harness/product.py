"""The product as a user starts it: `sizewise up` over a configuration; upstreams as a process of their own.

Leaves: addresses, process ids and the database's URL, all read from the files that `up` keeps for scripts.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg
import yaml

from collector.relay.counters import read_counters

COMMAND = Path(sys.executable).with_name("sizewise")
PATIENCE_S = 30.0
LOCAL = "127.0.0.1:0"


def wait_until(
    what: str, check: Callable[[], Any], patience_s: float = PATIENCE_S, pause_s: float = 0.02
) -> Any:
    """What `check` says, as soon as it is true."""
    deadline = time.monotonic() + patience_s
    while not (found := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience_s:g} s: {what}")
        time.sleep(pause_s)
    return found


@contextmanager
def simulated_upstreams(log: Path, *options: str) -> Iterator[str]:
    """The URL of upstreams in a process of their own, whose truth log is `log`."""
    words = [sys.executable, "-m", "collector.simulator", "--quiet", "--log", str(log), *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.terminate()


def upstreams_config(url: str) -> dict[str, Any]:
    """List prices apply, as they would for the real ones."""
    return {
        "upstreams": {
            "openai": {"url": url, "api": "openai", "provider": "openai"},
            "anthropic": {"url": url, "api": "anthropic", "provider": "anthropic"},
        },
        "routes": [{"path": "/v1/messages*", "to": "anthropic"}, {"to": "openai"}],
    }


class Product:
    """One `sizewise up` in a folder; `start` again after `stop` or a kill goes on with the same state."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        *,
        command: tuple[str, ...] = (str(COMMAND),),
        environ: Mapping[str, str] | None = None,
        account: tuple[int, int] | None = None,
    ) -> None:
        self.folder, self.state_dir = folder, folder / "state"
        self.config_file = folder / "sizewise.yaml"
        self.config: dict[str, Any] = {
            "state_dir": str(self.state_dir),
            "web": {"listen": LOCAL},
            "record": {"listen": LOCAL},
            **config,
        }
        self.config["relay"] = {"listen": LOCAL, **config.get("relay", {})}
        self.write_config()
        self._command = command
        user, group = account or (None, None)
        self._account: dict[str, Any] = {"user": user, "group": group, "extra_groups": [] if user else None}
        own = {name: value for name, value in os.environ.items() if not name.startswith("SIZEWISE_")}
        self._environ = {**own, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    # -- life

    def write_config(self) -> None:
        self.config_file.write_text(yaml.safe_dump(self.config))

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Another command of `sizewise` over the same configuration."""
        line = [*self._command, *words, "--config", str(self.config_file)]
        return subprocess.run(
            line, capture_output=True, text=True, env=self._environ, cwd=self.folder, timeout=60, check=False,
            **self._account,
        )  # fmt: skip

    def launch(self) -> None:
        if not COMMAND.exists():
            raise FileNotFoundError(f"{COMMAND} is not there: `make test` installs it")
        self.status_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log, (self.folder / "up.screen").open("ab") as screen:
            self._process = subprocess.Popen(
                [*self._command, "up", "--config", str(self.config_file)],
                stdin=subprocess.DEVNULL, stdout=screen, stderr=log, env=self._environ, cwd=self.folder,
                process_group=0, **self._account,
            )  # fmt: skip

    def start(self) -> "Product":
        """Returns when everything answers."""
        self.launch()
        try:
            wait_until("the product is ready", self.is_ready, pause_s=0.05)
        except TimeoutError as problem:
            self.stop()
            raise RuntimeError(f"{problem}; its log ends with\n{self.log()[-3000:]}") from None
        return self

    def is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"`up` ended with {self._process.returncode}:\n{self.log()[-3000:]}")
        try:
            status = self.status()
            kinds = {process["kind"] for process in status["processes"] if process["state"] == "running"}
            if kinds < {"relay", "record", "web"} or status["database"]["state"] != "ready":
                return False
            if not self.is_relaying():
                return False
            with urlopen(f"{self.web_url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError, KeyError):
            return False

    def begin_stop(self) -> "subprocess.Popen[bytes]":
        """SIGTERM, and no more; the process is the caller's to wait for."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        return process

    def is_relaying(self) -> bool:
        """Whether each worker has come so far as to count: it may be dying of something over and over."""
        status = self.status()
        workers = [process for process in status["processes"] if process["kind"] == "relay"]
        folder = Path(status["journal_dir"])
        return all(
            process["pid"] == read_counters(folder / f"w{process['index']}" / "counters").get("pid")
            for process in workers
        )

    def stop(self, patience_s: float = 60.0) -> int:
        """Politely; whatever is left then is killed and told by the exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait(10)

    def kill_supervisor(self) -> None:
        assert self._process is not None
        process, self._process = self._process, None
        process.kill()
        process.wait(10)

    def __enter__(self) -> "Product":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what it says of itself

    @property
    def status_file(self) -> Path:
        return self.state_dir / "run" / "status.json"

    @property
    def log_file(self) -> Path:
        return self.folder / "up.log"

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.status_file.read_text()))

    @property
    def relay(self) -> str:
        return str(self.status()["addresses"]["relay"])

    @property
    def relay_url(self) -> str:
        return f"http://{self.relay}"

    @property
    def web_url(self) -> str:
        return f"http://{self.status()['addresses']['web']}"

    @property
    def database_url(self) -> str:
        return str(json.loads((self.state_dir / "run" / "config.json").read_text())["database"]["url"])

    def pid(self, kind: str, index: int = 0) -> int | None:
        """Of supervisor, database, or a child."""
        status = self.status()
        if kind == "supervisor":
            return int(status["pid"])
        if kind == "database":
            return None if status["database"]["state"] != "ready" else status["database"]["pid"]
        for process in status["processes"]:
            if (process["kind"], process["index"]) == (kind, index):
                return None if process["state"] != "running" else process["pid"]
        return None

    def all_pids(self) -> list[int]:
        status = self.status()
        found = [status["database"]["pid"], *(process["pid"] for process in status["processes"])]
        return [pid for pid in found if pid]

    def wait_for(self, kind: str, other_than: int | None = None, index: int = 0) -> int:
        """The id of a process of this kind, once one runs that isn't `other_than`."""

        def look() -> int | None:
            pid = self.pid(kind, index)
            return pid if pid != other_than else None

        return int(wait_until(f"a new {kind} runs", look))

    def kill(self, kind: str, index: int = 0) -> int:
        """kill -9. Returns whom."""
        pid = self.wait_for(kind, index=index)
        os.kill(pid, signal.SIGKILL)
        return pid

    def get(self, path: str) -> Any:
        with urlopen(self.web_url + path, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if path.startswith("/api") else body.decode()

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, connect_timeout=5) as connection:
            return connection.execute(statement.encode(), values or None).fetchall()


def is_alive(pid: int) -> bool:
    """A zombie is dead: only its parent has yet to hear of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
