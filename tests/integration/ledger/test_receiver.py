"""Spans by OTLP in a real ledger: a call is counted once, whoever saw it and in whatever order it is told."""

import itertools
import random
import time
import uuid
from threading import Thread

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector.call import Call, Usage, new_call_id
from collector.journal import Journal
from collector.ledger.exporter import PostgresSpanExporter
from collector.ledger.journals import Journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.prices import PriceList
from collector.ledger.receiver import Receiver
from collector.ledger.recorder import Recorder
from collector.ledger.sightings import Places
from collector.ledger.views import source_of

CLIENT, SERVER, INTERNAL = Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL
SUMS = "calls, input_tokens, output_tokens, cost_usd, errors, unpriced, unknown_usage"
OF_CALLS = """
    SELECT source_id, tenant_id, team, provider, coalesce(nullif(served_model, ''), model), count(*),
        coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost_usd), 0),
        count(*) FILTER (
            WHERE outcome IN ('error', 'upstream_cut', 'upstream_unreachable', 'refused')
        ), count(*) FILTER (WHERE price_state = 'unpriced'),
        count(*) FILTER (WHERE price_state = 'unknown_usage')
    FROM calls GROUP BY 1, 2, 3, 4, 5
"""


def attribute(key, value):
    if isinstance(value, list):
        array = AnyValue()
        array.array_value.values.extend(AnyValue(string_value=one) for one in value)
        return KeyValue(key=key, value=array)
    kind = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}[type(value)]
    return KeyValue(key=key, value=AnyValue(**{kind: value}))


def make_span(trace, span_id, parent, start, end, attributes, kind=CLIENT, name="", failed=False):
    return Span(
        trace_id=trace,
        span_id=span_id,
        parent_span_id=parent,
        name=name,
        kind=kind,
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        attributes=[attribute(key, value) for key, value in attributes.items()],
        status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET),
    )


def request_of(*spans, **resource):
    about = Resource(attributes=[attribute(key.replace("_", "."), value) for key, value in resource.items()])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=about, scope_spans=[ScopeSpans(spans=spans)])]
    )


