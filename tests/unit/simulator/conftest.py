"""One simulator for a whole file of tests, and bare sockets for what a client library would hide."""

import socket
from collections.abc import Callable, Iterator

import pytest

from collector.simulator import Entry, Simulator, start_simulator


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with start_simulator(seed=7) as running:
        yield running


@pytest.fixture
def served(simulator: Simulator) -> Callable[[str], Entry]:
    """The truth of one reply, by the id in its body."""

    def find(reply_id: str) -> Entry:
        return next(entry for entry in simulator.entries() if entry.id == reply_id)

    return find


@pytest.fixture
def talk(simulator: Simulator) -> Iterator[Callable[..., socket.socket]]:
    """A socket on which these bytes were sent."""
    opened: list[socket.socket] = []

    def send(data: bytes) -> socket.socket:
        sock = socket.create_connection((simulator.host, simulator.port), timeout=10)
        opened.append(sock)
        sock.sendall(data)
        return sock

    yield send
    for sock in opened:
        sock.close()
