"""Replies of every framing, cut anywhere, and what is none; bodies and headers of both ways untouched."""

import gzip
import random
from typing import Any

import pytest

from collector.plan import RoutePlan

EVENTS = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'


def exchange(relay: Any, upstream: Any, say: Any, raw: bytes, **more: Any) -> tuple[Any, Any, Any]:
    """One request of a new client, answered by `raw`."""
    client = relay.connect().send(say.request(**more))
    server = upstream.accept()
    message = server.take()
    server.send(raw)
    return client, server, message


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (b"204 No Content", b""),
        (b"304 Not Modified", b"ETag: x\r\n"),
        (b"304 Not Modified", b"Content-Length: 500\r\n"),
    ],
)
def test_a_reply_without_a_body(relay: Any, upstream: Any, say: Any, status: bytes, lines: bytes) -> None:
    client, server, _ = exchange(relay, upstream, say, b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n")
    client.expect(b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n")
    client.send(say.request())
    assert server.take().body == say.BODY


def test_hints_before_the_reply(relay: Any, upstream: Any, say: Any) -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2000
    client, server, _ = exchange(relay, upstream, say, hints)
    server.send(say.reply(b"one"))
    assert client.take().body == b"one"
    client.send(say.request())
    server.take()
    server.send_slowly(hints[: hints.index(b"</x>") + 8] + say.reply(b"two"))
    assert client.take().body == b"two"


def test_a_switch_of_protocols_is_refused(relay: Any, upstream: Any, say: Any) -> None:
    client, server, _ = exchange(
        relay, upstream, say, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\nevil"
    )
    answer = client.take()
    assert (answer.status, answer.get(b"x-sizewise-error")) == (502, b"bad_reply")
    server.expect_end()


def test_trailers_reach_the_client(relay: Any, upstream: Any, say: Any) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" + say.chunk(b"Hello")
    client, server, _ = exchange(relay, upstream, say, raw + b"0\r\nX-Sum: 5\r\n\r\n")
    answer = client.take()
    assert (answer.body, answer.trailers, answer.get(b"trailer")) == (b"Hello", b"X-Sum: 5\r\n", b"X-Sum")
    client.send(say.request())
    assert server.take().body == say.BODY


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_a_reply_that_ends_with_its_connection(relay: Any, upstream: Any, say: Any, version: bytes) -> None:
    client, server, _ = exchange(
        relay, upstream, say, b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nHel", version=version
    )
    server.send(b"lo").close()
    answer = client.take()
    assert answer.body == b"Hello"
    assert answer.get(b"transfer-encoding") == (b"chunked" if version == b"HTTP/1.1" else None)
    assert answer.get(b"connection") == (None if version == b"HTTP/1.1" else b"close")


def test_an_old_client_gets_no_chunks(relay: Any, upstream: Any, say: Any) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + say.chunk(b"Hel") + say.chunk(b"lo")
    client, server, _ = exchange(relay, upstream, say, raw + b"0\r\n\r\n", version=b"HTTP/1.0")
    assert client.take().body == b"Hello"
    relay.connect().send(say.request())
    assert server.take().body == say.BODY


@pytest.mark.parametrize("framing", ["length", "chunks", "until closed"])
def test_a_reply_cut_at_every_byte(relay: Any, upstream: Any, say: Any, framing: str) -> None:
    kind = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    raw = {
        "length": kind + b"Content-Length: %d\r\n\r\n" % len(EVENTS) + EVENTS,
        "chunks": kind + b"Transfer-Encoding: chunked\r\n\r\n" + say.chunk(EVENTS) + b"0\r\n\r\n",
        "until closed": kind + b"\r\n" + EVENTS,
    }[framing]
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send_slowly(raw)
    server.half_close()
    assert client.take().body == EVENTS
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.stream, call.status) == ("ok", True, 200)


NO_REPLY = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "both": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another version": b"HTTP/2 200\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 2\r\n\r\n{}",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000,
    "a bad chunk at once": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("case", NO_REPLY)
def test_what_is_no_reply(case: str, relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send_ignoring_end(NO_REPLY[case])
    answer = client.take()
    assert (answer.status, answer.get(b"x-sizewise-error")) == (502, b"bad_reply")
    assert b'"error"' in answer.body
    server.expect_end()
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.error_type) == ("upstream_cut", "bad_reply")


def test_equal_lengths_reach_the_client_as_one(relay: Any, upstream: Any, say: Any) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"
    client, _, _ = exchange(relay, upstream, say, raw)
    assert client.take().get(b"content-length") == b"2"


def test_headers_of_a_reply(relay: Any, upstream: Any, say: Any) -> None:
    lines = [b"X-B: 1", b"x-a: 2", b"SERVER: s", b"Set-Cookie: a", b"Set-Cookie: b", b"X-B: 3"]
    between = [b"Connection: keep-alive, X-Hop", b"Keep-Alive: timeout=5", b"X-Hop: 1", b"Upgrade: h2"]
    client, _, _ = exchange(relay, upstream, say, say.reply(b"{}", *lines, *between))
    assert client.take().head == b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"content-length: 2", b"", b""])


