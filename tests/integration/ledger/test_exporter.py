"""A batch of spans in a real Postgres: all of it once, or nothing; and the rows that it won't take."""

import uuid
from decimal import Decimal

import msgspec
import psycopg
import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from collector.journal import Position
from collector.ledger.exporter import CursorMoved, SpanBatch
from collector.ledger.spans import call_span

SOURCE = uuid.UUID(int=7)
COLUMNS = (
    "calls, errors, interrupted, unpriced, unknown_usage, input_tokens, output_tokens, cache_read_tokens, "
    "cache_write_tokens, reasoning_tokens, cost_usd"
)
KEY = "bucket, tenant_id, team, provider, model"
GROUPED = """
    SELECT date_trunc(%s, started_at, 'UTC'), tenant_id, team, provider,
        coalesce(nullif(served_model, ''), model), count(*), count(*) FILTER (
            WHERE outcome IN ('error', 'upstream_cut', 'upstream_unreachable', 'refused')
        ), count(*) FILTER (WHERE outcome = 'interrupted'), count(*) FILTER (WHERE price_state = 'unpriced'),
        count(*) FILTER (WHERE price_state = 'unknown_usage'), coalesce(sum(input_tokens), 0),
        coalesce(sum(output_tokens), 0), coalesce(sum(cache_read_tokens), 0),
        coalesce(sum(cache_write_tokens), 0), coalesce(sum(reasoning_tokens), 0), coalesce(sum(cost_usd), 0)
    FROM calls GROUP BY 1, 2, 3, 4, 5
"""


def batch_of(calls, prices, start=None, end=None):
    spans = [call_span(call, prices.price(call), SOURCE.bytes) for call in calls]
    frames = [(Position(1, number), call.call_id) for number, call in enumerate(calls)]
    return SpanBatch(SOURCE, zip(spans, frames, strict=True), [], start, end or Position(1, len(calls)))


def open_journal(exporter):
    return exporter.tables.open_journal(SOURCE, tenant_id="default", host="here", name="w0")


def count_of(database, table="calls"):
    return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def assert_rollups_are_the_calls(database):
    for unit, table in (("hour", "rollup_hours"), ("day", "rollup_days")):
        sums = ", ".join(f"sum({column})" for column in COLUMNS.split(", "))
        rollup = database.execute(f"SELECT {KEY}, {sums} FROM {table} GROUP BY {KEY}")
        assert sorted(rollup.fetchall()) == sorted(database.execute(GROUPED, (unit,)).fetchall())
    binned = dict(database.execute("SELECT measure, sum(calls) FROM latency_hours GROUP BY 1").fetchall())
    counted = database.execute(
        "SELECT count(*), count(first_content_ms), count(relay_ms) FROM calls"
    ).fetchone()
    assert tuple(binned.get(measure, 0) for measure in ("duration", "first_content", "relay")) == counted


def test_a_batch_is_written_whole_and_rollups_are_its_sums(exporter, prices, database, varied_calls):
    assert open_journal(exporter) is None
    calls = varied_calls(700)
    for first, last in ((0, 300), (300, 301), (301, 700)):
        start = Position(1, first) if first else None
        written = exporter.export_batch(batch_of(calls[first:last], prices, start, Position(1, last)))
        assert (written.calls, written.quarantined) == (last - first, 0)
    assert open_journal(exporter) == Position(1, 700)
    assert count_of(database) == 700
    assert_rollups_are_the_calls(database)
    cost = sum((prices.price(call).cost_usd or Decimal(0) for call in calls), Decimal(0))
    assert database.execute("SELECT sum(cost_usd) FROM rollup_days").fetchone() == (cost,)
    ids = database.execute("SELECT price_id FROM calls EXCEPT SELECT price_id FROM price_versions").fetchall()
    assert ids == [(None,)]


