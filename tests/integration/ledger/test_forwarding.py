"""Calls to an OpenTelemetry collector: at least once, never in the ledger's way, and never without end."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import grpc
import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from collector.config.model import Otel
from collector.journal import JournalReader
from collector.ledger.collectors import make_exporter, traces_url
from collector.ledger.forwarding import Bounds, Forwarder
from collector.ledger.heard import plain_attributes, unpack
from collector.ledger.journals import Journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.prices import PriceList
from collector.ledger.recorder import Recorder

WIDE = Bounds(2**40, 24 * 365)


class Kept(SpanExporter):
    """A collector that may be away."""

    def __init__(self):
        self.spans, self.away = [], False

    def export(self, spans):
        if self.away:
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


def ids(spans):
    return [span.call.call_id for span in spans]


@pytest.fixture
def kept():
    return Kept()


def forwarder_of(tmp_path, exporter, bounds=WIDE, **options):
    return Forwarder(tmp_path, exporter, PriceList(), bounds, **options)


def write(journal, calls):
    for call in calls:
        assert journal.append(call)


def test_each_call_goes_out_and_the_cursor_outlives_the_process(journal, tmp_path, kept, varied_calls):
    calls = varied_calls(60)
    write(journal, calls[:40])
    forwarder = forwarder_of(tmp_path, kept, batch_calls=15)
    while forwarder.forward_once():
        pass
    assert ids(kept.spans) == [call.call_id for call in calls[:40]]
    write(journal, calls[40:])
    forwarder = forwarder_of(tmp_path, kept)
    while forwarder.forward_once():
        pass
    assert ids(kept.spans) == [call.call_id for call in calls]
    assert (forwarder.forwarded, forwarder.skipped, forwarder.lag_bytes) == (20, 0, 0)
    assert kept.spans[0].attributes["sizewise.call_id"] == calls[0].call_id.hex()


def test_a_collector_that_is_away_gets_all_of_it_later(journal, tmp_path, kept, varied_calls):
    calls = varied_calls(20)
    write(journal, calls)
    kept.away = True
    forwarder = forwarder_of(tmp_path, kept)
    assert forwarder.forward_once() is None
    assert (forwarder.failures, forwarder.forwarded) == (1, 0)
    assert forwarder.lag_bytes > 0
    kept.away = False
    assert forwarder.forward_once() is True
    assert ids(kept.spans) == [call.call_id for call in calls]


def test_the_ledger_goes_on_and_the_segments_wait(
    journal, tmp_path, kept, varied_calls, exporter, prices, database
):
    calls = varied_calls(600)
    write(journal, calls)
    segments = len(list((tmp_path / "w0").glob("*.journal")))
    assert segments > 2
    kept.away = True
    forwarder = forwarder_of(tmp_path, kept)
    recorder = Recorder(Journals(tmp_path, forwarder.make_reader), exporter, prices, RecordMetrics())
    while recorder.record_once():
        forwarder.forward_once()
    assert database.execute("SELECT count(*) FROM calls").fetchone() == (600,)
    assert len(list((tmp_path / "w0").glob("*.journal"))) == segments
    kept.away = False
    while forwarder.forward_once():
        pass
    assert ids(kept.spans) == [call.call_id for call in calls]
    write(journal, varied_calls(1, seed=5))
    while recorder.record_once():
        pass
    assert len(list((tmp_path / "w0").glob("*.journal"))) == 1


def test_too_many_bytes_are_skipped_and_counted(journal, tmp_path, kept, varied_calls):
    calls = varied_calls(300)
    write(journal, calls)
    lag = JournalReader(tmp_path / "w0").lag_bytes(None)
    forwarder = forwarder_of(tmp_path, kept, Bounds(lag // 2, 24 * 365), batch_calls=10)
    while forwarder.forward_once():
        pass
    assert forwarder.skipped + forwarder.forwarded == 300
    assert 100 < forwarder.skipped < 200
    assert ids(kept.spans) == [call.call_id for call in calls[forwarder.skipped :]]
    # A thread that hangs doesn't keep the disk either.
    stuck = forwarder_of(tmp_path / "none", kept, Bounds(1, 1))
    assert stuck.floor(tmp_path / "w0").segment == 0
    small = forwarder_of(tmp_path, kept, Bounds(1, 1))
    (tmp_path / "otlp.cursors").write_text("damaged")
    again = forwarder_of(tmp_path, kept, Bounds(1, 1))
    again._open()
    assert again.floor(tmp_path / "w0") is None
    assert small.skipped == 0


def test_calls_that_are_too_old_are_skipped_and_counted(journal, tmp_path, kept, varied_calls):
    now = time.time_ns()
    calls = varied_calls(10)
    old = [msgspec.structs.replace(call, started_at_ns=now - 30 * 3600 * 10**9) for call in calls[:5]]
    new = [msgspec.structs.replace(call, started_at_ns=now - 10**9) for call in calls[5:]]
    write(journal, [*old, *new])
    forwarder = forwarder_of(tmp_path, kept, Bounds(2**40, 24), batch_calls=5)
    while forwarder.forward_once():
        pass
    assert (forwarder.skipped, ids(kept.spans)) == (5, [call.call_id for call in new])


class Collector(BaseHTTPRequestHandler):
    seen: list

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest()
        request.ParseFromString(unpack(body, self.headers.get("content-encoding", "")))
        self.seen.append((self.path, self.headers["x-token"], request))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def spans_of(request):
    return [
        plain_attributes(span.attributes)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_the_real_exporter_over_http(journal, tmp_path, varied_calls):
    calls = varied_calls(30)
    write(journal, calls)
    seen = []
    handler = type("Handler", (Collector,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        otel = Otel(endpoint=f"http://127.0.0.1:{server.server_port}", headers={"X-Token": "t"})
        forwarder, stop = forwarder_of(tmp_path, make_exporter(otel), interval_s=0.02), Event()
        thread = forwarder.start(stop)
        deadline = time.monotonic() + 20
        while forwarder.forwarded < 30 and time.monotonic() < deadline:
            time.sleep(0.02)
        stop.set()
        thread.join(10)
        server.shutdown()
    ((path, token, request),) = seen
    assert (path, token) == ("/v1/traces", "t")
    told = spans_of(request)
    assert [one["sizewise.call_id"] for one in told] == [call.call_id.hex() for call in calls]
    prices = PriceList()
    costs = [prices.price(call).cost_usd for call in calls]
    assert [one.get("sizewise.cost_usd") for one in told] == [None if c is None else f"{c:f}" for c in costs]


def test_record_forwards_what_it_records(journal, tmp_path, varied_calls, database_url, database):
    """The process itself, from its configuration on."""
    write(journal, varied_calls(25))
    seen = []
    handler = type("Handler", (Collector,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        settings = {
            "state_dir": str(tmp_path / "state"),
            "journal": {"dir": str(tmp_path)},
            "database": {"url": database_url},
            "record": {"listen": "127.0.0.1:0"},
            "otel": {"endpoint": f"http://127.0.0.1:{server.server_port}"},
        }
        config = tmp_path / "config.json"
        config.write_text(json.dumps(settings))
        command = [sys.executable, "-m", "collector.ledger", "--config-file", str(config)]
        child = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 30
            while not seen and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            child.terminate()
            _, errors = child.communicate(timeout=30)
        server.shutdown()
    assert child.returncode == 0, errors
    assert sum(len(spans_of(request)) for _, _, request in seen) == 25
    assert database.execute("SELECT count(*) FROM calls").fetchone() == (25,)


class Service(TraceServiceServicer):
    def __init__(self):
        self.seen = []

    def Export(self, request, context):  # noqa: N802 - gRPC's name
        self.seen.append((dict(context.invocation_metadata())["x-token"], request))
        return ExportTraceServiceResponse()


def test_the_real_exporter_over_grpc(journal, tmp_path, varied_calls):
    write(journal, varied_calls(7))
    service, server = Service(), grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    otel = Otel(endpoint=f"http://127.0.0.1:{port}", protocol="grpc", headers={"X-Token": "t"})
    exporter = make_exporter(otel)
    assert forwarder_of(tmp_path, exporter).forward_once() is True
    exporter.shutdown()
    server.stop(None).wait(5)
    ((token, request),) = service.seen
    assert (token, len(spans_of(request))) == ("t", 7)


def test_a_url_may_name_the_path_or_not():
    assert traces_url("http://c:4318/") == traces_url("http://c:4318/v1/traces") == "http://c:4318/v1/traces"