def test_headers_of_a_request(start_relay: Any, upstream: Any, say: Any) -> None:
    plan = upstream.plan(base_path="/api", headers={"Authorization": "Bearer ours"})
    client = start_relay(plan).connect()
    lines = [b"X-B: 1", b"x-a: 2", b"ACCEPT: */*", b"X-B: 3"]
    between = [
        b"Connection: X-Hop",
        b"X-Hop: 1",
        b"TE: trailers",
        b"X-Sizewise-Team: t",
        b"x-api-key: theirs",
    ]
    client.send(
        say.request(b"{}", *lines, *between, b"authorization: Bearer theirs", path=b"/to/up/v1/x?y=%20")
    )
    assert upstream.accept().take().head == b"\r\n".join(
        [b"POST /api/v1/x?y=%20 HTTP/1.1", b"host: up.example", *lines, b"authorization: Bearer ours",
         b"content-length: 2", b"", b""]
    )  # fmt: skip


BODIES = {
    "binary": random.Random(7).randbytes(100_000),
    "compressed": gzip.compress(b'{"model":"m"}' * 1000),
    "multipart": b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n--x--\r\n',
    "empty": b"",
    "no JSON": b'{"model": "m", ',
    "a model that no UTF-8 can hold": b'{"model":"\\ud800","stream":true}',
    "a model with a NUL": b'{"model":"a\\u0000b"}',
    "deeply nested": b'{"model":"m","x":' + b"[" * 50_000,
    "spaces and order": b' \n{ "stream" : false, "model":"m" ,"a":1.0e5}\n',
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("case", BODIES)
def test_bodies_pass_as_they_are(case: str, chunked: bool, relay: Any, upstream: Any, say: Any) -> None:
    body = BODIES[case]
    client = relay.connect()
    if chunked:
        client.send(say.request(None, b"Transfer-Encoding: chunked"))
        for at in range(0, len(body), 3000):
            client.send(say.chunk(body[at : at + 3000]))
        client.send(b"0\r\n\r\n")
    else:
        client.send(say.request(body))
    server = upstream.accept()
    assert server.take().body == body
    server.send(say.reply(body, b"Content-Type: application/octet-stream"))
    assert client.take().body == body
    (call,) = relay.wait_for_calls(1)
    assert (call.request_bytes, call.outcome) == (len(body), "ok")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_streams_on_before_it_is_whole(
    chunked: bool, start_relay: Any, upstream: Any, say: Any, in_thread: Any
) -> None:
    relay = start_relay(upstream.plan(), limits={"sniff_bytes": 1 << 20})
    image = random.Random(7).randbytes(30_000).hex().encode() * 350  # 21 MB
    body = b'{"model":"early","image":"' + image + b'","model":"late"}'
    frame = say.chunk if chunked else bytes
    client = relay.connect()
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    client.send(say.request(None, length), frame(body[: 4 << 20]))
    server = upstream.accept()
    head = server.read_until(b"\r\n\r\n")
    assert (b"transfer-encoding: chunked" in head) is chunked
    got = server.read(3 << 20)  # while the client has sent only a part
    import threading

    rest = threading.Thread(
        target=lambda: client.send(frame(body[4 << 20 :]), b"0\r\n\r\n" if chunked else b"")
    )
    rest.start()
    if chunked:
        server._ahead = got + server._ahead
        server._ahead = head + server._ahead
        assert server.take().body == body
    else:
        assert got + server.read(len(body) - len(got)) == body
    rest.join()
    server.send(say.reply())
    assert client.take().status == 200
    (call,) = relay.wait_for_calls(1)
    assert (call.model, call.request_bytes) == ("early", len(body))


def test_a_model_behind_the_sniff_limit_takes_the_fallback_route(
    start_relay: Any, upstream: Any, say: Any
) -> None:
    routes = [RoutePlan(to="up", model="m*", name="known"), RoutePlan(to="up", name="rest")]
    relay = start_relay(upstream.plan(), routes=routes, limits={"sniff_bytes": 1000})
    client = relay.connect().send(say.request(b'{"image":"' + b"a" * 300_000 + b'","model":"m"}'))
    server = upstream.accept()
    assert server.take().body.endswith(b'"model":"m"}')
    server.send(say.reply())
    assert client.take().status == 200
    (call,) = relay.wait_for_calls(1)
    assert (call.route, call.model) == ("rest", "")
