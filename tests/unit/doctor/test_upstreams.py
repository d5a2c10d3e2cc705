import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from collector.config import Upstream
from collector.config.effective import plan_upstream
from collector.doctor.clock import SkewFact
from collector.doctor.clock import judge as judge_clock
from collector.doctor.finding import Finding
from collector.doctor.upstreams import UpstreamFact, gather, recognise, request_headers
from collector.doctor.verdicts import judge
from collector.simulator.launch import Simulator, start_simulator

HOUR_S = 3600.0


def look(url: str, *, call: bool = False, metrics: str = "", **settings: Any) -> UpstreamFact:
    plan = plan_upstream("up", Upstream(url=url, **settings))
    (fact,) = gather([plan], {"up": metrics} if metrics else {}, call=call, model="")
    return fact


def examine(url: str, **settings: Any) -> list[Finding]:
    return judge([look(url, **settings)], time.time())


def one(url: str, **settings: Any) -> Finding:
    (found,) = examine(url, **settings)
    return found


class Odd(BaseHTTPRequestHandler):
    """Answers as its server says: `status`, `said`, and `date` where its own clock is wrong."""

    def do_GET(self) -> None:
        server: Any = self.server
        self.send_response_only(server.status)
        self.send_header("date", server.date or self.date_time_string())
        self.send_header("content-length", str(len(server.said)))
        self.end_headers()
        self.wfile.write(server.said)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def odd() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.status, server.said, server.date = 200, b"hello", ""
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_that_answers(simulator: Simulator) -> None:
    found = one(simulator.url)
    assert (found.code, found.severity) == ("upstreams.answers", "ok")
    assert found.values["api"] == "openai"
    assert found.values["models"] == 5
    assert one(simulator.url, api="anthropic").values["api"] == "anthropic"


def test_one_that_is_dead_and_then_started() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        found = one(f"http://127.0.0.1:{port}")
    assert (found.code, found.severity) == ("upstreams.unreachable", "problem")
    assert "it refused the connection; nothing listens there" in found.found
    assert found.remedy == "start it, or mend `upstreams.up.url`"
    with start_simulator(port=port):
        assert one(f"http://127.0.0.1:{port}").severity == "ok"


