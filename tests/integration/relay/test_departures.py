"""Clients that leave: the upstream is dropped at once, and the call says so. By event: no clock is read."""

from typing import Any

import pytest

EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def check_left(relay: Any) -> Any:
    (call,) = relay.wait_for_calls(1)
    assert call.outcome == "client_left"
    relay.wait_for_counter("under_way", 0)
    relay.wait_for_counter("upstream_connections", 0)
    return call


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
@pytest.mark.parametrize("when", ["waiting", "head", "stream"])
def test_a_client_that_leaves(how: str, when: str, relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    if when == "head":
        server.send(HEAD)
        client.read_until(b"\r\n\r\n")
    elif when == "stream":
        server.send(HEAD, say.chunk(EVENT))
        client.read_until(b"\n\n\r\n")
    getattr(client, how)()
    server.expect_end()
    assert check_left(relay).status == (0 if when == "waiting" else 200)


def test_before_the_request_is_whole(relay: Any, upstream: Any, say: Any) -> None:
    relay.connect().send(say.request()[:-3]).close()
    check_left(relay)
    assert upstream.nobody_waits()


def test_while_the_upstream_is_being_connected(start_relay: Any, upstream: Any, say: Any) -> None:
    """A server whose queue is full answers no handshake."""
    full = say.full_listener()
    try:
        relay = start_relay(upstream.plan(port=full.port))
        client = relay.connect().send(say.request())
        relay.wait_for_counter("under_way", 1)
        client.close()
        check_left(relay)
    finally:
        full.close()


def test_while_it_does_not_read(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect(receive_buffer=4096).send(say.request())
    server = upstream.accept()
    server.take()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
    assert server.fill() < 100_000_000
    client.reset()
    check_left(relay)


def test_while_its_upload_is_paused(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"sniff_bytes": 1000, "buffer_bytes": 65536})
    client = relay.connect().send(say.request(None, b"Content-Length: 200000000"))
    relay.wait_until_begun()
    assert client.fill() < 100_000_000
    client.reset()
    check_left(relay)


def test_with_requests_waiting(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request() + say.request(b"never") * 3)
    server = upstream.accept()
    server.take()
    client.close()
    server.expect_end()
    check_left(relay)
    assert upstream.nobody_waits()


def test_with_more_requests_waiting_than_are_held(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request() + say.request(b"x" * 90_000) * 2)
    server = upstream.accept()
    server.take()
    client.close()
    server.expect_end()
    check_left(relay)


def test_an_upstream_that_bills_anyway_is_read_to_its_end(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(drain_s=60.0))
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(HEAD, say.chunk(EVENT))
    client.read_until(b"\n\n\r\n")
    relay.wait_for_counter("clients", 1)
    client.close()
    relay.wait_for_counter("clients", 0)
    usage = (
        b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
    )
    server.send(say.chunk(usage), b"0\r\n\r\n")
    (call,) = relay.wait_for_calls(1)
    assert call.outcome == "client_left"
    assert call.usage is not None
    relay.connect().send(say.request(b"next"))
    assert server.take().body == b"next"


def test_a_paused_upstream_is_read_on_when_its_client_left(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(drain_s=60.0))
    client = relay.connect(receive_buffer=4096).send(say.request())
    server = upstream.accept()
    server.take()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
    sent = server.fill()
    client.reset()
    server.send(bytes(200_000_000 - sent))
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.response_bytes > 200_000_000) == ("client_left", True)


def test_draining_ends(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(drain_s=0.3))
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    client.close()
    server.expect_end()
    check_left(relay)


def test_a_stale_connection_is_not_replaced_for_a_client_that_left(
    start_relay: Any, upstream: Any, say: Any
) -> None:
    relay = start_relay(upstream.plan(drain_s=60.0))
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    client.send(say.request())
    server.take()
    relay.wait_for_counter("clients", 1)
    client.close()
    relay.wait_for_counter("clients", 0)
    server.close()
    assert relay.wait_for_calls(2)[1].outcome == "client_left"
    assert upstream.nobody_waits()
