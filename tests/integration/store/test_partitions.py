"""Partitions on a real server: made once whoever asks, without holding anyone up, dropped when old."""

import threading
import uuid
from datetime import UTC, date, datetime

import psycopg
import pytest

from collector.store.partitions import drop_partitions, ensure_partitions, existing_days, existing_range

FIRST, LAST = date(2026, 2, 27), date(2026, 3, 2)
INSERT = """
INSERT INTO calls (source_id, started_at, call_id, stream, status, attempts, request_bytes, response_bytes,
    content_events, duration_ms) VALUES (%s, %s, %s, false, 200, 1, 0, 0, 0, 1)
"""


def insert(connection, instant):
    connection.execute(INSERT, (uuid.uuid4(), instant, uuid.uuid4()))


def test_days_are_made_once_and_hold_their_calls(database):
    assert existing_range(database) is None
    made = ensure_partitions(database, FIRST, LAST)
    assert made == [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 2)]
    assert ensure_partitions(database, FIRST, LAST) == []
    assert ensure_partitions(database, FIRST, date(2026, 3, 3)) == [date(2026, 3, 3)]
    assert existing_range(database) == (FIRST, date(2026, 3, 3))
    insert(database, datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC))
    insert(database, datetime(2026, 3, 1, tzinfo=UTC))
    found = database.execute("SELECT tableoid::regclass::text FROM calls ORDER BY started_at").fetchall()
    assert found == [("calls_20260228",), ("calls_20260301",)]
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(database, datetime(2026, 3, 4, tzinfo=UTC))


def test_days_are_utcs_whatever_the_session_thinks(database):
    database.execute("SET timezone = 'Asia/Kolkata'")
    ensure_partitions(database, FIRST, FIRST)
    insert(database, datetime(2026, 2, 27, 0, 0, tzinfo=UTC))
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(database, datetime(2026, 2, 26, 23, 59, tzinfo=UTC))


def test_a_partition_has_the_indexes_of_the_table(database):
    ensure_partitions(database, FIRST, FIRST)
    counts = database.execute(
        "SELECT count(*) FILTER (WHERE indrelid = 'calls'::regclass), "
        "count(*) FILTER (WHERE indrelid = 'calls_20260227'::regclass) FROM pg_index WHERE indisvalid"
    ).fetchone()
    assert counts == (3, 3)
    (attached,) = database.execute(
        "SELECT count(*) FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid"
    ).fetchone()
    assert attached == 3


def test_many_may_make_them_at_once(database, database_url):
    start, made, problems = threading.Barrier(4), [], []

    def run():
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                start.wait()
                made.extend(ensure_partitions(connection, FIRST, LAST))
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(made) == sorted(existing_days(database))
    assert len(made) == 4


def test_making_one_waits_for_no_reader_and_no_writer(database, database_url):
    ensure_partitions(database, FIRST, FIRST)
    with psycopg.connect(database_url) as reader, psycopg.connect(database_url) as writer:
        reader.execute("SELECT count(*) FROM calls")
        insert(writer, datetime(2026, 2, 27, tzinfo=UTC))
        database.execute("SET lock_timeout = '5s'")
        assert len(ensure_partitions(database, FIRST, LAST)) == 3
        insert(writer, datetime(2026, 2, 27, 1, tzinfo=UTC))


def test_within_a_transaction_they_end_with_it(database):
    with database.transaction(force_rollback=True):
        assert len(ensure_partitions(database, FIRST, LAST)) == 4
    assert existing_range(database) is None


def test_the_old_are_dropped_and_only_they(database):
    ensure_partitions(database, FIRST, LAST)
    database.execute(
        "CREATE TABLE calls_other PARTITION OF calls FOR VALUES FROM ('1990-01-01') TO ('1991-01-01')"
    )
    assert drop_partitions(database, date(2026, 3, 1)) == [date(2026, 2, 27), date(2026, 2, 28)]
    assert existing_range(database) == (date(2026, 3, 1), LAST)
    assert drop_partitions(database, date(2026, 3, 1)) == []
    assert database.execute("SELECT to_regclass('calls_other') IS NOT NULL").fetchone() == (True,)


def test_a_reader_puts_a_drop_off(database, database_url, monkeypatch):
    monkeypatch.setattr("collector.store.partitions.DROP_PATIENCE", "50ms")
    ensure_partitions(database, FIRST, LAST)
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM calls")
        assert drop_partitions(database, LAST) == []
        reader.rollback()
        assert len(drop_partitions(database, LAST)) == 3


def test_an_absurd_range_is_refused(database):
    with pytest.raises(ValueError, match="at most 5000"):
        ensure_partitions(database, date(1970, 1, 1), LAST)