def test_one_that_has_no_name_and_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "its name can't be resolved" in one("http://nowhere.invalid").found
    monkeypatch.setattr("collector.doctor.upstreams.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = one(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert (found.code, found.severity) == ("upstreams.unreachable", "problem")
    assert "did not answer in time" in found.found


def test_keys() -> None:
    with start_simulator(api_key="right") as simulator:
        assert one(simulator.url).found.startswith(f"{simulator.url} asks for a key, which clients bring")
        found = one(simulator.url, key="s3cret")
        assert (found.code, found.severity) == ("upstreams.key_refused", "problem")
        assert "s3cret" not in repr(found)
        assert "`upstreams.up.key`" in found.remedy
        assert one(simulator.url, key="right").code == "upstreams.answers"
        assert one(simulator.url, api="anthropic", key="right").code == "upstreams.answers"


def test_a_url_that_ends_as_clients_paths_begin(simulator: Simulator) -> None:
    found = one(f"{simulator.url}/v1")
    assert (found.code, found.severity) == ("upstreams.base_path", "problem")
    assert found.remedy == "write `upstreams.up.url` without its last /v1"
    assert one(simulator.url).severity == "ok"
    assert one(f"{simulator.url}/other").code == "upstreams.no_models"


def test_another_server_than_was_meant(odd: Any) -> None:
    assert one(odd.url).code == "upstreams.no_models"
    odd.said = json.dumps({"data": [{"type": "model", "id": "claude"}], "has_more": False}).encode()
    found = one(odd.url)
    assert (found.code, found.remedy) == ("upstreams.other_api", "set `upstreams.up.api: anthropic`")
    assert one(odd.url, api="anthropic").severity == "ok"
    odd.status = 503
    assert (one(odd.url).code, one(odd.url).severity) == ("upstreams.error", "problem")
    odd.status = 307
    assert (one(odd.url).code, one(odd.url).severity) == ("upstreams.error", "warning")


def test_what_is_no_http() -> None:
    def answer(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            client.recv(1000)
            client.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        found = one(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert "what it answers is no HTTP" in found.found


def test_a_wrong_clock(odd: Any) -> None:
    odd.date = "Mon, 01 Jan 2024 00:00:00 GMT"
    fact = look(odd.url)
    assert fact.skew_s is not None
    (found,) = judge_clock([SkewFact(fact.name, fact.skew_s, fact.skew_doubt_s)], 0.0)
    assert (found.code, found.severity) == ("clock.skew", "problem")
    assert "ahead of that of up" in found.found
    odd.date = ""
    right = look(odd.url)
    assert right.skew_s is not None
    assert judge_clock([SkewFact(right.name, right.skew_s, right.skew_doubt_s)], 0.0)[0].severity == "ok"
    odd.date = "yesterday"
    assert look(odd.url).skew_s is None


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_completion_that_tells_its_usage(simulator: Simulator, api: str) -> None:
    _, whole, streamed = examine(simulator.url, api=api, call=True)
    assert (whole.code, streamed.code) == ("upstreams.usage", "upstreams.usage")
    assert (whole.values["stream"], streamed.values["stream"]) == (False, True)
    assert "tokens in, 1 out" in streamed.found


def test_a_completion_that_tells_none(simulator: Simulator) -> None:
    mute = {"x-sim": "usage=none"}
    _, whole, streamed = examine(simulator.url, headers=mute, call=True)
    assert [(one.code, one.severity) for one in (whole, streamed)] == [("upstreams.no_usage", "warning")] * 2
    # one that is not asked tells none in a stream; the remedy is to ask
    _, whole, streamed = examine(simulator.url, asks_usage=False, call=True)
    assert (whole.code, streamed.code) == ("upstreams.usage", "upstreams.no_usage")
    assert "set `upstreams.up.asks_usage: true`" in streamed.remedy
    assert examine(simulator.url, asks_usage=True, call=True)[2].severity == "ok"


def test_a_completion_that_is_refused(simulator: Simulator) -> None:
    refused = examine(simulator.url, headers={"x-sim": "status=429"}, call=True)[1:]
    assert [(one.code, one.severity) for one in refused] == [("upstreams.call_failed", "warning")] * 2
    assert "status 429" in refused[0].found


def test_metrics(simulator: Simulator, odd: Any) -> None:
    assert examine(simulator.url, metrics="/metrics")[1].severity == "ok"
    assert examine(simulator.url, metrics=f"{simulator.url}/metrics")[1].severity == "ok"
    (_, wrong_path) = examine(simulator.url, metrics="/metricz")
    assert (wrong_path.code, wrong_path.severity) == ("upstreams.metrics", "warning")
    assert "status 404" in wrong_path.found
    (_, other) = examine(simulator.url, metrics=odd.url)
    assert other.code == "upstreams.metric_names"
    (_, dead) = examine(simulator.url, metrics="http://127.0.0.1:1/metrics")
    assert "nothing listens there" in dead.found


def test_a_key_of_the_shell_goes_to_its_own_provider_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    own = plan_upstream("a", Upstream(url="https://api.openai.com"))
    elsewhere = plan_upstream("a", Upstream(url="http://127.0.0.1:9", provider="openai"))
    assert request_headers(own) == {"authorization": "Bearer s3cret"}
    assert request_headers(elsewhere) == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"data": 1}', b'{"data": [1, {"id": 2}]}', b"\xff"])
def test_whatever_is_answered_is_no_surprise(body: bytes) -> None:
    assert recognise(body)[1] == []


class Secured:
    def __init__(self, folder: Path, *, days: int, name: str = "localhost") -> None:
        self.folder, self.certificate = folder, folder / "certificate.pem"
        key = folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key)]
        command += ["-out", str(self.certificate), "-days", str(days), "-subj", f"/CN={name}"]
        command += ["-addext", f"subjectAltName=DNS:{name}"]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, key)
        self.server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
        self.server.handle_error = lambda *_: None  # who doesn't trust it hangs up
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.status, self.server.date = 200, ""
        self.server.said = b'{"object": "list", "data": [{"id": "m", "object": "model"}]}'
        self.url = f"https://localhost:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Secured":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="makes certificates with openssl")


@needs_openssl
def test_a_certificate_of_ones_own(tmp_path: Path) -> None:
    with Secured(tmp_path, days=365) as server:
        found = one(server.url)
        assert (found.code, found.severity) == ("upstreams.tls", "problem")
        assert "its certificate is not trusted (self-signed certificate)" in found.found
        assert "`upstreams.up.ca_file`" in found.remedy
        answers, certificate = examine(server.url, ca_file=server.certificate)
        assert answers.severity == "ok"
        assert "good for 36" in certificate.found
        plain = one(server.url.replace("https", "http"))
        assert plain.severity == "problem"


@needs_openssl
def test_a_certificate_that_ends_soon_or_is_for_another(tmp_path: Path) -> None:
    with Secured(tmp_path, days=10) as server:
        fact = look(server.url, ca_file=server.certificate)
        now = time.time()
        assert [one.severity for one in judge([fact], now)] == ["ok", "warning"]
        soon = judge([fact], now + 8 * 24 * HOUR_S)[1]
        assert (soon.severity, soon.found) == ("problem", "its certificate ends in 48 h")
    with Secured(tmp_path, days=10, name="other.example") as server:
        found = one(server.url, ca_file=server.certificate)
        assert found.code == "upstreams.tls"
        assert "Hostname mismatch" in found.found
