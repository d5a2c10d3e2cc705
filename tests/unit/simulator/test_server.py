"""HTTP/1.1 on bare sockets: what a proxy in front of the simulator relies on."""

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import pytest

from collector.simulator import Entry, Simulator, start_simulator

Talk = Callable[..., socket.socket]


def post(
    wish: str, *, model: str = "tiny-llama", stream: bool = False, head: str = "", version: str = "1.1"
) -> bytes:
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]})
    return (
        f"POST /v1/chat/completions HTTP/{version}\r\nhost: x\r\nx-sim: {wish}\r\n{head}"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode()


def read_reply(sock: socket.socket, method: str = "POST") -> tuple[http.client.HTTPResponse, bytes]:
    with http.client.HTTPResponse(sock, method=method) as reply:
        reply.begin()
        return reply, reply.read()


def read_all(sock: socket.socket) -> bytes:
    """Up to the end of the connection."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


class _KeptOpen:
    """A file for http.client, which closes the file of each reply it has read."""

    def __init__(self, file: BinaryIO):
        self.readline, self.read, self.readinto = file.readline, file.read, file.readinto  # type: ignore[attr-defined]

    def close(self) -> None: ...

    def flush(self) -> None: ...


def wait_for(simulator: Simulator, found: Callable[[Entry], bool]) -> Entry:
    for _ in range(500):
        for entry in simulator.entries():
            if found(entry):
                return entry
        time.sleep(0.01)
    raise AssertionError("the truth log has no such entry")


def test_a_connection_is_kept_for_many_requests(talk: Talk) -> None:
    sock = talk(b"")
    for stream in (False, True, False, True):
        sock.sendall(post("tokens=2", stream=stream))
        reply, body = read_reply(sock)
        assert reply.status == 200
        assert body
        assert not reply.will_close


def test_pipelined_requests_are_answered_in_order(talk: Talk) -> None:
    wishes = [
        ("tokens=30 gap_ms=1", True),
        ("tokens=1", False),
        ("tokens=2", True),
        ("status=500", False),
    ] * 30
    sock = talk(
        b"".join(
            post(wish, stream=stream, head=f"x-request-id: p{at}\r\n")
            for at, (wish, stream) in enumerate(wishes)
        )
    )
    with sock.makefile("rb") as buffered:
        for at, (wish, stream) in enumerate(wishes):
            reply = http.client.HTTPResponse(sock, method="POST")
            # It reads ahead, so that all replies must be read from one file.
            reply.fp.close()
            reply.fp = cast(Any, _KeptOpen(buffered))
            reply.begin()
            body = reply.read()
            assert reply.status == (500 if "status" in wish else 200)
            if reply.status == 200:
                assert f'"id":"chatcmpl-p{at}"'.encode() in body
            assert (b"data: [DONE]" in body) == stream


def test_a_request_may_come_in_chunks_and_byte_by_byte(talk: Talk) -> None:
    body = b'{"model":"tiny-llama","max_tokens":2,"messages":[{"role":"user","content":"Hi"}]}'
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + 9]), body[at : at + 9]) for at in range(0, len(body), 9)
    )
    sock = talk(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for byte in chunks + b"0\r\n\r\n":
        sock.sendall(bytes([byte]))
    reply, answer = read_reply(sock)
    assert (reply.status, json.loads(answer)["usage"]["completion_tokens"]) == (200, 2)


def test_a_body_that_waits_is_asked_for(talk: Talk) -> None:
    head, _, body = post("tokens=1", head="expect: 100-continue\r\n").partition(b"\r\n\r\n")
    sock = talk(head + b"\r\n\r\n")
    assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(body)
    assert read_reply(sock)[0].status == 200


@pytest.mark.parametrize("path", ["/health", "/version", "/metrics", "/v1/models"])
def test_head_is_get_without_a_body(talk: Talk, path: str) -> None:
    both = (
        f"HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\nGET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    sock = talk(both.encode())
    first, _, rest = read_all(sock).partition(b"\r\n\r\n")
    second, _, body = rest.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 200")
    assert f"content-length: {len(body)}".encode() in first.lower()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(talk: Talk, request_bytes: bytes) -> None:
    assert read_all(talk(request_bytes)).startswith(b"HTTP/1.1 400")


def test_a_target_may_be_absolute(talk: Talk) -> None:
    sock = talk(b"GET http://x/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert read_all(sock).endswith(b'{"version":"0.32.0"}')


def test_an_old_client_gets_no_chunks(talk: Talk) -> None:
    reply, body = read_reply(talk(post("tokens=3", stream=True, version="1.0")))
    assert reply.will_close
    assert reply.getheader("transfer-encoding") is None
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "wish",
    ["one_byte_writes=1", "read_until_close=1", "http10=1", "gzip=force", "slow_head_ms=20", "huge_kb=2048"],
)
def test_framing_leaves_the_body_alone(talk: Talk, stream: bool, wish: str) -> None:
    reply, body = read_reply(talk(post(f"tokens=5 {wish}", stream=stream)))
    if wish.startswith("gzip"):
        assert reply.getheader("content-encoding") == "gzip"
        body = gzip.decompress(body)
    assert reply.version == (10 if wish.startswith("http10") else 11)
    assert reply.will_close == wish.startswith(("read_until_close", "http10"))
    lines = body.decode().split("\n") if stream else [f"data: {body.decode()}"]
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    said = [choice.get("delta", choice.get("message"))["content"] for e in events for choice in e["choices"]]
    assert sum(map(bool, said)) == (5 if stream else 1)
    assert (len(body) > 2_000_000) == wish.startswith("huge")


def test_gzip_only_when_it_is_accepted(talk: Talk) -> None:
    assert read_reply(talk(post("gzip=1")))[0].getheader("content-encoding") is None
    asked = talk(post("gzip=1", head="accept-encoding: gzip, br\r\n"))
    assert read_reply(asked)[0].getheader("content-encoding") == "gzip"


def test_lines_may_end_with_cr_lf(talk: Talk) -> None:
    _, body = read_reply(talk(post("tokens=2 crlf=1", stream=True)))
    assert body.endswith(b"\r\n\r\ndata: [DONE]\r\n\r\n")
    assert body.count(b"\n") == body.count(b"\r\n")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["tiny-llama", "gpt-4o"])
def test_a_cut_ends_in_the_middle(simulator: Simulator, talk: Talk, stream: bool, model: str) -> None:
    sock = talk(
        post("tokens=9 cut_after=4", stream=stream, model=model, head=f"x-request-id: cut{stream}{model}\r\n")
    )
    with pytest.raises(http.client.IncompleteRead):
        read_reply(sock)
    truth = wait_for(simulator, lambda entry: entry.request_id == f"cut{stream}{model}")
    assert (truth.outcome, truth.completion_tokens) == ("cut", 4 if stream else 9)


@pytest.mark.parametrize("stream", [False, True])
def test_a_reset_is_a_reset(simulator: Simulator, talk: Talk, stream: bool) -> None:
    sock = talk(post("tokens=9 reset_after=4 gap_ms=1", stream=stream, head=f"x-request-id: rst{stream}\r\n"))
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        read_reply(sock)
    assert wait_for(simulator, lambda entry: entry.request_id == f"rst{stream}").outcome == "reset"


def test_a_stall_lasts_until_the_client_goes(simulator: Simulator, talk: Talk) -> None:
    sock = talk(post("tokens=9 stall_after=3", stream=True, head="x-request-id: stall\r\n"))
    seen = b""
    while seen.count(b"data: ") < 4:
        seen += sock.recv(65536)
    sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    sock.close()
    truth = wait_for(simulator, lambda entry: entry.request_id == "stall")
    assert (truth.outcome, truth.completion_tokens) == ("stalled", 3)


def test_a_dead_engine_is_told_as_vllm_tells_it(talk: Talk) -> None:
    reply, body = read_reply(talk(post("tokens=9 engine_death_after=2", stream=True)))
    *_, error, done = body.decode().split("\n\n")[:-1]
    assert reply.status == 200
    assert json.loads(error[6:])["error"]["code"] == 500
    assert done == "data: [DONE]"
    assert b'"usage"' not in body
    assert read_reply(talk(post("tokens=9 engine_death_after=2")))[0].status == 500


@pytest.mark.parametrize("stream", [False, True])
def test_generation_stops_when_the_client_goes(stream: bool) -> None:
    with start_simulator() as simulator:
        sock = socket.create_connection((simulator.host, simulator.port))
        sock.sendall(post("tokens=5000 gap_ms=5", stream=stream))
        if stream:
            assert sock.recv(100)
        time.sleep(0.1)
        assert 'vllm:num_requests_running{engine="0",model_name="tiny-llama"} 1.0' in read_metrics(simulator)
        sock.close()
        truth = wait_for(simulator, lambda _: True)
        assert truth.outcome == "aborted"
        assert 0 < truth.completion_tokens < 5000
        shown = read_metrics(simulator)
        generated = 'vllm:generation_tokens_total{engine="0",model_name="tiny-llama"}'
        assert f"{generated} {float(truth.completion_tokens)}" in shown
        assert 'vllm:num_requests_running{engine="0",model_name="tiny-llama"} 0.0' in shown
        assert 'finished_reason="stop",model_name="tiny-llama"} 0.0' in shown
        assert 'sim:requests_aborted_total{model_name="tiny-llama"} 1' in shown


def read_metrics(simulator: Simulator) -> str:
    connection = http.client.HTTPConnection(simulator.host, simulator.port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_a_slow_reader_slows_the_generation() -> None:
    """More than any buffer holds, to a client that does not read: the simulator waits with the rest."""
    with start_simulator() as simulator:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect((simulator.host, simulator.port))
        sock.sendall(post("tokens=100000", stream=True))
        time.sleep(0.2)
        assert simulator.entries() == []
        _, body = read_reply(sock)
        assert body.endswith(b"data: [DONE]\n\n")
        assert simulator.entries()[0].completion_tokens == 100_000
        sock.close()


def test_hundreds_of_streams_at_once(simulator: Simulator) -> None:
    ends: list[int] = []

    def read_some() -> None:
        socks = [socket.create_connection((simulator.host, simulator.port), timeout=30) for _ in range(50)]
        for sock in socks:
            sock.sendall(post("tokens=20 gap_ms=10", stream=True, head="x-request-id: crowd\r\n"))
        for sock in socks:
            ends.append(read_reply(sock)[1].count(b"data: "))
            sock.close()

    threads = [threading.Thread(target=read_some) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [22] * 300
    assert sum(entry.request_id == "crowd" for entry in simulator.entries()) == 300
