"""Calls priced anew: the ledger's sums follow, its calls don't change, and the audit says who and why."""

import random
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from benchmarks.calls import make_calls
from collector.ledger.book_file import read_book
from collector.ledger.journals import Journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.prices import PriceList
from collector.ledger.recorder import Recorder
from collector.ledger.reprice import reprice
from collector.spend.actual import COUNTS, spend_by
from collector.store.partitions import drop_partitions
from collector.store.rebuild import rebuild_rollups

DAY = timedelta(days=1)


@pytest.fixture
def span():
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return {"start": now - 4 * DAY, "end": now + DAY}


@pytest.fixture
def ledger(journal, tmp_path, exporter, prices, database_url):
    for call in make_calls(400, random.Random(3), now_ns=time.time_ns(), days=2):
        journal.append(call)
    recorder = Recorder(Journals(tmp_path), exporter, prices, RecordMetrics())
    while recorder.record_once():
        pass
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def dearer(tmp_path):
    """Everything at 7 and 9 dollars, whatever it was."""
    path = tmp_path / "dearer.yaml"
    path.write_text("prices: [{model: '*', input: 7, output: 9, service_tier: '*'}]")
    return PriceList(read_book(path))


def sums(connection, span, dimensions=()):
    return spend_by(connection, tenant="default", dimensions=dimensions, **span)


def do(connection, prices, span, **fields):
    given = {"tenant": "default", "who": "ada", "why": "the new contract", "dry_run": False}
    return reprice(connection, prices, **span, **given | fields)


def by_hand(connection):
    """At 7 and 9 dollars, reckoned by the server itself; only calls that have both counts have a price."""
    return connection.execute(
        "SELECT sum((coalesce(input_tokens, 0) * 7 + coalesce(output_tokens, 0) * 9) / 1000000.0), count(*)"
        " FROM calls WHERE price_state IN ('priced', 'free', 'unpriced')"
    ).fetchone()


def assert_rollups_are_calls_and_adjustments(connection, span):
    for dimension in ("team", "provider", "model", "day"):
        narrow = {row.names: row for row in sums(connection, span, (dimension,))}
        parts = sums(connection, span, (dimension, "operation"))
        for names, row in narrow.items():
            own = [one for one in parts if one.names[:1] == names]
            for field in (*COUNTS, "cost_usd"):
                assert sum(getattr(one, field) for one in own) == getattr(row, field), (names, field)


def test_a_dry_run_says_what_would_be_and_changes_nothing(ledger, dearer, span):
    before = sums(ledger, span)
    found = do(ledger, dearer, span, dry_run=True)
    assert found.changed > 100
    assert found.audit_id == ""
    assert sums(ledger, span) == before
    assert ledger.execute("SELECT count(*) FROM adjustments").fetchone() == (0,)


def test_sums_follow_and_calls_stay(ledger, dearer, span):
    before = sums(ledger, span)[0]
    calls = ledger.execute("SELECT * FROM calls ORDER BY call_id").fetchall()
    found = do(ledger, dearer, span)
    after = sums(ledger, span)[0]
    assert after.cost_usd - before.cost_usd == found.after_usd - found.before_usd
    assert after.calls == before.calls
    assert found.without_price == 0
    assert (after.cost_usd, found.calls) == by_hand(ledger)
    assert after.unpriced == 0 < before.unpriced
    assert sum(one.newly_priced for one in found.models) == before.unpriced
    assert ledger.execute("SELECT * FROM calls ORDER BY call_id").fetchall() == calls
    assert_rollups_are_calls_and_adjustments(ledger, span)
    unknown = ledger.execute(
        "SELECT count(*) FROM adjustments LEFT JOIN price_versions USING (price_id) WHERE rates IS NULL"
    )
    assert unknown.fetchone() == (0,)


def test_the_audit_says_who_why_and_what(ledger, dearer, span):
    found = do(ledger, dearer, span)
    [row] = ledger.execute("SELECT audit_id, who, action, why, before, after FROM audit").fetchall()
    assert (str(row[0]), *row[1:4]) == (found.audit_id, "ada", "reprice", "the new contract")
    assert Decimal(row[4]["cost_usd"]) == found.before_usd
    assert Decimal(row[5]["cost_usd"]) == found.after_usd
    assert row[5]["calls"] == found.changed
    assert ledger.execute("SELECT DISTINCT audit_id FROM adjustments").fetchall() == [(row[0],)]


def test_twice_counts_once_and_back_is_as_before(ledger, dearer, prices, span):
    before = sums(ledger, span)[0]
    do(ledger, dearer, span)
    assert do(ledger, dearer, span).changed == 0
    again = do(ledger, prices, span)
    after = sums(ledger, span)[0]
    # what the lists don't know keeps the price that it was given
    kept = [one for one in again.models if one.newly_priced]
    assert kept == []
    assert after.unpriced == 0
    assert after.cost_usd >= before.cost_usd
    assert_rollups_are_calls_and_adjustments(ledger, span)


def test_one_model_and_its_days_alone(ledger, dearer, span):
    model = ledger.execute("SELECT model FROM calls WHERE price_state = 'priced' LIMIT 1").fetchone()[0]
    found = do(ledger, dearer, span, model=model)
    others = ledger.execute(
        "SELECT count(*) FROM adjustments JOIN calls USING (source_id, started_at, call_id)"
        " WHERE %s NOT IN (calls.model, served_model)",
        [model],
    )
    assert found.changed
    assert others.fetchone() == (0,)
    nothing = do(ledger, dearer, {"start": span["start"] - 9 * DAY, "end": span["start"] - 8 * DAY})
    assert (nothing.calls, nothing.changed, nothing.audit_id) == (0, 0, "")


def test_another_zone_and_the_retention_keep_the_sums(ledger, dearer, span):
    do(ledger, dearer, span)
    before = ledger.execute("SELECT sum(calls), sum(cost_usd), sum(unpriced) FROM rollup_days").fetchone()
    rebuild_rollups(ledger, "Asia/Kolkata")
    drop_partitions(ledger, (datetime.now(UTC) - DAY).date())
    rebuild_rollups(ledger, "UTC")
    after = ledger.execute("SELECT sum(calls), sum(cost_usd), sum(unpriced) FROM rollup_days").fetchone()
    assert after == before
    left = ledger.execute("SELECT count(*) FROM adjustments WHERE started_at < now() - interval '3 days'")
    assert left.fetchone() == (0,)
    orphans = ledger.execute(
        "SELECT count(*) FROM adjustments LEFT JOIN calls USING (source_id, started_at, call_id)"
        " WHERE calls.call_id IS NULL"
    )
    assert orphans.fetchone() == (0,)
