"""Upstreams that are dead, break off, hang or can't be trusted: an answer in the API's shape, no hang."""

import json
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def check_error(answer: Any, status: int, code: bytes) -> dict[str, Any]:
    assert (answer.status, answer.get(b"x-sizewise-error")) == (status, code)
    assert answer.get(b"content-type") == b"application/json"
    error: dict[str, Any] = json.loads(answer.body)["error"]
    assert error["code"] == code.decode()
    assert error["message"].endswith(".")
    return error


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/messages", b"/v1/models"])
def test_a_dead_upstream(start_relay: Any, upstream: Any, say: Any, path: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    relay = start_relay(upstream.plan(port=port))
    client = relay.connect()
    for _ in range(2):  # the client's connection stays
        client.send(say.request(path=path))
        answer = client.take()
        check_error(answer, 502, b"upstream_unreachable")
        assert (b'"type":"error"' in answer.body) is (path == b"/v1/messages")
    if path != b"/v1/models":
        calls = relay.wait_for_calls(2)
        assert {call.outcome for call in calls} == {"upstream_unreachable"}
        assert {call.error_type for call in calls} == {"upstream_unreachable"}


def test_a_name_that_is_none(start_relay: Any, upstream: Any, say: Any) -> None:
    for host in ("nobody.invalid", "a" * 64 + ".invalid", "a..b"):
        client = start_relay(upstream.plan(host=host)).connect().send(say.request())
        check_error(client.take(), 502, b"upstream_unreachable")


def test_an_upstream_that_accepts_nobody(start_relay: Any, upstream: Any, say: Any) -> None:
    full = say.full_listener()
    try:
        relay = start_relay(upstream.plan(port=full.port), limits={"connect_timeout_s": 0.2})
        client = relay.connect().send(say.request())
        check_error(client.take(), 504, b"upstream_timeout")
        assert relay.wait_for_calls(1)[0].outcome == "upstream_unreachable"
    finally:
        full.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_an_upstream_that_goes_before_it_answers(
    relay: Any, upstream: Any, say: Any, how: str, after: bytes
) -> None:
    """A fresh connection: nobody is asked a second time."""
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(after)
    getattr(server, how)()
    check_error(client.take(), 502, b"upstream_closed")
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.attempts) == ("upstream_unreachable", 1)
    assert upstream.nobody_waits()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_upstream_that_goes_in_mid_reply(relay: Any, upstream: Any, say: Any, how: str) -> None:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    getattr(server, how)()
    client.expect_end()
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.status, call.error_type) == ("upstream_cut", 200, "upstream_cut")


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("body", [b'{"model":"m","stream":true}', b'{"model":"m"}'])
def test_a_stream_that_breaks_off_says_so(relay: Any, upstream: Any, say: Any, how: str, body: bytes) -> None:
    client = relay.connect().send(say.request(body))
    server = upstream.accept()
    server.take()
    server.send(HEAD, say.chunk(EVENT))
    assert client.read_until(b"\n\n\r\n").endswith(say.chunk(EVENT))
    getattr(server, how)()
    rest = client.rest()
    assert rest.endswith(b"\n\n\r\n")  # no last chunk: it is not whole
    event = rest.split(b"\r\n")[1]
    assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "upstream_cut"
    assert relay.wait_for_calls(1)[0].outcome == "upstream_cut"


def test_an_engine_that_dies_in_mid_stream_is_an_error(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    last = b'data: {"error":{"message":"dead","type":"InternalServerError","code":500}}\n\ndata: [DONE]\n\n'
    server.send(HEAD, say.chunk(EVENT + last), b"0\r\n\r\n")
    assert client.take().body == EVENT + last
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.status, call.error_type) == ("error", 200, "InternalServerError")
    assert call.usage_source != "reported"


def use_once(relay: Any, upstream: Any, say: Any) -> tuple[Any, Any]:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    return client, server


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stale_connection_is_replaced_once(relay: Any, upstream: Any, say: Any, how: str) -> None:
    client, server = use_once(relay, upstream, say)
    client.send(say.request(b'{"n":1}'))
    server.take()
    getattr(server, how)()
    other = upstream.accept()
    assert other.take().body == b'{"n":1}'
    other.send(say.reply(b"again"))
    assert client.take().body == b"again"
    assert relay.wait_for_calls(2)[1].attempts == 2


