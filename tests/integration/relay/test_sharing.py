"""Several workers on one socket take their part each: of a burst and of a trickle, held or short."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.plan import Limits, Plan, RoutePlan, UpstreamPlan, write_plan
from collector.relay.counters import read_counters

PATIENCE_S = 5.0
Crew = Callable[..., "Workers"]


class Workers:
    """Worker processes on one listening socket."""

    def __init__(self, folder: Path, count: int, limits: Limits) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = self.listener.getsockname()
        self.folder = folder
        upstream = UpstreamPlan(name="up", host="127.0.0.1", port=1)
        plan = Plan(
            journal_dir=str(folder / "journal"),
            upstreams=[upstream],
            routes=[RoutePlan(to="up")],
            limits=limits,
        )
        write_plan(plan, folder / "plan.json")
        self.processes = [self._start(number) for number in range(count)]
        self.wait_for(lambda: all(self.counters(number).get("beats", 0) > 2 for number in range(count)))

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        command = ["--plan", str(self.folder / "plan.json"), "--fd", str(self.listener.fileno())]
        return subprocess.Popen(
            [sys.executable, "-m", "collector.relay", *command, "--worker", str(number)],
            pass_fds=[self.listener.fileno()],
        )

    def counters(self, number: int) -> dict[str, int]:
        return read_counters(self.folder / "journal" / f"w{number}" / "counters")

    def counts(self, name: str) -> list[int]:
        return [self.counters(number).get(name, 0) for number in range(len(self.processes))]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes:
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()
        self.listener.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Crew]:
    with contextlib.ExitStack() as stack:

        def start(count: int, **limits: float) -> Workers:
            given = Limits(**{"shutdown_grace_s": 0.1, **limits})  # type: ignore[arg-type]
            crew = Workers(tmp_path, count, given)
            stack.callback(crew.stop)
            return crew

        yield start


@contextlib.contextmanager
def closing(connections: list[socket.socket]) -> Iterator[None]:
    try:
        yield
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_burst(workers: Crew, count: int) -> None:
    crew = workers(count)
    connections = [crew.connect() for _ in range(64)]
    with closing(connections):
        crew.wait_for(lambda: sum(crew.counts("clients")) == 64)
        held = crew.counts("clients")
    assert max(held) <= 1.25 * min(held), held


@pytest.mark.parametrize("count", [2, 4])
def test_a_trickle_of_connections_that_stay(workers: Crew, count: int) -> None:
    crew = workers(count)
    connections = []
    with closing(connections):
        for _ in range(40):
            connections.append(crew.connect())
            time.sleep(0.015)
        crew.wait_for(lambda: sum(crew.counts("clients")) == 40)
        held = crew.counts("clients")
    assert max(held) <= 1.25 * min(held), held


@pytest.mark.parametrize("count", [2, 4])
def test_a_trickle_of_short_connections(workers: Crew, count: int) -> None:
    """None is ever held beside another: what was taken lately decides."""
    crew = workers(count)
    for _ in range(60):
        with crew.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while connection.recv(65536):
                pass
        time.sleep(0.01)
    crew.wait_for(lambda: sum(crew.counts("accepted")) == 60)
    taken = crew.counts("accepted")
    assert max(taken) <= 1.25 * min(taken), taken


def test_nobody_waits_for_a_worker_that_hangs(workers: Crew) -> None:
    crew = workers(2)
    crew.processes[0].send_signal(signal.SIGSTOP)
    connections = []
    with closing(connections):
        for _ in range(20):
            connections.append(crew.connect())
            connections[-1].sendall(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connections[-1].recv(12) == b"HTTP/1.1 502"
    crew.wait_for(lambda: crew.counts("accepted")[1] == 20)


def test_a_full_worker_leaves_the_rest_to_its_sibling_and_then_to_the_queue(workers: Crew) -> None:
    crew = workers(2, connections_per_worker=5)
    connections = [crew.connect() for _ in range(12)]
    with closing(connections):
        crew.wait_for(lambda: crew.counts("clients") == [5, 5])
        for connection in connections:
            connection.sendall(b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        for connection in connections:  # the last two are taken when others have left
            assert connection.recv(12) == b"HTTP/1.1 502"


def test_a_dying_worker_takes_no_queued_connection_with_it(workers: Crew) -> None:
    crew = workers(2)
    for process in crew.processes:
        process.send_signal(signal.SIGSTOP)
    connections = [crew.connect() for _ in range(20)]
    with closing(connections):
        crew.processes[0].kill()
        crew.processes[1].send_signal(signal.SIGCONT)
        for connection in connections:
            connection.sendall(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 502"
