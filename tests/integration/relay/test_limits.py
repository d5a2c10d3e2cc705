"""Limits in time, size and number: each answered in words, and memory bounded whoever doesn't read."""

import socket
from typing import Any

import pytest

BOUND_MB = 12  # two buffers, the kernel's own share not counted


def test_a_slow_head(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"head_timeout_s": 0.4})
    client = relay.connect().send(b"GET / HTTP/1.1\r\nHost: ")
    answer = client.take()
    assert (answer.status, answer.get(b"x-sizewise-error")) == (408, b"head_timeout")
    client.expect_end()


def test_a_slow_second_head(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"head_timeout_s": 0.4})
    client = relay.connect().send(say.request(), b"GET /")
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert [client.take().status, client.take().status] == [200, 408]
    client.expect_end()


def test_a_slow_body(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"head_timeout_s": 0.4})
    client = relay.connect().send(say.request()[:-1])
    answer = client.take()
    assert (answer.status, answer.get(b"x-sizewise-error")) == (408, b"upload_timeout")
    client.expect_end()
    assert relay.wait_for_calls(1)[0].outcome == "refused"
    assert upstream.nobody_waits()


def test_a_slow_body_that_streams(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"head_timeout_s": 0.4, "sniff_bytes": 10})
    client = relay.connect().send(say.request()[:-1])
    server = upstream.accept()
    server.read_until(b"\r\n\r\n")
    assert client.take().get(b"x-sizewise-error") == b"upload_timeout"
    assert len(server.rest()) == len(say.BODY) - 1
    assert relay.wait_for_calls(1)[0].outcome == "refused"


@pytest.mark.parametrize("limits", [{"idle_timeout_s": 0.4}, {"total_timeout_s": 0.4}])
def test_an_upstream_that_says_nothing(
    limits: dict[str, float], start_relay: Any, upstream: Any, say: Any
) -> None:
    relay = start_relay(upstream.plan(), limits=limits)
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    answer = client.take()
    assert (answer.status, answer.get(b"x-sizewise-error")) == (504, b"upstream_timeout")
    server.expect_end()
    assert relay.wait_for_calls(1)[0].outcome == "upstream_unreachable"


def test_an_upstream_that_falls_silent(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"idle_timeout_s": 0.4})
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.send(say.chunk(b'data: {"choices":[]}\n\n'))
    assert b"upstream_timeout" in client.rest()
    server.expect_end()
    assert relay.wait_for_calls(1)[0].outcome == "upstream_cut"


def test_idle_connections_are_closed_on_both_sides(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"keepalive_timeout_s": 0.4})
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    client.expect_end()
    server.expect_end()


def test_a_body_over_the_limit_by_its_length(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"body_bytes": 1000})
    client = relay.connect().send(say.request(bytes(1000)))
    assert upstream.accept().take().body == bytes(1000)
    for more in (b"", bytes(500), bytes(1001)):
        client = relay.connect().send(say.request(None, b"Content-Length: 1001") + more)
        answer = client.take()
        assert (answer.status, answer.get(b"x-sizewise-error")) == (413, b"body_too_large")
        if answer.get(b"connection") == b"close":
            client.expect_end()
        else:
            assert len(more) == 1001  # nothing of it is still to come
    assert upstream.nobody_waits()


@pytest.mark.parametrize("sniff_bytes", [1 << 20, 500])
def test_a_body_over_the_limit_by_its_chunks(
    sniff_bytes: int, start_relay: Any, upstream: Any, say: Any
) -> None:
    relay = start_relay(upstream.plan(), limits={"body_bytes": 2000, "sniff_bytes": sniff_bytes})
    client = relay.connect().send(say.request(None, b"Transfer-Encoding: chunked"))
    client.send(say.chunk(bytes(1000)))
    if sniff_bytes == 500:
        server = upstream.accept()
        server.read_until(b"\r\n\r\n")
    client.send(say.chunk(bytes(1001)))
    answer = client.take()
    assert (answer.status, answer.get(b"x-sizewise-error")) == (413, b"body_too_large")
    client.expect_end()
    if sniff_bytes == 500:
        assert b"0\r\n\r\n" not in server.rest()  # it never looks whole
    assert upstream.nobody_waits()


