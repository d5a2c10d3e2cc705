"""Every recorded reply of a real vLLM, through the relay to a raw client: the same bytes, the right usage.

The upstream here sends exactly what was recorded, chunked where it was. It knows nothing of requests, so it
ignores the option that the relay puts in for clients that ask for no usage: nothing is to be hidden then.
But for two recordings of a server that tells usage unasked: there the relay hides what it had asked for.
"""

import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.product import Product, wait_until
from tests.conftest import make_open_dir

CAPTURES = Path(__file__).parents[1] / "captures" / "vllm-0.32"
NAMES = sorted(str(path.relative_to(CAPTURES).with_suffix("")) for path in CAPTURES.glob("*/*.hdr"))
PATHS = {  # by the beginning of the name; the first that fits
    "embeddings_on_generate_model": "/v1/embeddings",
    "embeddings": "/v1/embeddings",
    "pooling": "/pooling",
    "completion": "/v1/completions",
    "messages_count_tokens": "/v1/messages/count_tokens",
    "messages": "/v1/messages",
    "err_messages": "/v1/messages",
    "responses": "/v1/responses",
    "err_responses": "/v1/responses",
    "models": "/v1/models",
    "metrics": "/metrics",
    "err_404": "/v1/nothing",
}
PLAIN = ("health", "load", "ping", "version", "tokenize")
PER_HOP = {"connection", "keep-alive", "transfer-encoding"}
COUNTED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
Headers = list[tuple[str, str]]


def read_capture(name: str) -> tuple[str, Headers, bytes]:
    """The status line, the headers and the body."""
    status, *lines = (CAPTURES / f"{name}.hdr").read_text("latin-1").replace("\r", "").strip().split("\n")
    body = (CAPTURES / f"{name}.resp").read_bytes()
    headers = [(key, value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    # One body was shortened after it had been recorded; its length then is that of what is sent.
    headers = [(key, str(len(body)) if key == "content-length" else value) for key, value in headers]
    return status, headers, body


def request_of(name: str) -> tuple[str, str, bytes | None]:
    """Method, path and body."""
    own = name.rpartition("/")[2]
    file = CAPTURES / f"{name}.req.json"
    body = file.read_bytes() if file.exists() else None
    path = next((path for begin, path in PATHS.items() if own.startswith(begin)), "/v1/chat/completions")
    if own in PLAIN:
        path = f"/{own}"
    return "POST" if body is not None else "GET", path, body


class Recorded(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status, headers, body = read_capture(self.headers["x-capture"])
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.wfile.write(f"{status}\r\n{head}\r\n".encode("latin-1"))
        if ("transfer-encoding", "chunked") in headers:
            for event in body.split(b"\n\n")[:-1]:
                self.wfile.write(b"%x\r\n%s\n\n\r\n" % (len(event) + 2, event))
            body = b"0\r\n\r\n"
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def recorded() -> Iterator[Product]:
    """The product in front of the recordings."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorded)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    upstream = {"url": f"http://127.0.0.1:{server.server_port}", "api": "openai"}
    folder = make_open_dir()
    config = {"upstreams": {"vllm": upstream}, "routes": [{"to": "vllm"}]}
    with Product(folder, config) as product:
        yield product
    shutil.rmtree(folder)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def replies(recorded: Product) -> dict[str, tuple[int, str, Headers, bytes]]:
    """All of them, one after the other over one connection."""
    found = {}
    connection = http.client.HTTPConnection(recorded.relay, timeout=30)
    for name in NAMES:
        method, path, body = request_of(name)
        headers = {"x-capture": name, "content-type": "application/json", "x-sizewise-team": name}
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        found[name] = (reply.status, reply.reason, reply.getheaders(), reply.read())
    connection.close()
    return found


@pytest.fixture(scope="module")
def ledger(
    recorded: Product, replies: dict[str, tuple[int, str, Headers, bytes]]
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each, by name."""
    expected = sum(is_call(name) for name in NAMES)
    columns = ("team", "status", "outcome", "served_model", "response_id", "usage_source", *COUNTED)

    def look() -> list[tuple[Any, ...]] | None:
        rows = recorded.query(f"SELECT {', '.join(columns)} FROM calls")
        return rows if len(rows) >= expected else None

    rows: dict[str, list[dict[str, Any]]] = {}
    for values in wait_until(f"{expected} calls are in the ledger", look, 15, 0.1):
        row = dict(zip(columns, values, strict=True))
        rows.setdefault(row["team"], []).append(row)
    return rows


def is_call(name: str) -> bool:
    method, path, _ = request_of(name)
    endpoints = ("completions", "messages", "embeddings", "responses", "pooling")
    return method == "POST" and path.rpartition("/")[2] in endpoints


def expected_usage(name: str) -> dict[str, int | None] | None:
    """Read from the recording by hand: the last usage that stands in it, in the ledger's convention."""
    _, headers, body = read_capture(name)
    if ("transfer-encoding", "chunked") in headers:
        lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: {")]
        replies = [json.loads(line) for line in lines]
        if any("error" in reply for reply in replies):
            return None  # the engine died: whatever was told on the way is no bill
    else:
        replies = [json.loads(body)]
    usages = [reply["usage"] for reply in replies if reply.get("usage")]
    if not usages:
        return None
    usage = usages[-1]
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    spent = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    read = usage.get("cache_read_input_tokens", details.get("cached_tokens"))
    written = details.get("cache_write_tokens", details.get("created_cache_tokens"))
    return {
        "input_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "output_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
        "cache_read_tokens": read,
        "cache_write_tokens": usage.get("cache_creation_input_tokens", written),
        "reasoning_tokens": spent.get("reasoning_tokens"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_client_gets_what_was_recorded(
    replies: dict[str, tuple[int, str, Headers, bytes]], name: str
) -> None:
    status_line, headers, body = read_capture(name)
    status, reason, got_headers, got_body = replies[name]
    assert f"HTTP/1.1 {status} {reason}" == status_line
    assert got_body == body
    passed_on = sorted((key, value) for key, value in headers if key not in PER_HOP)
    assert sorted((key, value) for key, value in got_headers if key not in PER_HOP) == passed_on


@pytest.mark.parametrize("name", [name for name in NAMES if is_call(name)])
def test_the_ledger_has_its_usage(ledger: dict[str, list[dict[str, Any]]], name: str) -> None:
    (row,) = ledger[name]
    status = int(read_capture(name)[0].split()[1])
    assert row["status"] == status
    expected = expected_usage(name)
    if expected is None:
        assert row["usage_source"] != "reported"
        assert row["outcome"] == ("error" if status >= 400 or "killed" in name else "ok")
        return
    assert {field: row[field] for field in COUNTED} == expected
    assert (row["outcome"], row["usage_source"]) == ("ok", "reported")


def test_what_is_no_call_is_not_counted(ledger: dict[str, list[dict[str, Any]]]) -> None:
    assert not [name for name in NAMES if not is_call(name) and name in ledger]
