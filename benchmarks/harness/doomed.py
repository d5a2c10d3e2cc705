"""An upstream that kills the relay worker as it sends the end of its answer.

So the kill falls while the relay reads that end, writes the call down and passes it on; where exactly is
left to the dice.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.harness.client import kill_worker


class Doomed(BaseHTTPRequestHandler):
    """Answers one call, and kills the relay worker with the last bytes of the answer."""

    server: "DoomedServer"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["content-length"]))
        name, stream = f"chatcmpl-doomed-{os.urandom(12).hex()}", b'"stream": true' in request
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if stream else "application/json")
        begin, end = stream_parts(name) if stream else whole_parts(name)
        if stream:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(len(begin + end)))
        self.end_headers()
        self.wfile.write(begin)
        self.wfile.flush()
        time.sleep(0.02)
        self.wfile.write(end)
        self.wfile.flush()
        pause_s(self.server.rng.random() * 600e-6)
        kill_worker(self.server.status_file)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class DoomedServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, status_file: Path, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Doomed)
        self.status_file, self.rng = status_file, random.Random(seed)


@contextmanager
def doomed_upstream(status_file: Path, seed: int) -> Iterator[str]:
    server = DoomedServer(status_file, seed)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def with_doomed(config: dict[str, Any], url: str) -> dict[str, Any]:
    """The configuration, with a route for the model "doomed"."""
    doomed = {"url": url, "api": "openai", "provider": "openai"}
    return {
        **config,
        "upstreams": {**config["upstreams"], "doomed": doomed},
        "routes": [{"model": "doomed", "to": "doomed"}, *config["routes"]],
    }


def pause_s(seconds: float) -> None:
    """Sleep is too coarse for it."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


USAGE = '"usage":{"prompt_tokens":40,"completion_tokens":2,"total_tokens":42}'


def stream_parts(name: str) -> tuple[bytes, bytes]:
    head = f'data: {{"id":"{name}","object":"chat.completion.chunk","model":"gpt-4o-mini",'
    events = [
        head + '"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n',
        head + '"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        head + f'"choices":[],{USAGE}}}\n\n',
        "data: [DONE]\n\n",
    ]
    chunks = [b"%x\r\n%s\r\n" % (len(event), event.encode()) for event in events]
    return b"".join(chunks[:2]), b"".join(chunks[2:]) + b"0\r\n\r\n"


def whole_parts(name: str) -> tuple[bytes, bytes]:
    body = (
        f'{{"id":"{name}","object":"chat.completion","model":"gpt-4o-mini","choices":[{{"index":0,'
        f'"message":{{"role":"assistant","content":"a b"}},"finish_reason":"stop"}}],{USAGE}}}'
    ).encode()
    return body[:60], body[60:]
