"""Connections: kept on both sides, one request at a time, ended as each version of HTTP ends them."""

from typing import Any

import pytest


def test_both_connections_are_used_again(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect()
    server = None
    for number in range(20):
        client.send(say.request())
        server = server or upstream.accept()
        assert server.take().body == say.BODY
        server.send(say.reply(b'{"n":%d}' % number))
        assert client.take().body == b'{"n":%d}' % number
    assert upstream.nobody_waits()
    relay.wait_for_counter("calls", 20)
    assert relay.counters()["accepted"] == 1
    assert relay.counters()["upstream_connections"] == 1


def test_the_newest_connection_is_used_first(relay: Any, upstream: Any, say: Any) -> None:
    pairs = []
    for _ in range(2):
        client = relay.connect().send(say.request())
        pairs.append((client, upstream.accept()))
        pairs[-1][1].take()
    for client, server in pairs:
        server.send(say.reply())
        assert client.take().status == 200
    relay.connect().send(say.request())
    assert pairs[1][1].take().body == say.BODY
    assert pairs[0][1].is_silent()


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time(
    relay: Any, upstream: Any, say: Any
) -> None:
    bodies = [b'{"model":"m","n":%d}' % number for number in range(5)]
    client = relay.connect().send(b"".join(say.request(body) for body in bodies))
    server = upstream.accept()
    for body in bodies:
        assert server.take().body == body
        assert server.is_silent()
        assert upstream.nobody_waits()
        server.send(say.reply(body))
    for body in bodies:
        assert client.take().body == body


def test_pipelined_requests_cut_at_every_byte(relay: Any, upstream: Any, say: Any) -> None:
    chunks = (
        say.request(None, b"Transfer-Encoding: chunked") + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
    )
    client = relay.connect()
    client.send_slowly(chunks + say.request(b"{}") + say.request(None, method=b"GET", path=b"/v1/models"))
    server = upstream.accept()
    for body in (b"abcde", b"{}", b""):
        message = server.take()
        assert message.body == body
        assert message.get(b"transfer-encoding") is None
        server.send(say.reply(body + b"!"))
        assert client.take().body == body + b"!"


def test_what_follows_a_refused_request_is_dropped(relay: Any, upstream: Any, say: Any) -> None:
    bad = say.request(b"{}", b"Content-Length: 2")
    client = relay.connect().send(say.request() + bad + say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    assert client.take().status == 400
    client.expect_end()
    relay.connect().send(say.request(b"next"))
    assert server.take().body == b"next"


def test_a_request_that_sizewise_answers_keeps_its_place(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan())
    nowhere = say.request(b"{}", path=b"/to/nobody/v1/chat/completions")
    client = relay.connect().send(nowhere + say.request() + nowhere)
    assert client.take().status == 404
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert [client.take().status, client.take().status] == [200, 404]
    client.send(say.request())
    assert server.take().body == say.BODY


def test_empty_lines_before_a_request_are_ignored(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(b"\r\n\r\n", b"\r", b"\n" + say.request() + b"\r\n")
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    client.send(say.request())
    assert server.take().body == say.BODY


def test_expect_100_continue(relay: Any, upstream: Any, say: Any) -> None:
    head, _, body = say.request(say.BODY, b"Expect: 100-continue").partition(b"\r\n\r\n")
    client = relay.connect().send(head + b"\r\n\r\n")
    client.expect(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send(body)
    server = upstream.accept()
    message = server.take()
    assert (message.body, message.get(b"expect")) == (say.BODY, None)
    server.send(say.reply())
    assert client.take().status == 200
    client.send(head + b"\r\n\r\n" + body)  # did not wait: no 100
    server.take()
    server.send(say.reply())
    assert client.take().status == 200


def test_no_100_for_a_body_that_is_refused(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"body_bytes": 10})
    head = say.request(say.BODY, b"Expect: 100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    client = relay.connect().send(head)
    assert client.take().status == 413
    client.expect_end()


@pytest.mark.parametrize(
    ("lines", "stays"), [([], False), ([b"Connection: keep-alive"], True), ([b"Connection: close"], False)]
)
def test_http10(relay: Any, upstream: Any, say: Any, lines: list[bytes], stays: bool) -> None:
    client = relay.connect().send(say.request(say.BODY, *lines, version=b"HTTP/1.0"))
    server = upstream.accept()
    message = server.take()
    assert message.first == b"POST /v1/chat/completions HTTP/1.1"
    server.send(say.reply())
    answer = client.take()
    assert answer.get(b"connection") == (b"keep-alive" if stays else b"close")
    if stays:
        client.send(say.request(say.BODY, *lines, version=b"HTTP/1.0"))
    else:
        client.expect_end()
        relay.connect().send(say.request())
    assert server.take().body == say.BODY  # the upstream's connection stays in either case


def test_connection_close_is_between_client_and_relay(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request(say.BODY, b"Connection: close") + say.request(b"never"))
    server = upstream.accept()
    assert server.take().get(b"connection") is None
    server.send(say.reply())
    assert client.take().get(b"connection") == b"close"
    client.expect_end()
    relay.connect().send(say.request(b"next"))
    assert server.take().body == b"next"


def test_an_upstream_that_closes_after_its_reply(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect()
    for _ in range(2):
        client.send(say.request())
        server = upstream.accept()
        server.take()
        server.send(say.reply(b"{}", b"Connection: close"))
        assert client.take().get(b"connection") is None
        server.expect_end()


def test_garbage_on_an_idle_connection_closes_it(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    server.send(say.reply(b"evil"))
    server.expect_end()
    client.send(say.request())
    other = upstream.accept()
    other.take()
    other.send(say.reply(b"good"))
    assert client.take().body == b"good"


def test_more_than_a_reply_reaches_nobody(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect()
    for right in (
        say.reply(b"right"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n",
    ):
        client.send(say.request())
        server = upstream.accept()
        server.take()
        server.send(right + say.reply(b"evil"))
        assert client.take().body == b"right"
        server.expect_end()
    client.send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply(b"good"))
    assert client.take().body == b"good"


def test_a_head_request_has_no_body_whatever_its_reply_says(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect()
    client.send(say.request(None, method=b"HEAD", path=b"/v1/models"))
    server = upstream.accept()
    server.take()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    answer = client.take(bodiless=True)
    assert answer.get(b"content-length") == b"500"
    client.send(say.request(None, method=b"HEAD", path=b"/to/nobody/x"))
    assert client.take(bodiless=True).status == 404
    client.send(say.request())
    assert server.take().body == say.BODY
    server.send(say.reply())
    assert client.take().first == b"HTTP/1.1 200 OK"


def test_several_clients_share_the_upstreams_connections(relay: Any, upstream: Any, say: Any) -> None:
    clients = [relay.connect() for _ in range(5)]
    for client in clients:
        client.send(say.request())
        if client is clients[0]:
            server = upstream.accept()
        server.take()
        server.send(say.reply())
        assert client.take().status == 200
    assert upstream.nobody_waits()
