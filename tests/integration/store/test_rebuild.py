"""Another reporting zone: the rollups become what the recorder would have made in that zone."""

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import psycopg
import pytest

from collector.errors import StoreError
from collector.ledger.rollups import add_up
from collector.store.partitions import drop_partitions, ensure_partitions
from collector.store.rebuild import rebuild_rollups
from collector.store.sql import query
from collector.store.tables import rollup_hours

SOURCE = UUID(int=7)
FIRST, LAST = date(2026, 4, 3), date(2026, 4, 6)  # in Lord Howe the clock goes back on the 4th, 15:00 UTC
HOUR_COLUMNS = ", ".join(column.name for column in rollup_hours.columns if column.name != "source_id")
LATENCY_COLUMNS = "bucket, tenant_id, upstream, model, measure, bin, calls"


def some_rows(count=600):
    """With what `add_up` reads of a row."""
    chance = random.Random(5)
    begin = int(datetime(2026, 4, 3, tzinfo=UTC).timestamp()) * 1_000_000
    rows = []
    for number in range(count):
        cost = chance.choice([None, Decimal("0.000000000001"), Decimal("1.25"), Decimal(0)])
        rows.append(
            SimpleNamespace(
                source_id=SOURCE.bytes,
                started_at_us=begin + chance.randrange(4 * 86_400_000_000),
                call_id=number.to_bytes(16, "big"),
                tenant_id="default",
                team=chance.choice(["a", "b", ""]),
                provider="openai",
                upstream="openai",
                model="gpt",
                cost_usd=cost,
                served_model=chance.choice(["", "gpt-2026"]),
                outcome=chance.choice(
                    [
                        "ok",
                        "ok",
                        "error",
                        "client_left",
                        "upstream_cut",
                        "interrupted",
                        "refused",
                        "upstream_unreachable",
                    ]
                ),
                price_state=chance.choice(["priced", "unpriced", "unknown_usage"]),
                input_tokens=chance.choice([None, 0, 5, 10**12]),
                output_tokens=chance.choice([None, 3]),
                cache_read_tokens=chance.choice([None, 2]),
                cache_write_tokens=None,
                reasoning_tokens=chance.choice([None, 1]),
                duration_us=chance.choice([0, 1, 2, 1 << chance.randrange(32), chance.randrange(10**9)]),
                first_content_us=chance.choice([None, 1 << chance.randrange(32)]),
                relay_us=chance.choice([None, 0, chance.randrange(10**5)]),
            )
        )
    return rows


def insert_calls(connection, rows):
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO calls (source_id, started_at, call_id, tenant_id, team, provider, upstream, model, "
            "served_model, outcome, price_state, input_tokens, output_tokens, cache_read_tokens, "
            "reasoning_tokens, cost_usd, duration_ms, first_content_ms, relay_ms, stream, status, attempts, "
            "request_bytes, response_bytes, content_events) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
            "%s, %s, %s, %s, %s, %s, %s, %s, %s, false, 200, 1, 0, 0, 0)",
            [
                (SOURCE, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row.started_at_us),
                 UUID(bytes=row.call_id), row.tenant_id, row.team, row.provider, row.upstream, row.model,
                 row.served_model, row.outcome, row.price_state, row.input_tokens, row.output_tokens,
                 row.cache_read_tokens, row.reasoning_tokens, row.cost_usd,
                 row.duration_us / 1000, thousandth(row.first_content_us), thousandth(row.relay_us))
                for row in rows
            ],
        )  # fmt: skip


def thousandth(us):
    return None if us is None else us / 1000


def insert_rollups(connection, rollups):
    for table, totals in (("rollup_hours", rollups.hours), ("rollup_days", rollups.days)):
        insert_all(connection, table, HOUR_COLUMNS, totals)
    insert_all(connection, "latency_hours", LATENCY_COLUMNS, rollups.latency)


def insert_all(connection, table, columns, structs):
    marks = ", ".join(["%s"] * (columns.count(",") + 2))
    with connection.cursor() as cursor:
        statement = f"INSERT INTO {table} (source_id, {columns}) VALUES ({marks})"
        cursor.executemany(statement, [(SOURCE, *msgspec.structs.astuple(struct)) for struct in structs])


