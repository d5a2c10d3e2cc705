"""A dialogue with a real worker process: raw bytes to it, and raw bytes from and to a scripted upstream.

    client, _ = relay.connect(), client.send(request(BODY))
    server = upstream.accept()
    assert server.take().body == BODY
    server.send(reply(b"{}"))
    assert client.take().body == b"{}"

Every read has a limit in time, so that nothing here can hang; no limit is what a test checks.
"""

import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from collector.call import Call
from collector.journal import JournalReader
from collector.plan import Limits, Plan, RoutePlan, UpstreamPlan, write_plan
from collector.relay.counters import read_counters

PATIENCE_S = 4.0
BODY = b'{"model":"m","messages":[]}'


class Message:
    """A request or a reply as it came."""

    def __init__(self, head: bytes, body: bytes, trailers: bytes = b"") -> None:
        self.head, self.body, self.trailers = head, body, trailers
        self.first, *lines = head[:-4].split(b"\r\n")
        self.headers = [tuple(line.split(b": ", 1)) for line in lines]

    @property
    def status(self) -> int:
        return int(self.first.split(b" ")[1])

    def get(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) < 2
        return values[0] if values else None


class Line:
    """One end of a connection."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        raw.settimeout(PATIENCE_S)
        self._ahead = b""

    def send(self, *pieces: bytes) -> "Line":
        for piece in pieces:
            self.raw.sendall(piece)
        return self

    def send_ignoring_end(self, data: bytes) -> "Line":
        with suppress(ConnectionError):
            self.raw.sendall(data)
        return self

    def send_slowly(self, data: bytes, size: int = 1) -> None:
        """Piece by piece, each in a packet of its own."""
        for at in range(0, len(data), size):
            self.raw.sendall(data[at : at + size])
            time.sleep(0.0005)

    def _more(self) -> bool:
        piece = self.raw.recv(65536)
        self._ahead += piece
        return bool(piece)

    def read_until(self, mark: bytes) -> bytes:
        while mark not in self._ahead:
            assert self._more(), f"it ended after {self._ahead!r}"
        end = self._ahead.index(mark) + len(mark)
        found, self._ahead = self._ahead[:end], self._ahead[end:]
        return found

    def read(self, size: int) -> bytes:
        pieces, have = [self._ahead], len(self._ahead)
        self._ahead = b""
        while have < size:
            piece = self.raw.recv(1 << 20)
            assert piece, f"it ended after {have} of {size} bytes"
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self._ahead = data[size:]
        return data[:size]

    def unread(self, data: bytes) -> None:
        self._ahead = data + self._ahead

    def expect(self, data: bytes) -> "Line":
        got = self.read(len(data))
        assert got == data
        return self

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while self._more():
            pass
        rest, self._ahead = self._ahead, b""
        return rest

    def rest_of_message(self) -> bytes:
        """Up to the last chunk."""
        return self.read_until(b"\r\n0\r\n\r\n")

    def expect_end(self) -> None:
        """Closed, and nothing more was said."""
        try:
            assert self.rest() == b""
        except ConnectionResetError:
            assert self._ahead == b""

    def take(self, *, bodiless: bool = False) -> Message:
        """The next request or reply."""
        head = self.read_until(b"\r\n\r\n")
        message = Message(head, b"")
        if message.get(b"transfer-encoding") == b"chunked" and not bodiless:
            while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
                message.body += self.read(size)
                self.expect(b"\r\n")
            while (line := self.read_until(b"\r\n")) != b"\r\n":
                message.trailers += line
        elif length := message.get(b"content-length"):
            message.body = b"" if bodiless else self.read(int(length))
        elif message.first.startswith(b"HTTP/") and not bodiless and message.status >= 200:
            message.body = self.rest()
        return message

    def is_silent(self) -> bool:
        """Nothing came so far."""
        return not self._ahead and not select.select([self.raw], [], [], 0)[0]

    def is_silent_for_long(self) -> bool:
        return not self._ahead and not select.select([self.raw], [], [], 0.4)[0]

    def half_close(self) -> None:
        self.raw.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.raw.close()

    def fill(self, limit: int = 200_000_000, tries: int = 4) -> int:
        """Send zeros until nobody takes more of them, `tries` times in a row; returns how many went."""
        piece, sent, refused = bytes(1 << 20), 0, 0
        self.raw.settimeout(0)
        while refused < tries and sent < limit:
            try:
                sent += self.raw.send(piece[: limit - sent])
                refused = 0
            except BlockingIOError:
                refused += 1
                if refused < tries:
                    time.sleep(0.05)
        self.raw.settimeout(PATIENCE_S)
        return sent

    def reset(self) -> None:
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()


class Upstream:
    """A server that says nothing by itself: the test speaks for it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)
        self.port = self.listener.getsockname()[1]
        self.lines: list[Line] = []

    def accept(self) -> Line:
        self.lines.append(Line(self.listener.accept()[0]))
        return self.lines[-1]

    def nobody_waits(self) -> bool:
        """Nobody has connected who was not accepted."""
        return not select.select([self.listener], [], [], 0)[0]

    def plan(self, **more: Any) -> UpstreamPlan:
        given = {"name": "up", "host": "127.0.0.1", "port": self.port, "host_header": "up.example"}
        return UpstreamPlan(**(given | more))

    def close(self) -> None:
        for line in self.lines:
            line.close()
        self.listener.close()


