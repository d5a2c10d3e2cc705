"""TLS towards clients and towards upstreams, with certificates made here: who may speak, and who may not."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.server import serve

from collector.plan import TlsPlan, UpstreamPlan


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path, name: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl(
        folder, "req", "-x509", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"
    )


def make_certificate(folder: Path, name: str, authority: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    signed = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key")
    host = ("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl(folder, "req", "-x509", *key, *signed, "-subj", f"/CN={name}", *host, *files)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    for authority in ("ours", "theirs"):
        make_authority(folder, authority)
    for name, authority in (
        ("relay", "ours"),
        ("renewed", "ours"),
        ("client", "ours"),
        ("stranger", "theirs"),
    ):
        make_certificate(folder, name, authority)
    return folder


@pytest.fixture
def secure(say: SimpleNamespace) -> Iterator[Callable[..., Any]]:
    """A connection of a client that trusts our authority, and shows the certificate given."""
    lines = []

    def connect(relay: Any, files: Path, shows: str = "", trusts: str = "ours") -> Any:
        context = ssl.create_default_context(cafile=str(files / f"{trusts}.pem"))
        if shows:
            context.load_cert_chain(files / f"{shows}.pem", files / f"{shows}.key")
        raw = socket.create_connection(relay.address, timeout=4)
        try:
            lines.append(say.line(context.wrap_socket(raw, server_hostname="127.0.0.1")))
        except OSError:
            raw.close()
            raise
        return lines[-1]

    yield connect
    for line in lines:
        line.close()


def plan_tls(files: Path, name: str = "relay", **more: str) -> TlsPlan:
    return TlsPlan(cert=str(files / f"{name}.pem"), key=str(files / f"{name}.key"), **more)


def name_of(line: Any) -> str:
    subject = line.raw.getpeercert()["subject"]
    return str(subject[0][0][1])


def test_a_call_over_tls(
    start_relay: Any, upstream: Any, files: Path, secure: Any, say: SimpleNamespace
) -> None:
    relay = start_relay(upstream.plan(), tls=plan_tls(files))
    client = secure(relay, files)
    assert name_of(client) == "relay"
    server = None
    for number in range(2):
        client.send(say.request())
        server = server or upstream.accept()
        assert server.take().body == say.BODY
        server.send(say.reply(b'{"n":%d}' % number))
        assert client.take().body == b'{"n":%d}' % number
    assert len(relay.calls()) == 2
    big = b"x" * 3_000_000
    client.send(say.request(big))
    assert server.take().body == big
    server.send(say.reply(big))
    assert client.take().body == big


def test_plain_bytes_on_the_tls_port_end_at_once(
    start_relay: Any, upstream: Any, files: Path, say: SimpleNamespace
) -> None:
    relay = start_relay(upstream.plan(), tls=plan_tls(files))
    relay.connect().send_ignoring_end(say.request()).rest()
    assert upstream.nobody_waits()
    relay.wait_for_counter("tls_failures", 1)


def test_a_handshake_that_is_never_made_is_given_up(start_relay: Any, upstream: Any, files: Path) -> None:
    limits = {"head_timeout_s": 0.5, "connections_per_worker": 1}
    relay = start_relay(upstream.plan(), tls=plan_tls(files), limits=limits)
    silent = relay.connect()
    waiting = relay.connect()  # the silent one counts as a connection
    assert silent.rest() == b""
    assert waiting.rest() == b""


def test_a_client_must_show_a_certificate_of_the_authority(
    start_relay: Any, upstream: Any, files: Path, secure: Any, say: SimpleNamespace
) -> None:
    relay = start_relay(upstream.plan(), tls=plan_tls(files, client_ca=str(files / "ours.pem")))
    for shows in ("", "stranger"):
        answer = b""
        with suppress(ssl.SSLError, ConnectionError):  # TLS 1.3 says it with the first read, or just ends
            answer = secure(relay, files, shows).send(say.request()).rest()
        assert answer == b""
    assert upstream.nobody_waits()
    client = secure(relay, files, "client").send(say.request())
    server = upstream.accept()
    assert server.take().body == say.BODY
    server.send(say.reply())
    assert client.take().status == 200


def test_a_reload_takes_the_renewed_certificate_and_a_broken_one_changes_nothing(
    start_relay: Any, upstream: Any, files: Path, secure: Any, say: SimpleNamespace
) -> None:
    relay = start_relay(upstream.plan(), tls=plan_tls(files))
    before = secure(relay, files)
    plan = relay.plan
    relay.reload(type(plan)(**{**as_fields(plan), "tls": plan_tls(files, "renewed")}))
    assert name_of(secure(relay, files)) == "renewed"
    before.send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert before.take().status == 200
    with pytest.raises(AssertionError):
        relay.reload(type(plan)(**{**as_fields(plan), "tls": plan_tls(files, "nobody")}))
    assert "reload_failed" in relay.errors()
    assert name_of(secure(relay, files)) == "renewed"


def as_fields(plan: Any) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__}


@pytest.mark.parametrize(("shows", "status"), [("client", 200), ("stranger", 502), ("", 502)])
def test_an_upstream_that_demands_a_certificate(
    start_relay: Any,
    upstream: Any,
    files: Path,
    say: SimpleNamespace,
    in_thread: Any,
    shows: str,
    status: int,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "relay.pem", files / "relay.key")
    context.load_verify_locations(files / "ours.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # it says so within the handshake
    named = {"cert": str(files / f"{shows}.pem"), "cert_key": str(files / f"{shows}.key")} if shows else {}
    relay = start_relay(upstream.plan(tls=True, host_header="a", ca_file=str(files / "ours.pem"), **named))

    def serve() -> None:
        raw, _ = upstream.listener.accept()
        try:
            line = say.line(context.wrap_socket(raw, server_side=True))
        except OSError:
            raw.close()
            return
        line.take()
        line.send(say.reply())
        line.close()

    in_thread(serve)
    assert relay.connect().send(say.request()).take().status == status


def test_a_websocket_over_tls(start_relay: Any, files: Path) -> None:
    def echo(server: Any) -> None:
        for message in server:
            server.send(message)

    context = ssl.create_default_context(cafile=str(files / "ours.pem"))
    with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        relay = start_relay(UpstreamPlan(name="up", host="127.0.0.1", port=port), tls=plan_tls(files))
        url = f"wss://127.0.0.1:{relay.address[1]}/v1/realtime"
        with connect(url, ssl=context, proxy=None, max_size=None, compression=None) as client:
            for message in ("short", "x" * 3_000_000):
                client.send(message)
                assert client.recv(timeout=5) == message
        relay.wait_for_counter("clients", 0)
        relay.wait_for_counter("upstream_connections", 0)
        server.shutdown()
        thread.join(5)
