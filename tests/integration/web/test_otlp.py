"""OTLP in over HTTP: answers as the protocol wants them, to what real exporters and instrumentations send."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import openai
import psycopg
import pytest
import uvicorn
from fastapi.testclient import TestClient
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from collector.call import Call, Usage, call_uuid, new_call_id
from collector.config import Config
from collector.journal import Journal
from collector.ledger.exporter import PostgresSpanExporter
from collector.ledger.journals import Journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.prices import PriceList
from collector.ledger.recorder import Recorder
from collector.simulator.launch import start_simulator
from collector.web.app import make_app

PROTOBUF = "application/x-protobuf"
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"


def make_body(trace: str = TRACE, **more: Any) -> dict[str, Any]:
    start = time.time_ns() - 10**9
    told = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini", "gen_ai.system": "openai"}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in told.items()]
    attributes += [
        {"key": f"gen_ai.usage.{kind}_tokens", "value": {"intValue": str(count)}}
        for kind, count in (("input", 1000), ("output", 100))
    ]
    span = {
        "traceId": trace,
        "spanId": SPAN,
        "name": "chat gpt-4o-mini",
        "kind": 3,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 10**8),
        "attributes": attributes,
        "somethingNew": {"from": "a later version"},
        **more,
    }
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]}


@pytest.fixture
def web(database_url: str, make_client: Callable[[str], TestClient]) -> TestClient:
    return make_client(database_url)


def count(database: psycopg.Connection[Any]) -> int:
    found = database.execute("SELECT count(*) FROM calls").fetchone()
    assert found
    return int(found[0])


def test_json_becomes_a_priced_call_once(web: TestClient, database: psycopg.Connection[Any]) -> None:
    body = make_body()
    for _ in range(2):
        found = web.post("/v1/traces", json=body)
        assert (found.status_code, found.headers["content-type"], found.json()) == (
            200,
            "application/json",
            {},
        )
    rows = database.execute("SELECT model, provider, cost_usd::text, trace_id::text FROM calls").fetchall()
    assert rows == [("gpt-4o-mini", "openai", "0.00021", "5b8efff7-9803-8103-d269-b633813fc60c")]
    assert web.get("/api/v1/calls").json()["calls"][0]["input_tokens"] == 1000


def test_protobuf_is_answered_in_protobuf(web: TestClient, database: psycopg.Connection[Any]) -> None:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.name = "no id"
    body = gzip.compress(request.SerializeToString())
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip"}
    found = web.post("/v1/traces", content=body, headers=headers)
    assert (found.status_code, found.headers["content-type"]) == (200, PROTOBUF)
    answer = ExportTraceServiceResponse.FromString(found.content)
    assert answer.partial_success.rejected_spans == 1
    assert "trace id" in answer.partial_success.error_message
    assert web.post("/v1/traces", content=b"", headers={"content-type": PROTOBUF}).status_code == 200
    assert count(database) == 0


@pytest.mark.parametrize(
    ("status", "headers", "content"),
    [
        (415, {"content-type": "text/plain"}, b"{}"),
        (415, {}, b"{}"),
        (415, {"content-type": PROTOBUF, "content-encoding": "br"}, b""),
        (400, {"content-type": PROTOBUF}, b"\xff\xff\xff"),
        (400, {"content-type": PROTOBUF, "content-encoding": "gzip"}, b"not gzip"),
        (400, {"content-type": PROTOBUF, "content-encoding": "gzip"}, gzip.compress(b"x" * 999)[:-9]),
        (400, {"content-type": "application/json"}, b"{"),
        (400, {"content-type": "application/json"}, b"[]"),
        (400, {"content-type": "application/json"}, b"[" * 100_000),
        (400, {"content-type": "application/json"}, json.dumps(make_body("zz")).encode()),
        (413, {"content-type": PROTOBUF}, bytes(8 * 1024 * 1024 + 1)),
        (413, {"content-type": PROTOBUF, "content-encoding": "gzip"}, gzip.compress(bytes(40 * 2**20))),
    ],
)
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics"])
def test_what_can_not_be_read_is_refused_with_a_status(
    web: TestClient, status: int, headers: dict[str, str], content: bytes, path: str
) -> None:
    if path == "/v1/metrics" and b"traceId" in content:
        return  # metrics have no such field but in exemplars
    found = web.post(path, content=content, headers=headers)
    assert found.status_code == status
    if headers.get("content-type") == PROTOBUF:
        assert found.headers["content-type"] == PROTOBUF
        problem = Status.FromString(found.content)
        code, message = problem.code, problem.message
    else:
        code, message = found.json()["code"], found.json()["message"]
    assert code == (8 if status == 413 else 3)
    assert message
    assert web.get(path).status_code == 405


def test_a_database_that_is_away_asks_for_it_again(make_client: Callable[[str], TestClient]) -> None:
    for url in ("postgresql://nobody@127.0.0.1:1/none", ""):
        found = make_client(url).post("/v1/traces", json=make_body())
        assert (found.status_code, found.headers["retry-after"], found.json()["code"]) == (503, "5", 14)
        assert "127.0.0.1" not in found.text


@pytest.fixture
def address(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The application behind a real server."""
    config = Config.model_validate({"state_dir": tmp_path, "database": {"url": database_url}})
    server = uvicorn.Server(
        uvicorn.Config(make_app(config), port=0, log_config=None, lifespan="on", ws="none")
    )
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_a_real_instrumentation_and_exporter(
    address: str, database: psycopg.Connection[Any], compression: Compression
) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    exporter = OTLPSpanExporter(f"{address}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=provider, meter_provider=MeterProvider(shutdown_on_exit=False))
    try:
        with start_simulator(seed=7) as simulator:
            client = openai.OpenAI(base_url=f"{simulator.url}/v1", api_key="k", max_retries=0)
            model = client.models.list().data[0].id
            messages: Any = [{"role": "user", "content": "a secret of mine"}]
            whole = client.chat.completions.create(model=model, messages=messages)
            options: Any = {"include_usage": True}
            events = list(
                client.chat.completions.create(
                    model=model, messages=messages, stream=True, stream_options=options
                )
            )
            bare = list(client.chat.completions.create(model=model, messages=messages, stream=True))
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(
                    model=model, messages=messages, extra_headers={"x-sim": "status=404"}
                )
            client.close()
    finally:
        instrumentor.uninstrument()
        provider.shutdown()
    assert whole.usage
    assert events[-1].usage
    rows = database.execute(
        "SELECT response_id, model, input_tokens, output_tokens, client, provider, outcome, price_state "
        "FROM calls"
    ).fetchall()
    about = ("shop", "openai", "ok")  # the provider is what the span says: it names no address
    assert sorted(rows) == sorted(
        [
            (whole.id, model, *counts(whole.usage), *about, "unpriced"),
            (events[0].id, model, *counts(events[-1].usage), *about, "unpriced"),
            (bare[0].id, model, None, None, *about, "unknown_usage"),
        ]
    )
    for table in ("calls", "sightings"):
        text = str(database.execute(f"SELECT {table}::text FROM {table}".encode()).fetchall())
        assert "a secret of mine" not in text


def test_the_same_calls_through_the_relay_are_counted_once(
    address: str, database: psycopg.Connection[Any], database_url: str, tmp_path: Path
) -> None:
    """Its library sends no traceparent and names no address: the reply's id ties the two views together."""
    prices = PriceList()
    recorder = Recorder(
        Journals(tmp_path / "journal"),
        PostgresSpanExporter(database_url, prices.versions),
        prices,
        RecordMetrics(),
    )
    journal = Journal(tmp_path / "journal" / "w0", segment_bytes=1 << 20, fsync_ms=100)
    now = time.time_ns()
    call = Call(
        call_id=new_call_id(now),
        started_at_ns=now,
        model="gpt-4o-mini",
        response_id="chatcmpl-0123456789",
        usage=Usage(input_tokens=1000, output_tokens=100),
        usage_source="reported",
        status=200,
        duration_us=100_000,
    )
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{address}/v1/traces")))
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.id": call.response_id,
    }
    provider.get_tracer("app").start_span("chat", kind=SpanKind.CLIENT, attributes=told).end()
    provider.shutdown()
    assert count(database) == 1
    journal.append(call)
    while recorder.record_once():
        pass
    recorder.run(stopped())
    journal.close()
    assert database.execute("SELECT call_id FROM calls").fetchall() == [(call_uuid(call.call_id),)]


def stopped() -> Event:
    event = Event()
    event.set()
    return event


def counts(usage: Any) -> tuple[int, int]:
    return usage.prompt_tokens, usage.completion_tokens


def test_a_real_metric_exporter(address: str, database: psycopg.Connection[Any]) -> None:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{address}/v1/metrics"), 60_000)
    provider = MeterProvider([reader], resource=Resource({"host.name": "gpu-1"}))
    meter = provider.get_meter("m")
    meter.create_gauge("hw.gpu.utilization").set(0.25, {"hw.id": "0"})
    meter.create_counter("vllm.prompt_tokens").add(7, {"model_name": "m", "secret": "s"})
    meter.create_histogram("http.client.duration").record(1)
    provider.shutdown()
    rows = database.execute("SELECT name, series, kind, value FROM samples ORDER BY 1").fetchall()
    assert rows == [
        ("hw.gpu.utilization", "host.name=gpu-1,hw.id=0", "gauge", 0.25),
        ("vllm.prompt_tokens", "host.name=gpu-1,model_name=m", "sum", 7.0),
    ]