def test_every_column_holds_what_the_call_said(exporter, prices, database, varied_calls):
    open_journal(exporter)
    call = next(call for call in varied_calls(300) if call.trace_id and call.provider == "anthropic")
    usage = msgspec.structs.replace(call.usage, web_searches=2, cache_read_tokens=0, cache_write_tokens=None)
    usage = msgspec.structs.replace(usage, cache_write_1h_tokens=None)
    call = msgspec.structs.replace(call, usage=usage, parent_span_id=b"12345678", queue_us=0, attempts=2)
    exporter.export_batch(batch_of([call], prices))
    row = database.cursor(row_factory=psycopg.rows.dict_row).execute("SELECT * FROM calls").fetchone()
    priced = prices.price(call)
    assert row["source_id"] == SOURCE
    assert row["call_id"].bytes == call.call_id
    assert row["started_at"].timestamp() == pytest.approx(call.started_at_ns / 1e9, abs=1e-5)
    assert (row["tenant_id"], row["trace_id"].bytes) == (call.tenant, call.trace_id)
    assert (row["span_id"], row["parent_span_id"]) == (call.call_id[8:], b"12345678")
    assert (row["cost_usd"], row["price_state"]) == (priced.cost_usd, priced.price_state)
    assert row["price_id"] == priced.price_id
    same = (
        "upstream api provider operation zone team project route environment key_id end_user unit "
        "idempotency_key request_id client model served_model service_tier fingerprint response_id "
        "finish_reason stream status outcome error_type attempts usage_source usage_problem request_bytes "
        "response_bytes content_events"
    )
    assert {name: row[name] for name in same.split()} == {name: getattr(call, name) for name in same.split()}
    for name in ("input", "output", "cache_read", "cache_write", "reasoning"):
        assert row[f"{name}_tokens"] == getattr(usage, f"{name}_tokens")
    assert row["other_usage"] == {"web_searches": 2}
    for name in [
        "duration",
        "connect",
        "first_byte",
        "first_content",
        "relay",
        "gap_p50",
        "gap_p99",
        "queue",
        "engine",
    ]:
        value = getattr(call, f"{name}_us")
        assert row[f"{name}_ms"] == (None if value is None else value / 1000)


def test_the_second_writer_of_a_journal_writes_nothing(exporter, prices, database, varied_calls):
    open_journal(exporter)
    calls = varied_calls(20)
    exporter.export_batch(batch_of(calls, prices))
    with pytest.raises(CursorMoved):
        exporter.export_batch(batch_of(varied_calls(20, seed=2), prices))
    with pytest.raises(CursorMoved):
        exporter.export_batch(batch_of(calls, prices, Position(1, 19)))
    assert count_of(database) == 20
    assert_rollups_are_the_calls(database)


def test_rows_that_no_table_holds_are_put_aside_and_the_others_go_in(
    exporter, prices, database, varied_calls
):
    open_journal(exporter)
    calls = varied_calls(50)
    replace = msgspec.structs.replace
    calls[3] = replace(calls[3], status=40_000)
    calls[11] = replace(calls[11], started_at_ns=calls[11].started_at_ns - 500 * 86_400 * 10**9)
    calls[12] = replace(calls[12], started_at_ns=calls[12].started_at_ns + 9 * 86_400 * 10**9)
    calls[13] = replace(calls[13], started_at_ns=2**63 - 1)
    calls[20] = replace(calls[20], content_events=2**40)
    calls[21] = replace(calls[21], end_user="a\0b", model="x\0y")
    written = exporter.export_batch(batch_of(calls, prices))
    assert (written.calls, written.quarantined) == (45, 5)
    found = database.execute("SELECT byte_offset, reason, frame FROM quarantine ORDER BY 1").fetchall()
    assert [(at, frame[8:]) for at, _, frame in found] == [
        (at, calls[at].call_id) for at in (3, 11, 12, 13, 20)
    ]
    assert "started at" in found[1][1]
    assert database.execute("SELECT model FROM calls WHERE end_user = 'a\ufffdb'").fetchone() == ("x\ufffdy",)
    assert_rollups_are_the_calls(database)
    assert open_journal(exporter) == Position(1, 50)


def test_rows_that_only_postgres_refuses_are_found_by_halves(exporter, prices, database, varied_calls):
    database.execute("ALTER TABLE calls ADD CONSTRAINT odd CHECK (request_id <> 'odd')")
    open_journal(exporter)
    calls = varied_calls(64)
    for at in (0, 40, 41, 63):
        calls[at] = msgspec.structs.replace(calls[at], request_id="odd")
    written = exporter.export_batch(batch_of(calls, prices))
    assert (written.calls, written.quarantined) == (60, 4)
    found = database.execute("SELECT byte_offset FROM quarantine ORDER BY 1").fetchall()
    assert found == [(0,), (40,), (41,), (63,)]
    assert_rollups_are_the_calls(database)


