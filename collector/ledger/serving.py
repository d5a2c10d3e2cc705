"""/metrics and /healthz of record, in a thread of its own, so that a slow reader never holds up a batch."""

import json
import logging
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from collector.ledger.metrics import RecordMetrics

log = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], metrics: RecordMetrics) -> None:
        super().__init__(address, Handler)
        self.metrics = metrics
        self.registry = CollectorRegistry()
        self.registry.register(metrics)


class Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "sizewise", ""
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest(self.server.registry))
        elif path == "/healthz":
            self._answer(200, "application/json", json.dumps(health(self.server.metrics)).encode())
        else:
            text = {"error": {"code": "not_found", "message": "here are /metrics and /healthz"}}
            self._answer(404, "application/json", json.dumps(text).encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: whoever scrapes knows that they did."""


def health(metrics: RecordMetrics) -> dict[str, object]:
    """Alive is healthy, database or not: calls wait in the journal, and a restart would mend nothing."""
    return {
        "status": "ok",
        "pid": os.getpid(),
        "database": "up" if metrics.database_up else "down",
        "journal_lag_bytes": metrics.lag_bytes,
        "journal_lag_seconds": round(metrics.lag_s, 3),
        "recorded_calls": metrics.recorded,
        "quarantined_frames": metrics.quarantined,
    }


def serve(listen: str, metrics: RecordMetrics) -> Server | None:
    """None when the address can't be had: recording goes on without being watched."""
    host, _, port = listen.rpartition(":")
    try:
        server = Server((host.strip("[]"), int(port)), metrics)
    except (OSError, OverflowError) as problem:
        log.error("record.listen %s can't be had (%s): no /metrics here until a restart", listen, problem)
        return None
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