class Relay:
    """A worker process."""

    def __init__(self, folder: Path, plan: Plan, listener: socket.socket) -> None:
        self.folder, self.listener = folder, listener
        self.address = listener.getsockname()
        self.plan_file = folder / "plan.json"
        self.lines: list[Line] = []
        self.process: subprocess.Popen[bytes]
        self.start(plan)

    def start(self, plan: Plan) -> None:
        self.plan = plan
        write_plan(plan, self.plan_file)
        command = [
            "-m",
            "collector.relay",
            "--plan",
            str(self.plan_file),
            "--fd",
            str(self.listener.fileno()),
        ]
        with (self.folder / "errors").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *command], pass_fds=[self.listener.fileno()], stderr=errors
            )

    def connect(self, *, receive_buffer: int = 0) -> Line:
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(PATIENCE_S)
        raw.connect(self.address)
        self.lines.append(Line(raw))
        return self.lines[-1]

    def calls(self) -> list[Call]:
        if not self.counters():
            return []  # it has not begun yet
        return JournalReader(self.folder / "journal" / "w0").read(None, 10_000).calls

    def wait_for_calls(self, count: int) -> list[Call]:
        wait_until(lambda: len(self.calls()) >= count)
        calls = self.calls()
        assert len(calls) == count
        return calls

    def counters(self) -> dict[str, int]:
        return read_counters(self.folder / "journal" / "w0" / "counters")

    def wait_for_counter(self, name: str, value: int) -> None:
        wait_until(lambda: self.counters().get(name) == value)

    def wait_until_begun(self) -> None:
        wait_until(lambda: self.counters().get("beats"))

    def rss_mb(self) -> float:
        self.wait_until_begun()
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    def reload(self, plan: Plan) -> None:
        told = self.errors().count('"reloaded"')
        write_plan(plan, self.plan_file)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.errors().count('"reloaded"') > told)
        self.plan = plan

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        """Let go of all clients, and see that it ends by itself and never complained of itself."""
        for line in self.lines:
            line.close()
        if self.process.poll() is None:
            self.wait_until_begun()
            self.process.terminate()
            try:
                assert self.process.wait(PATIENCE_S) == 0
            finally:
                self.process.kill()
        assert "Traceback" not in self.errors()


class FullListener:
    """A server whose queue is full: it answers no handshake, so that connecting takes for ever."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self._listener.getsockname()[1]
        self._waiting = [socket.socket() for _ in range(4)]
        for raw in self._waiting:
            raw.setblocking(False)
            raw.connect_ex(("127.0.0.1", self.port))

    def close(self) -> None:
        for raw in (*self._waiting, self._listener):
            raw.close()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def request(
    body: bytes | None = BODY,
    *lines: bytes,
    method: bytes = b"POST",
    path: bytes = b"/v1/chat/completions",
    version: bytes = b"HTTP/1.1",
) -> bytes:
    length = [] if body is None else [b"Content-Length: %d" % len(body)]
    first = b"%s %s %s" % (method, path, version)
    return b"\r\n".join([first, b"Host: relay.test", *lines, *length, b"", body or b""])


def reply(body: bytes = b"{}", *lines: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body), b"", body])


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture
def say() -> SimpleNamespace:
    """The words of a dialogue."""
    words = (request, reply, chunk, wait_until)
    kinds = {"full_listener": FullListener, "line": Line}
    return SimpleNamespace(BODY=BODY, **kinds, **{word.__name__: word for word in words})


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@contextmanager
def starting(folder: Path) -> Iterator[Callable[..., Relay]]:
    started: list[Relay] = []

    with ExitStack() as listeners:

        def start(*upstreams: UpstreamPlan, limits: dict[str, Any] | None = None, **more: Any) -> Relay:
            own = folder / f"relay{len(started)}"
            own.mkdir()
            plan = Plan(
                journal_dir=str(own / "journal"),
                upstreams=list(upstreams),
                routes=more.pop("routes", None) or [RoutePlan(to=upstreams[0].name)],
                limits=Limits(**{"shutdown_grace_s": 5.0, **(limits or {})}),
                **more,
            )
            listener = listeners.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
            started.append(Relay(own, plan, listener))
            return started[-1]

        yield start
        try:
            for relay in started:
                relay.stop()
        finally:
            for relay in started:
                if relay.process.poll() is None:
                    relay.kill()


@pytest.fixture
def start_relay(tmp_path: Path) -> Iterator[Callable[..., Relay]]:
    """start_relay(upstream plan, ..., routes=[...], limits={...}, and other fields of Plan)."""
    with starting(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def quiet_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Relay, Upstream]]:
    """One relay and its upstream for a whole file of tests that leave nothing behind."""
    server = Upstream()
    with starting(tmp_path_factory.mktemp("relay")) as start:
        yield start(server.plan()), server
    server.close()


@pytest.fixture
def relay(upstream: Upstream, start_relay: Callable[..., Relay]) -> Relay:
    return start_relay(upstream.plan())


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Runs something beside the test, and joins it."""
    threads: list[threading.Thread] = []

    def start(work: Callable[[], object]) -> threading.Thread:
        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
