"""The name of a model for the command that is shown to be copied."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from collector.config import Config
from collector.supervise.models import UNKNOWN, find_model


class Models(BaseHTTPRequestHandler):
    answer = b""

    def do_GET(self) -> None:
        right = self.path == "/base/v1/models" and self.headers["authorization"] == "Bearer k"
        self.send_response(200 if right else 404)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Models) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/base"
        server.shutdown()
        thread.join()


def model_at(url: str) -> str:
    return find_model(
        Config.model_validate({"upstreams": {"a": {"url": url, "key": "k"}}, "routes": [{"to": "a"}]})
    )


def test_the_server_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Models, "answer", b'{"data": [{"id": "tiny-llama"}, {"id": "other"}]}')
    assert model_at(url) == "tiny-llama"


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"data": []}', b"\xff"])
def test_an_answer_of_another_kind_is_no_model(
    url: str, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Models, "answer", answer)
    assert model_at(url) == UNKNOWN


def test_nobody_there_is_no_model() -> None:
    assert model_at("http://127.0.0.1:9") == UNKNOWN


def test_a_known_provider_is_not_asked() -> None:
    assert model_at("https://api.openai.com") == "gpt-4o-mini"


def test_no_route_no_model() -> None:
    assert find_model(Config()) == UNKNOWN