def test_old_rows_and_refused_rows_in_one_batch(exporter, prices, database, varied_calls):
    database.execute("ALTER TABLE calls ADD CONSTRAINT odd CHECK (request_id <> 'odd')")
    open_journal(exporter)
    calls = varied_calls(30)
    exporter.export_batch(batch_of(calls[:10], prices, None, Position(1, 10)))
    calls[20] = msgspec.structs.replace(calls[20], request_id="odd")
    again = [*calls, calls[25], msgspec.structs.replace(calls[26], team="another")]
    written = exporter.export_batch(batch_of(again, prices, Position(1, 10), Position(1, 32)))
    assert (written.calls, written.quarantined) == (19, 1)
    assert count_of(database) == 29
    assert_rollups_are_the_calls(database)


def test_names_that_no_index_holds_are_cut_in_the_rollups_alone(exporter, prices, database, varied_calls):
    open_journal(exporter)
    calls = varied_calls(4)
    long = "\U0001f600" * 9000
    calls[1] = msgspec.structs.replace(calls[1], model=long, served_model="", team=long, upstream=long)
    calls[2] = msgspec.structs.replace(calls[2], model="a\0b", served_model="", team="\0")
    written = exporter.export_batch(batch_of(calls, prices))
    assert (written.calls, written.quarantined) == (4, 0)
    assert database.execute("SELECT max(length(model)) FROM calls").fetchone() == (9000,)
    assert database.execute("SELECT max(length(model)) FROM rollup_days").fetchone() == (160,)
    names = database.execute("SELECT model, team FROM rollup_hours WHERE model LIKE 'a%'").fetchall()
    assert names == [("a\ufffdb", "\ufffd")]


def test_a_partition_dropped_behind_our_back_is_made_again(exporter, prices, database, varied_calls):
    open_journal(exporter)
    calls = varied_calls(40, days=1)
    exporter.export_batch(batch_of(calls[:20], prices, None, Position(1, 20)))
    for (name,) in database.execute("SELECT inhrelid::regclass::text FROM pg_inherits").fetchall():
        if name.startswith("calls_2") and "_idx" not in name and "_pkey" not in name:
            database.execute(f"DROP TABLE {name}")
    written = exporter.export_batch(batch_of(calls[20:], prices, Position(1, 20), Position(1, 40)))
    assert (written.calls, written.quarantined) == (20, 0)
    assert count_of(database) == 20


def test_an_old_state_of_the_journal_adds_only_what_is_new(exporter, prices, database, varied_calls):
    open_journal(exporter)
    calls = varied_calls(30)
    exporter.export_batch(batch_of(calls[:20], prices, None, Position(1, 20)))
    exporter.export_batch(batch_of(calls, prices, Position(1, 20), Position(1, 30)))
    assert count_of(database) == 30
    assert_rollups_are_the_calls(database)


def test_the_plain_interface_may_be_handed_a_span_twice(exporter, prices, database, varied_calls):
    spans = [span for span, _ in batch_of(varied_calls(25), prices).spans]
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert count_of(database) == 25
    assert_rollups_are_the_calls(database)


def test_the_plain_interface_says_when_a_span_was_refused(exporter, prices, database, varied_calls):
    calls = varied_calls(5)
    calls[2] = msgspec.structs.replace(calls[2], status=40_000)
    spans = [span for span, _ in batch_of(calls, prices).spans]
    assert exporter.export(spans) is SpanExportResult.FAILURE
    assert count_of(database) == 4


def test_rollups_follow_the_reporting_zone(exporter, prices, database, varied_calls):
    database.execute("UPDATE settings SET value = 'Asia/Kathmandu' WHERE name = 'reporting_zone'")
    open_journal(exporter)
    exporter.export_batch(batch_of(varied_calls(200), prices))
    days = database.execute("SELECT DISTINCT to_char(bucket AT TIME ZONE 'UTC', 'HH24:MI') FROM rollup_days")
    assert days.fetchall() == [("18:15",)]
    hours = database.execute("SELECT DISTINCT extract(minute FROM bucket) FROM rollup_hours").fetchall()
    assert hours == [(15,)]
    last = database.execute("SELECT max(bucket) FROM rollup_days").fetchone()
    raw = database.execute("SELECT count(*), sum(cost_usd) FROM calls WHERE started_at >= %s", last)
    day = "SELECT sum(calls)::bigint, sum(cost_usd) FROM rollup_days WHERE bucket = %s"
    assert raw.fetchone() == database.execute(day, last).fetchone()