@dataclass
class Content:
    hours: list[Any]
    days: list[Any]
    latency: list[Any]


def stored(connection):
    def read(table, columns):
        return sorted(connection.execute(f"SELECT {columns} FROM {table}").fetchall())

    return Content(
        read("rollup_hours", HOUR_COLUMNS),
        read("rollup_days", HOUR_COLUMNS),
        read("latency_hours", LATENCY_COLUMNS),
    )


def content(rollups):
    return Content(
        *(
            sorted(map(msgspec.structs.astuple, part))
            for part in (rollups.hours, rollups.days, rollups.latency)
        )
    )


@pytest.fixture
def filled(database):
    rows = some_rows()
    ensure_partitions(database, FIRST, LAST)
    insert_calls(database, rows)
    insert_rollups(database, add_up(rows).align(ZoneInfo("UTC")))
    return rows


@pytest.mark.parametrize(
    "zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"]
)
def test_the_rollups_are_what_the_recorder_would_have_made(database, filled, zone):
    rebuild_rollups(database, zone)
    assert stored(database) == content(add_up(filled).align(ZoneInfo(zone)))
    assert database.execute("SELECT value FROM settings").fetchall() == [(zone,)]


def test_there_and_back_is_as_before(database, filled):
    before = stored(database)
    rebuild_rollups(database, "Asia/Kathmandu")
    assert stored(database) != before
    rebuild_rollups(database, "UTC")
    assert stored(database) == before


@pytest.mark.parametrize("last_dropped", [date(2026, 4, 4), LAST])
@pytest.mark.parametrize("first_zone", ["UTC", "Asia/Kathmandu"])
def test_hours_whose_calls_are_gone_are_kept(database, filled, last_dropped, first_zone):
    """Also the hour that begins before the first day that is left, and ends within it."""
    rebuild_rollups(database, first_zone)
    drop_partitions(database, last_dropped + timedelta(days=1))
    before = stored(database)
    rebuild_rollups(database, "Europe/Berlin")
    after = stored(database)
    for number in range(5, 16):
        assert sum(row[number] for row in after.hours) == sum(row[number] for row in before.hours)
        assert sum(row[number] for row in after.days) == sum(row[number] for row in before.days)
    assert sum(row[-1] for row in after.latency) == sum(row[-1] for row in before.latency)


def test_rollups_that_do_not_add_up_are_left_as_they_are(database, filled):
    database.execute(
        "UPDATE rollup_hours SET calls = calls + 1 WHERE bucket = (SELECT max(bucket) FROM rollup_hours)"
    )
    before = stored(database)
    with pytest.raises(StoreError, match="Nothing was changed"):
        rebuild_rollups(database, "Asia/Kolkata")
    assert stored(database) == before
    assert database.execute("SELECT value FROM settings").fetchall() == [("UTC",)]


def test_an_empty_ledger_changes_its_zone(database):
    rebuild_rollups(database, "Asia/Kolkata")
    assert database.execute("SELECT value FROM settings").fetchall() == [("Asia/Kolkata",)]


@pytest.mark.parametrize("prepare", [False, True])
def test_a_recorder_waits_and_then_sees_the_new_zone(database, database_url, prepare):
    """Its statement that moves the cursor also reads the zone: after the wait, not before."""
    move = {
        "source_id": SOURCE,
        "old_segment": 0,
        "old_byte_offset": 0,
        "segment": 0,
        "byte_offset": 0,
        "calls": 0,
    }
    seen = []
    with psycopg.connect(database_url, autocommit=True) as recorder:
        recorder.execute(query("ledger_open_cursor"), move)

        def record():
            seen.append(recorder.execute(query("ledger_move_cursor"), move, prepare=prepare).fetchone())

        record()
        thread = threading.Thread(target=record)
        with database.transaction():
            rebuild_rollups(database, "Asia/Kolkata")
            thread.start()
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'cursors'::regclass"
            until(lambda: database.execute(blocked).fetchone() == (1,))
            assert len(seen) == 1
        thread.join()
    assert seen == [("UTC",), ("Asia/Kolkata",)]


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