def test_too_many_connections_wait_their_turn(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"connections_per_worker": 2})
    clients = [relay.connect().send(say.request(b"%d" % number)) for number in range(4)]
    served = [upstream.accept(), upstream.accept()]
    assert {server.take().body for server in served} == {b"0", b"1"}
    relay.wait_for_counter("clients", 2)
    assert relay.counters()["accepted"] == 2
    assert upstream.nobody_waits()
    for client in clients[:2]:
        client.close()
    assert {upstream.accept().take().body for _ in range(2)} == {b"2", b"3"}


def test_a_client_that_reads_slowly_holds_the_upstream_back(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect(receive_buffer=65536).send(say.request())
    server = upstream.accept()
    server.take()
    before_mb = relay.rss_mb()
    size = 100_000_000
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    sent = server.fill(size)
    assert sent < size // 2
    client.read_until(b"\r\n\r\n")
    got = 0
    while got < size:
        got += len(client.read(min(2 << 20, size - got)))
        sent += server.fill(size - sent, 1) if sent < size else 0
        assert relay.rss_mb() - before_mb < BOUND_MB
    client.send(say.request(b"next"))
    assert server.take().body == b"next"


def test_a_reply_that_ended_while_paused_leaves_a_connection_that_is_read(
    start_relay: Any, upstream: Any, say: Any
) -> None:
    relay = start_relay(upstream.plan(), limits={"buffer_bytes": 4096})
    relay.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # its connections inherit it
    relay.connect(receive_buffer=4096).send(say.request())  # and never reads
    server = upstream.accept()
    server.take()
    server.send(say.reply(bytes(60_000)))
    relay.wait_for_calls(1)  # it has read the end, and has nowhere to put it
    other = relay.connect()
    for number in range(3):
        other.send(say.request(b"%d" % number))
        assert server.take().body == b"%d" % number
        server.send(say.reply(b"fine"))
        assert other.take().body == b"fine"


def test_an_upload_to_a_stalled_upstream_holds_the_client_back(
    start_relay: Any, upstream: Any, say: Any
) -> None:
    relay = start_relay(upstream.plan(), limits={"sniff_bytes": 1 << 20})
    before_mb = relay.rss_mb()
    size = 100_000_000
    client = relay.connect().send(say.request(None, b"Content-Length: %d" % size))
    relay.wait_until_begun()
    sent = client.fill(size)
    assert sent < size // 2
    assert relay.rss_mb() - before_mb < BOUND_MB + 4
    server = upstream.accept()
    server.read_until(b"\r\n\r\n")
    got = 0
    while got < size:
        got += len(server.read(min(2 << 20, size - got)))
        sent += client.fill(size - sent, 1) if sent < size else 0
        assert relay.rss_mb() - before_mb < BOUND_MB + 4
    server.send(say.reply())
    assert client.take().status == 200


def test_a_client_that_asks_and_never_reads_is_not_answered_into_memory(
    relay: Any, upstream: Any, say: Any
) -> None:
    """Each reply is short enough to be read at once, and there are many of them."""
    asking = relay.connect(receive_buffer=4096)
    before_mb = relay.rss_mb()
    body, answered = bytes(100_000), 0
    server = None
    while answered < 400:
        asking.send(say.request())
        server = server or upstream.accept()
        if server.is_silent_for_long():
            break
        server.take()
        server.send(say.reply(body))
        answered += 1
    assert server is not None
    assert answered < 200
    assert relay.rss_mb() - before_mb < BOUND_MB
    for _ in range(answered):
        assert asking.take().body == body
    assert server.take().body == say.BODY  # and goes on