class Story:
    """One call as its relay, its application and its server tell of it."""

    def __init__(self, rng, *, traced=True, usage=True, sequences=1, http=False, wrapped=False):
        self.now = time.time_ns() - rng.randrange(10**9, 3600 * 10**9)
        self.trace, self.app, self.http, self.outer = (rng.randbytes(16), *(rng.randbytes(8) for _ in "123"))
        self.response_id = f"chatcmpl-{uuid.UUID(bytes=rng.randbytes(16)).hex}"
        self.traced, self.sequences, self.usage = traced, sequences, usage
        self.through_http, self.wrapped = http, wrapped
        self.server_ids = [rng.randbytes(8) for _ in range(sequences)]
        self.own_traces = [rng.randbytes(16) for _ in range(sequences)]
        self.call = Call(
            call_id=new_call_id(self.now),
            started_at_ns=self.now,
            provider="openai",
            operation="chat",
            team="search",
            model="gpt-4o-mini",
            served_model="gpt-4o-mini-2024-07-18",
            response_id=self.response_id,
            trace_id=self.trace if traced else b"",
            parent_span_id=(self.http if http else self.app) if traced else b"",
            usage=Usage(input_tokens=40, output_tokens=8 * sequences),
            usage_source="reported",
            status=200,
            duration_us=900_000,
            first_content_us=100_000,
            relay_us=120,
        )

    def app_spans(self):
        told = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
            "gen_ai.response.id": self.response_id,
        }
        if self.usage:
            told |= {"gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 8 * self.sequences}
        parent = self.outer if self.wrapped else b""
        start, end = self.now - 3_000_000, self.now + 905_000_000
        spans = [make_span(self.trace, self.app, parent, start, end, told)]
        if self.through_http:
            told = {"http.request.method": "POST"}
            spans.append(make_span(self.trace, self.http, self.app, start + 1000, end - 1000, told))
        if self.wrapped:
            told = {"llm.request.type": "chat", "gen_ai.system": "OpenAI"}
            spans.append(make_span(self.trace, self.outer, b"", start - 1000, end + 1000, told))
        return spans

    def server_spans(self, relayed=True):
        spans = []
        for span_id, own_trace in zip(self.server_ids, self.own_traces, strict=True):
            told = {
                "gen_ai.request.id": self.response_id,
                "gen_ai.usage.prompt_tokens": 40,
                "gen_ai.usage.completion_tokens": 8,
                "gen_ai.latency.time_in_queue": 0.001,
                "gen_ai.latency.time_in_model_inference": 0.8,
            }
            parent = self.call.call_id[8:] if relayed else self.http if self.through_http else self.app
            trace, parent = (self.trace, parent) if self.traced else (own_trace, b"")
            start, end = self.now + 1_000_000, self.now + 890_000_000
            spans.append(make_span(trace, span_id, parent, start, end, told, SERVER, "llm_request"))
        return spans


class Stage:
    """A journal, a recorder and a receiver over one ledger; any of them may be restarted."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder
        self.journal = Journal(folder / "w0", segment_bytes=64 * 1024, fsync_ms=100)
        self.start()

    def start(self):
        prices = PriceList()
        self.exporter = PostgresSpanExporter(self.url, prices.versions)
        self.recorder = Recorder(Journals(self.folder), self.exporter, prices, RecordMetrics())
        prices = PriceList()
        self.receiver = Receiver(self.url, prices)

    def restart(self):
        self.exporter.shutdown()
        self.receiver.close()
        self.start()

    def record(self, *calls):
        for call in calls:
            assert self.journal.append(call)
        while self.recorder.record_once():
            pass

    def close(self):
        self.exporter.shutdown()
        self.receiver.close()
        self.journal.close()


@pytest.fixture
def stage(database_url, tmp_path):
    stage = Stage(database_url, tmp_path / "journal")
    yield stage
    stage.close()


def assert_rollups_are_the_calls(database):
    counted = sorted(database.execute(OF_CALLS).fetchall())
    for table in ("rollup_hours", "rollup_days"):
        sums = ", ".join(f"sum({column})" for column in SUMS.split(", "))
        key = "source_id, tenant_id, team, provider, model"
        rolled = database.execute(f"SELECT {key}, {sums} FROM {table} GROUP BY {key}").fetchall()
        assert sorted(rolled) == counted
        assert database.execute(f"SELECT count(*) FROM {table} WHERE calls < 1").fetchone() == (0,)
    binned = dict(database.execute("SELECT measure, sum(calls) FROM latency_hours GROUP BY 1").fetchall())
    there = database.execute(
        "SELECT count(*), count(first_content_ms), count(relay_ms) FROM calls"
    ).fetchone()
    assert tuple(binned.get(measure, 0) for measure in ("duration", "first_content", "relay")) == there
    assert database.execute("SELECT count(*) FROM latency_hours WHERE calls < 1").fetchone() == (0,)


def rows_of(database):
    return database.execute(
        "SELECT call_id, source_id, model, input_tokens, output_tokens, cost_usd, queue_ms "
        "FROM calls ORDER BY 1"
    ).fetchall()


STORIES = {
    "traced": {},
    "by the id of the reply": {"traced": False},
    "two sequences": {"sequences": 2},
    "two sequences by the id of the reply": {"sequences": 2, "traced": False},
    "through an HTTP span": {"http": True, "usage": False},
    "wrapped by a framework": {"wrapped": True, "http": True},
}


@pytest.mark.parametrize("story", STORIES)
def test_a_call_is_counted_once_in_every_order_of_arrival(stage, database, story):
    rng = random.Random(story)
    stories = []
    for order in itertools.permutations(["relay", "app", "server", "restart"]):
        told = Story(rng, **STORIES[story])
        stories.append(told)
        for step in order:
            if step == "relay":
                stage.record(told.call)
            elif step == "app":
                stage.receiver.take_traces(request_of(*told.app_spans()))
            elif step == "server":
                for span in told.server_spans():
                    stage.receiver.take_traces(request_of(span))
            else:
                stage.restart()
    rows = rows_of(database)
    assert {row[0].bytes for row in rows} == {told.call.call_id for told in stories}
    assert len(rows) == len(stories) == 24
    assert database.execute("SELECT count(DISTINCT source_id) FROM rollup_days").fetchone() == (1,)
    assert_rollups_are_the_calls(database)


parts = st.fixed_dictionaries(
    {
        "traced": st.booleans(),
        "usage": st.booleans(),
        "sequences": st.integers(1, 3),
        "http": st.booleans(),
        "wrapped": st.booleans(),
    }
)


@given(
    seed=st.integers(0, 2**32),
    tales=st.lists(
        st.tuples(parts, st.sets(st.sampled_from(["relay", "app", "server"]), min_size=1)),
        min_size=1,
        max_size=4,
    ),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_seen_any_order_ends_in_the_same_ledger(stage, database, seed, tales, shuffle):
    rng = random.Random(seed)
    stories = [(Story(rng, **how), seen) for how, seen in tales]
    messages = []
    for told, seen in stories:
        messages += [("relay", told.call)] if "relay" in seen else []
        messages += [("span", span) for span in told.app_spans()] if "app" in seen else []
        messages += (
            [("span", span) for span in told.server_spans("relay" in seen)] if "server" in seen else []
        )
    messages += [("restart", None)] * 2 + [message for message in messages if message[0] == "span"]
    ledgers = []
    for _ in range(2):
        shuffle.shuffle(messages)
        database.execute("TRUNCATE calls, rollup_hours, rollup_days, latency_hours, sightings")
        for kind, what in messages:
            if kind == "relay":
                stage.record(what)
            elif kind == "span":
                stage.receiver.take_traces(request_of(what))
            else:
                stage.restart()
        ledgers.append(rows_of(database))
        assert_rollups_are_the_calls(database)
    assert ledgers[0] == ledgers[1]
    assert len(ledgers[0]) == len(stories)
    recorded = {told.call.call_id for told, seen in stories if "relay" in seen}
    assert recorded <= {row[0].bytes for row in ledgers[0]}
    spans = source_of("default")
    assert sum(row[1] == spans for row in ledgers[0]) == len(stories) - len(recorded)


def test_a_recorder_and_two_receivers_at_the_same_time(stage, database, database_url):
    rng = random.Random(11)
    stories = [Story(rng, traced=bool(at % 3), sequences=1 + at % 2) for at in range(60)]
    others = [Receiver(database_url, PriceList()) for _ in range(2)]
    failures = []

    def send(receiver, spans_of):
        try:
            for told in stories:
                receiver.take_traces(request_of(*spans_of(told)))
        except Exception as problem:
            failures.append(problem)

    threads = [
        Thread(target=send, args=(others[0], Story.app_spans)),
        Thread(target=send, args=(others[1], Story.server_spans)),
    ]
    for thread in threads:
        thread.start()
    for told in stories:
        stage.record(told.call)
    for thread in threads:
        thread.join(60)
    for receiver in others:
        receiver.close()
    assert failures == []
    assert {row[0].bytes for row in rows_of(database)} == {told.call.call_id for told in stories}
    assert len(rows_of(database)) == 60
    assert_rollups_are_the_calls(database)


def test_an_application_and_its_server_make_one_call_with_what_each_knows(stage, database):
    told = Story(random.Random(1), usage=False, sequences=2, http=True)
    for span in (*told.server_spans(relayed=False), *told.app_spans()):
        stage.receiver.take_traces(request_of(span, service_name="shop"))
    row = database.execute(
        "SELECT model, provider, input_tokens, output_tokens, price_state, queue_ms, client, span_id "
        "FROM calls"
    ).fetchall()
    assert row == [("gpt-4o-mini", "openai", 40, 16, "priced", 1.0, "shop", told.app)]
    assert_rollups_are_the_calls(database)


def test_attempts_within_one_applications_span_are_calls_each(stage, database):
    told = Story(random.Random(2), usage=False)
    again = Story(random.Random(3))
    second = again.server_spans()[0]
    second.trace_id, second.parent_span_id = told.trace, told.app
    second.start_time_unix_nano, second.end_time_unix_nano = told.now + 5 * 10**8, told.now + 9 * 10**8
    stage.receiver.take_traces(request_of(*told.app_spans(), *told.server_spans(relayed=False), second))
    assert database.execute("SELECT model, sum(input_tokens), count(*) FROM calls GROUP BY 1").fetchall() == [
        ("gpt-4o-mini", 80, 2)
    ]


def test_a_call_that_went_to_our_relay_waits_for_its_record(stage, database_url, database):
    told = Story(random.Random(4), traced=False)
    told.response_id = ""
    spans = told.app_spans()
    for span in spans:
        span.attributes.append(attribute("server.address", "127.0.0.1"))
        span.attributes.append(attribute("server.port", 4000))
    receiver = Receiver(database_url, PriceList(), places=Places({}, frozenset({("127.0.0.1", 4000)})))
    receiver.take_traces(request_of(*spans))
    assert database.execute("SELECT count(*) FROM calls").fetchone() == (0,)
    stage.record(msgspec.structs.replace(told.call, response_id=""))
    receiver.take_traces(request_of(*spans))
    receiver.close()
    assert [row[0].bytes for row in rows_of(database)] == [told.call.call_id]


def test_bad_spans_are_refused_and_the_others_kept(stage, database):
    good, bad, old = (Story(random.Random(seed)).app_spans()[0] for seed in (5, 6, 7))
    bad.trace_id = bytes(16)
    old.start_time_unix_nano -= 500 * 86_400 * 10**9
    taken = stage.receiver.take_traces(request_of(bad, good, old))
    assert taken.refused == 2
    assert "trace id" in taken.reason
    assert [row[0].bytes[8:] for row in rows_of(database)] == [good.span_id]


def test_record_that_comes_when_the_spans_are_forgotten_takes_nothing_else_out(stage, database):
    told = Story(random.Random(8))
    stage.receiver.take_traces(request_of(*told.app_spans()))
    database.execute("TRUNCATE sightings")
    other = Story(random.Random(9), wrapped=True)
    other.trace = told.trace
    stage.receiver.take_traces(request_of(*other.app_spans()))
    assert len(rows_of(database)) == 2
    assert_rollups_are_the_calls(database)


def test_samples_are_kept_once_and_only_those_on_the_list(stage, database):
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.append(attribute("host.name", "gpu-1"))
    scope = resource.scope_metrics.add()
    at = time.time_ns()
    for name, value in (
        ("hw.gpu.utilization", 0.5),
        ("http.server.duration", 9.0),
        ("hw.power", float("nan")),
    ):
        metric = scope.metrics.add(name=name)
        point = metric.gauge.data_points.add(time_unix_nano=at, as_double=value)
        point.attributes.append(attribute("hw.id", "0"))
    histogram = scope.metrics.add(name="vllm:time_to_first_token_seconds").histogram
    histogram.aggregation_temporality = 2
    histogram.data_points.add(time_unix_nano=at, count=4, sum=2.0)
    for _ in range(2):
        taken = stage.receiver.take_metrics(request)
        assert (taken.refused, "finite" in taken.reason) == (1, True)
    found = database.execute("SELECT name, series, host, kind, value FROM samples ORDER BY 1").fetchall()
    assert found == [
        ("hw.gpu.utilization", "host.name=gpu-1,hw.id=0", "gpu-1", "gauge", 0.5),
        ("vllm:time_to_first_token_seconds.count", "host.name=gpu-1", "gpu-1", "sum", 4.0),
        ("vllm:time_to_first_token_seconds.sum", "host.name=gpu-1", "gpu-1", "sum", 2.0),
    ]
    (when,) = database.execute("SELECT DISTINCT sampled_at FROM samples").fetchone()
    assert round(when.timestamp() * 1e6) == at // 1000
