"""The database hangs, dies, is moved away, or isn't there yet: clients notice nothing, nothing is lost."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from benchmarks.harness.load import Load
from benchmarks.harness.product import Product, upstreams_config, wait_until
from benchmarks.harness.verdict import judge, read_log
from collector.store.embedded import EmbeddedPostgres, start_postgres

SEED = 40


class Server:
    """A Postgres of somebody else's: it comes and goes as the test likes, always with the same URL."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._socket_dir = folder / "theirs", folder / "s"
        self._running: EmbeddedPostgres | None = None

    def start(self) -> str:
        self._running = start_postgres(self._folder, socket_dir=self._socket_dir)
        return self._running.url

    @property
    def pids(self) -> list[int]:
        assert self._running is not None
        pid = self._running.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        running = self._running
        assert running is not None
        wait_until("it is dead", lambda: not running.is_running())

    def _signal(self, number: int) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def move(self, there: str, back: bool = False) -> None:
        away = self._folder.with_name(there)
        (away.rename(self._folder) if back else self._folder.rename(away))

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()


@pytest.fixture
def server(open_dir: Path) -> Iterator[Server]:
    made = Server(open_dir)
    yield made
    made.stop()


def config_with(url: str, upstreams: str) -> dict[str, Any]:
    return {**upstreams_config(upstreams), "database": {"url": url}}


def status_of(url: str) -> int:
    try:
        with urlopen(url, timeout=20) as answer:
            return int(answer.status)
    except HTTPError as problem:
        return problem.code


def make_calls_for(seconds: float, log: Path) -> int:
    """How many calls the client saw end meanwhile."""
    before = count_ended(log)
    time.sleep(seconds)
    return count_ended(log) - before


def count_ended(log: Path) -> int:
    return sum(one["event"] == "ended" for one in read_log(log))


def test_it_hangs_dies_and_is_moved_away_for_a_while(
    open_dir: Path, server: Server, upstreams: str, truth: Path, client_log: Path
) -> None:
    with Product(open_dir, config_with(server.start(), upstreams)) as product:
        record = product.pid("record")
        with Load(product.relay, client_log, seed=SEED, clients=4):
            make_calls_for(0.3, client_log)
            server.freeze()
            assert make_calls_for(1.5, client_log), "calls stopped while the database hung"
            server.kill()
            server.move("away")
            assert make_calls_for(1.5, client_log), "calls stopped while the database was away"
            assert status_of(f"{product.web_url}/healthz") == 200
            assert status_of(f"{product.web_url}/readyz") == 503
            server.move("away", back=True)
            server.start()
            make_calls_for(0.3, client_log)
        verdict = judge(product, client_log, truth)
        assert product.pid("record") == record, "record died of it"
        assert product.is_ready()
    assert verdict.is_good, (verdict, verdict.lost, verdict.doubled, verdict.wrong)
    assert not verdict.failed


def test_calls_pass_before_there_is_a_database(
    open_dir: Path, server: Server, upstreams: str, truth: Path, client_log: Path
) -> None:
    url = server.start()
    server.kill()
    product = Product(open_dir, config_with(url, upstreams))
    product.launch()
    try:
        wait_until("the relay runs", lambda: product.status_file.exists() and product.pid("relay"))
        with Load(product.relay, client_log, seed=SEED, clients=2):
            assert wait_until("calls end", lambda: count_ended(client_log) > 20)
            server.start()
            wait_until("everything is ready", product.is_ready, pause_s=0.1)
        verdict = judge(product, client_log, truth)
    finally:
        product.stop()
    assert verdict.is_good, (verdict, verdict.lost, verdict.doubled, verdict.wrong)
    assert not verdict.failed
