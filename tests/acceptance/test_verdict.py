"""The judge itself: a ledger that lost, doubled or changed a call must not pass."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.harness.load import Load
from benchmarks.harness.product import Product
from benchmarks.harness.verdict import compare, judge, read_log


@pytest.fixture(scope="module")
def logs(product: Product, session_dir: Path, session_truth: Path) -> tuple[Path, Path]:
    client_log = session_dir / "client.jsonl"
    Load(product.relay, client_log, seed=1, clients=2, options=("--calls", "5")).start().wait()
    judge(product, client_log, session_truth)
    return client_log, session_truth


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("SELECT 1", ""),
        ("DELETE FROM calls WHERE response_id = %s", "lost"),
        ("UPDATE calls SET output_tokens = output_tokens + 1 WHERE response_id = %s", "wrong"),
        ("UPDATE calls SET outcome = 'interrupted' WHERE response_id = %s", "wrong"),
        ("UPDATE calls SET cost_usd = NULL WHERE response_id = %s", "wrong"),
        ("UPDATE rollup_days SET calls = calls + 1", "wrong"),
        (
            "INSERT INTO calls SELECT (jsonb_populate_record(c, "
            "jsonb_build_object('call_id', gen_random_uuid()))).* FROM calls c WHERE response_id = %s",
            "doubled",
        ),
    ],
)
def test_a_ledger_that_was_tampered_with_is_found(
    product: Product, logs: tuple[Path, Path], change: str, found: str
) -> None:
    seen, served = (read_log(path) for path in logs)
    mine = {one["trace"] for one in seen}
    served = [one for one in served if one["traceparent"][3:35] in mine]
    last = [one for one in seen if one["event"] == "ended"][-1]
    with psycopg.connect(product.database_url) as connection:
        drop_others(connection, mine)
        connection.execute(change.encode(), (last["id"],) if "%s" in change else None)
        verdict = compare(seen, served, connection)
        connection.rollback()
    assert verdict.ended == 10
    bad = {kind for kind in ("lost", "doubled", "wrong") if getattr(verdict, kind)}
    assert bad == ({found} | ({"wrong"} if found in ("lost", "doubled") else set()) if found else set())


def drop_others(connection: "psycopg.Connection[Any]", mine: set[str]) -> None:
    """Other tests of this session made calls as well; within this transaction the ledger has only ours."""
    traces = json.dumps(sorted(mine))
    connection.execute(
        "DELETE FROM calls WHERE trace_id IS NULL OR NOT %s::jsonb ? replace(trace_id::text, '-', '')",
        [traces],
    )
    for table in ("rollup_hours", "rollup_days", "cursors"):
        connection.execute(f"DELETE FROM {table} WHERE ctid <> (SELECT min(ctid) FROM {table})".encode())
        connection.execute(f"UPDATE {table} SET calls = (SELECT count(*) FROM calls)".encode())