def test_it_is_not_replaced_twice(relay: Any, upstream: Any, say: Any) -> None:
    client, server = use_once(relay, upstream, say)
    client.send(say.request())
    server.take()
    server.close()
    other = upstream.accept()
    other.take()
    other.close()
    check_error(client.take(), 502, b"upstream_closed")
    assert upstream.nobody_waits()


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_it_is_not_replaced_when_it_said_something(relay: Any, upstream: Any, say: Any, said: bytes) -> None:
    client, server = use_once(relay, upstream, say)
    client.send(say.request())
    server.take()
    server.send(said).close()
    check_error(client.take(), 502, b"upstream_closed")
    assert upstream.nobody_waits()


def test_an_idle_connection_that_the_upstream_closed_is_not_used(relay: Any, upstream: Any, say: Any) -> None:
    client, server = use_once(relay, upstream, say)
    server.close()
    relay.wait_for_counter("upstream_connections", 0)
    client.send(say.request())
    other = upstream.accept()
    other.take()
    other.send(say.reply())
    assert client.take().status == 200
    assert relay.wait_for_calls(2)[1].attempts == 1


def test_an_upload_that_cant_be_repeated_gets_a_fresh_connection(
    start_relay: Any, upstream: Any, say: Any
) -> None:
    relay = start_relay(upstream.plan(), limits={"sniff_bytes": 1000})
    client, _ = use_once(relay, upstream, say)
    client.send(say.request(bytes(300_000)))
    assert upstream.accept().take().body == bytes(300_000)


def test_an_upstream_that_answers_before_the_upload_is_whole(
    start_relay: Any, upstream: Any, say: Any
) -> None:
    relay = start_relay(upstream.plan(), limits={"sniff_bytes": 1000})
    client = relay.connect().send(say.request(None, b"Content-Length: 1000000"), bytes(200_000))
    server = upstream.accept()
    server.read_until(b"\r\n\r\n")
    server.send(say.reply(b"too much", status=b"413 Content Too Large"))
    answer = client.take()
    assert (answer.status, answer.body, answer.get(b"connection")) == (413, b"too much", b"close")
    client.expect_end()


# -- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    for name, subject in (("good", "localhost"), ("other", "other.test")):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", f"/CN={subject}", "-addext", f"subjectAltName=DNS:{subject}",
             "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
    return folder


def serve_tls(certificates: Path, name: str, upstream: Any, seen: list[Any]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda _socket, server_name, _context: seen.append(server_name)
    line = upstream.accept()
    try:
        line.raw = context.wrap_socket(line.raw, server_side=True)
    except (ssl.SSLError, ConnectionError) as error:
        seen.append(type(error))
        return
    seen.append(line.raw.selected_alpn_protocol())
    message = line.take()
    seen.append(message.get(b"host"))
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(message.body), message.body))


def plan_tls(upstream: Any, **more: Any) -> Any:
    return upstream.plan(host="localhost", tls=True, host_header="localhost:8443", **more)


def test_tls_with_a_ca_of_ones_own(
    start_relay: Any, upstream: Any, say: Any, in_thread: Any, certificates: Path
) -> None:
    seen: list[Any] = []
    relay = start_relay(plan_tls(upstream, ca_file=str(certificates / "good.pem")))
    in_thread(lambda: serve_tls(certificates, "good", upstream, seen))
    body = bytes(range(256)) * 4000
    client = relay.connect().send(say.request(body))
    assert client.take().body == body
    assert seen == ["localhost", "http/1.1", b"localhost:8443"]


@pytest.mark.parametrize(("served", "trusted"), [("good", ""), ("other", "other"), ("good", "other")])
def test_tls_that_cant_be_trusted(
    served: str, trusted: str, start_relay: Any, upstream: Any, say: Any, in_thread: Any, certificates: Path
) -> None:
    """Self-made, of another name, by another authority: no byte of the request is said."""
    seen: list[Any] = []
    ca_file = str(certificates / f"{trusted}.pem") if trusted else ""
    relay = start_relay(plan_tls(upstream, ca_file=ca_file))
    in_thread(lambda: serve_tls(certificates, served, upstream, seen))
    client = relay.connect().send(say.request())
    error = check_error(client.take(), 502, b"upstream_unreachable")
    assert "certificate" in error["message"]
    say.wait_until(lambda: seen[1:])
    assert seen[1] is ssl.SSLError or issubclass(seen[1], (ssl.SSLError, ConnectionError))


def test_tls_to_who_speaks_none(start_relay: Any, upstream: Any, say: Any, certificates: Path) -> None:
    relay = start_relay(plan_tls(upstream, ca_file=str(certificates / "good.pem")))
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    check_error(client.take(), 502, b"upstream_unreachable")


def test_a_ca_file_that_is_not_there(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(plan_tls(upstream, ca_file="/nowhere/ca.pem"))
    client = relay.connect().send(say.request())
    check_error(client.take(), 502, b"upstream_unreachable")
