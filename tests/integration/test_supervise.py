"""The supervisor over real processes, which only stand for relay, record, web and Postgres."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from collector.errors import SizewiseError
from collector.supervise import Status, read_status
from collector.supervise.reload import reload_running
from collector.supervise.status import ProcessStatus

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "supervised/supervisor.py"
GIVE_UP_S = 30.0


class Supervised:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.events_file = folder / "events"
        self.config_file = folder / "sizewise.yaml"
        self.write_config()
        self.popen: subprocess.Popen[str] | None = None

    def write_config(self, text: str = "", workers: int = 1, environment: str = "one") -> None:
        self.config_file.write_text(
            f"state_dir: {self.state_dir}\nenvironment: {environment}\n"
            f"relay: {{listen: '127.0.0.1:0', workers: {workers}, limits: {{shutdown_grace_s: 600}}}}\n"
            f"web: {{listen: '127.0.0.1:0'}}\nupstreams: {{a: {{url: http://a, key: '${{MY_KEY}}'}}}}\n{text}"
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        self.popen = self.spawn(*arguments)
        return self.popen

    def spawn(self, *arguments: str) -> "subprocess.Popen[str]":
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MY_KEY": "s3cret",
            "SIZEWISE_HASH_SECRET": "s3cret-too",
        }
        command = [sys.executable, str(SCRIPT), str(self.config_file), str(self.events_file), *arguments]
        return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)

    @property
    def status(self) -> Status:
        return read_status(self.state_dir / "run/status.json")

    @property
    def events(self) -> list[str]:
        return self.events_file.read_text().splitlines() if self.events_file.exists() else []

    def of(self, kind: str) -> list[ProcessStatus]:
        return [process for process in self.status.processes if process.kind == kind]

    def pid(self, kind: str) -> int:
        (process,) = self.of(kind)
        assert process.pid
        return process.pid

    def is_up(self) -> bool:
        started = {event.split()[0] for event in self.events if " started" in event}
        return started >= {"relay0", "record", "web"} and self.status.database.state == "ready"

    def ask(self, kind: str = "relay") -> int:
        """The process id of whoever answers."""
        host, _, port = self.status.addresses[kind].rpartition(":")
        with socket.create_connection((host, int(port)), GIVE_UP_S) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            return int(connection.recv(65536).rpartition(b"\n")[2])

    def stop(self) -> str:
        assert self.popen
        self.popen.send_signal(signal.SIGTERM)
        _, said = self.popen.communicate(timeout=GIVE_UP_S)
        assert self.popen.returncode == 0, said
        return said


def until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + GIVE_UP_S
    while True:
        try:
            if true():
                return
        except (SizewiseError, AssertionError, ValueError):
            pass
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    one = Supervised(tmp_path)
    yield one
    if one.popen and one.popen.poll() is None:
        one.popen.send_signal(signal.SIGTERM)
        try:
            one.popen.communicate(timeout=GIVE_UP_S)
        finally:
            one.popen.kill()
    if one.popen and one.popen.stderr:
        one.popen.stderr.close()


@pytest.fixture
def running(supervised: Supervised) -> Supervised:
    supervised.start()
    until(supervised.is_up)
    return supervised


def test_starts_all_in_order_and_stops_the_other_way_round(running: Supervised) -> None:
    assert running.status.state == "running"
    assert running.ask("relay") == running.pid("relay")
    assert running.ask("web") == running.pid("web")
    assert "record started one postgresql://fake/url" in running.events
    assert running.events.index("migrated") < running.events.index("record started one postgresql://fake/url")
    running.stop()
    ended = [event.split()[0] for event in running.events if event.endswith("ended")]
    assert ended == ["relay0", "record", "web", "postgres"]
    assert running.status.state == "stopped"


def test_a_relay_worker_that_is_killed_refuses_nobody(running: Supervised) -> None:
    answered = set()
    for _ in range(5):
        before = running.pid("relay")
        os.kill(before, signal.SIGKILL)
        for _ in range(20):
            try:
                answered.add(running.ask())
            except (ConnectionResetError, ValueError):  # it was in the dying worker's hands
                continue
        until(lambda before=before: running.of("relay")[0].pid not in (None, before))
    (relay,) = running.of("relay")
    assert relay.restarts == 5
    assert relay.last_exit == "killed by SIGKILL"
    assert running.ask() == relay.pid
    assert len(answered) >= 5


@pytest.mark.parametrize("kind", ["record", "web"])
def test_what_dies_is_replaced(running: Supervised, kind: str) -> None:
    before = running.pid(kind)
    os.kill(before, signal.SIGKILL)
    until(lambda: running.pid(kind) != before)
    assert running.of(kind)[0].restarts == 1
    until(lambda: sum(event.startswith(f"{kind} started") for event in running.events) == 2)


def test_the_database_is_started_again(running: Supervised) -> None:
    before = running.status.database.pid
    assert before
    relay = running.pid("relay")
    os.kill(before, signal.SIGKILL)
    until(lambda: running.status.database.pid != before and running.status.database.state == "ready")
    assert running.pid("relay") == relay
    assert running.of("record")[0].restarts == 0


def test_no_database_never_stops_the_relay(supervised: Supervised) -> None:
    obstacle = supervised.events_file.with_suffix(".nodb")
    obstacle.touch()
    supervised.start()
    until(lambda: supervised.status.database.state == "failed")
    assert "no database today" in supervised.status.database.problem
    assert supervised.ask() == supervised.pid("relay")
    assert supervised.of("record") == []
    obstacle.unlink()
    until(supervised.is_up)


def test_nobody_outlives_a_killed_supervisor(running: Supervised) -> None:
    children = [psutil.Process(running.pid(kind)) for kind in ("relay", "record", "web")]
    stand_in = running.status.database.pid  # which has nobody to bind it, unlike the real one
    assert running.popen
    assert stand_in
    running.popen.kill()
    running.popen.wait()
    _, alive = psutil.wait_procs(children, timeout=GIVE_UP_S)
    os.kill(stand_in, signal.SIGKILL)
    assert alive == []


def test_reload_brings_the_new_plan_to_the_same_workers(running: Supervised) -> None:
    relay, web, record = (running.pid(kind) for kind in ("relay", "web", "record"))
    running.write_config("routes: [{to: a, environment: two}]")
    result = reload_running(running.state_dir, GIVE_UP_S)
    assert result.ok, result.text
    until(lambda: "relay0 read one" in running.events)
    assert running.pid("relay") == relay
    running.write_config(environment="three")
    assert reload_running(running.state_dir, GIVE_UP_S).ok
    until(lambda: "relay0 read three" in running.events)
    until(lambda: "web started three postgresql://fake/url" in running.events)
    until(lambda: "record started three postgresql://fake/url" in running.events)
    until(lambda: running.ask("web") == running.pid("web"))
    assert running.pid("relay") == relay
    assert {running.pid("web"), running.pid("record")}.isdisjoint({web, record})
    assert [process.restarts for process in running.status.processes] == [0, 0, 0]


def test_a_reload_that_is_refused_changes_nothing(running: Supervised) -> None:
    before = [(process.kind, process.pid) for process in running.status.processes]
    plan = (running.state_dir / "run/plan.json").read_bytes()
    running.write_config("routes: [{to: gone}]", environment="two")
    result = reload_running(running.state_dir, GIVE_UP_S)
    assert result.ok is False
    assert "routes[0].to = 'gone'" in result.text
    running.write_config("journal: {dir: /elsewhere}", environment="two")
    result = reload_running(running.state_dir, GIVE_UP_S)
    assert result.ok is False
    assert "journal.dir can't change" in result.text
    assert [(process.kind, process.pid) for process in running.status.processes] == before
    assert (running.state_dir / "run/plan.json").read_bytes() == plan
    assert not any(event.startswith("relay0 read") for event in running.events)


def test_reload_changes_the_number_of_workers(running: Supervised) -> None:
    running.write_config(workers=3)
    assert reload_running(running.state_dir, GIVE_UP_S).ok
    until(lambda: sum(" started" in event for event in running.events if event.startswith("relay")) == 3)
    running.write_config(workers=1)
    assert reload_running(running.state_dir, GIVE_UP_S).ok
    until(lambda: len(running.of("relay")) == 1)
    assert [process.index for process in running.of("relay")] == [0]
    assert running.ask() == running.pid("relay")


def test_a_second_supervisor_is_refused_by_name(running: Supervised) -> None:
    second = running.spawn()
    _, said = second.communicate(timeout=GIVE_UP_S)
    assert second.returncode == 1
    assert running.popen
    assert f"`sizewise up` (pid {running.popen.pid}) is running already for {running.state_dir}" in said


def test_one_kind_alone_needs_no_database(supervised: Supervised) -> None:
    supervised.start("relay")
    path = supervised.state_dir / "run/relay/status.json"
    until(lambda: read_status(path).state == "running")
    until(lambda: "relay0 started one" in supervised.events)
    assert read_status(path).kinds == ["relay"]
    assert reload_running(supervised.state_dir, GIVE_UP_S).text == "nothing has changed"
    supervised.stop()
    assert [event for event in supervised.events if not event.startswith("relay0")] == []


def test_secrets_are_in_no_argument_and_no_environment(running: Supervised) -> None:
    for kind in ("relay", "record", "web"):
        process = psutil.Process(running.pid(kind))
        for text in (*process.cmdline(), *process.environ().values()):
            assert "s3cret" not in text
        assert "MY_KEY" not in process.environ()
    for name in ("plan.json", "config.json"):
        path = running.state_dir / "run" / name
        assert "s3cret" in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "s3cret" not in (running.state_dir / "run/status.json").read_text()
    assert stat.S_IMODE((running.state_dir / "run").stat().st_mode) == 0o700
    assert "s3cret" not in running.stop()


def test_nothing_is_asked_where_nothing_runs(supervised: Supervised) -> None:
    with pytest.raises(SizewiseError, match="Nothing runs for"):
        reload_running(supervised.state_dir, 1.0)
    supervised.start()
    until(supervised.is_up)
    supervised.stop()
    with pytest.raises(SizewiseError, match="Nothing runs for"):
        reload_running(supervised.state_dir, 1.0)


def test_asked_to_stop_twice_it_waits_for_nobody(supervised: Supervised) -> None:
    supervised.events_file.with_suffix(".stubborn").touch()
    popen = supervised.start()
    until(supervised.is_up)
    popen.send_signal(signal.SIGINT)
    until(lambda: supervised.status.state == "stopping")
    assert popen.poll() is None
    popen.send_signal(signal.SIGINT)
    popen.communicate(timeout=GIVE_UP_S)
    assert popen.returncode == 0
    assert supervised.of("relay")[0].last_exit == "killed by SIGKILL"
    ended = [event.split()[0] for event in supervised.events if event.endswith("ended")]
    assert ended == ["record", "web", "postgres"]
