import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from collector.call import Call, new_call_id
from collector.journal import Journal
from collector.web.health import STALLED_AFTER, JournalState, record_check
from collector.web.metrics import MOST_NAMES, OTHER, admitted

Ledger = psycopg.Connection[Any]
GONE = "postgresql://nobody@127.0.0.1:1/none"
NOW = datetime(2026, 11, 21, 15, 42, tzinfo=UTC)


def write_calls(folder: Path, count: int) -> uuid.UUID:
    journal = Journal(folder, segment_bytes=1 << 20, fsync_ms=100)
    for number in range(count):
        journal.append(Call(call_id=new_call_id(number), started_at_ns=number))
    journal.close()
    return journal.source_id


def test_alive_needs_no_database(make_client: Callable[[str], TestClient]) -> None:
    assert make_client(GONE).get("/healthz").json() == {"status": "ok"}


def test_ready_when_everything_is(client: TestClient) -> None:
    found = client.get("/readyz")
    assert found.status_code == 200, found.text
    assert found.json()["status"] == "ready"


def test_not_ready_without_a_database(make_client: Callable[[str], TestClient]) -> None:
    found = make_client(GONE).get("/readyz")
    assert found.status_code == 503
    assert not found.json()["checks"]["database"]["ok"]
    assert found.json()["checks"]["journal"]["ok"]


def test_not_ready_without_a_journal(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "journal").rmdir()
    found = client.get("/readyz")
    assert found.status_code == 503
    assert "no folder" in found.json()["checks"]["journal"]["reason"]


def test_not_ready_with_the_schema_of_another_version(client: TestClient, ledger: Ledger) -> None:
    ledger.execute("UPDATE alembic_version SET version_num = '9999'")
    ledger.commit()
    found = client.get("/readyz")
    assert found.status_code == 503
    assert "sizewise migrate" in found.json()["checks"]["schema"]["reason"]


def test_a_recorder_that_does_not_follow_is_seen(client: TestClient, ledger: Ledger, tmp_path: Path) -> None:
    source_id = write_calls(tmp_path / "journal" / "w0", 20)
    found = client.get("/readyz").json()["checks"]["record"]
    assert not found["ok"]
    assert "behind w0" in found["reason"]
    ledger.execute(
        "INSERT INTO cursors (source_id, segment, byte_offset, calls) VALUES (%s, 1, 1000000, 20)",
        [source_id],
    )
    ledger.commit()
    assert client.get("/readyz").json()["checks"]["record"]["ok"]
    assert client.get("/api/v1/status").json()["journals"][0]["recorded_calls"] == 20


def test_a_journal_that_is_just_being_read_is_no_alarm() -> None:
    fresh = JournalState("w0", 500, 3, NOW - timedelta(seconds=1))
    stalled = JournalState("w1", 500, 3, NOW - STALLED_AFTER - timedelta(seconds=1))
    assert record_check([fresh], NOW).ok
    assert not record_check([fresh, stalled], NOW).ok


def scrape(client: TestClient) -> dict[str, dict[tuple[str, ...], float]]:
    found = client.get("/metrics")
    assert found.status_code == 200
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(found.text)
    }


def test_metrics_count_what_the_ledger_holds(client: TestClient, ledger: Ledger, tmp_path: Path) -> None:
    write_calls(tmp_path / "journal" / "w0", 3)
    metrics = scrape(client)
    row = ledger.execute(
        "SELECT count(*), sum(input_tokens)::bigint, count(*) FILTER (WHERE price_state = 'unpriced'),"
        " sum(cost_usd) FROM calls"
    ).fetchone()
    assert row
    tokens = metrics["gen_ai_client_token_usage"]
    assert sum(metrics["sizewise_ledger_calls"].values()) == row[0]
    assert sum(value for labels, value in tokens.items() if "input" in labels) == row[1]
    assert sum(metrics["sizewise_ledger_unpriced_calls"].values()) == row[2]
    assert abs(sum(metrics["sizewise_ledger_cost_usd"].values()) - float(row[3])) < 1e-6
    assert metrics["sizewise_journal_lag_bytes"][("w0",)] > 0
    assert metrics["sizewise_database_up"][()] == 1


def test_metrics_without_a_database_say_so(make_client: Callable[[str], TestClient]) -> None:
    metrics = scrape(make_client(GONE))
    assert metrics["sizewise_database_up"][()] == 0
    assert "sizewise_ledger_calls" not in metrics


def test_made_up_names_get_no_series_of_their_own() -> None:
    rows = [{"model": f"m{n:03d}", "first_answered_at": NOW + timedelta(days=n)} for n in range(200)]
    rows += [{"model": "never-answered", "first_answered_at": None}]
    names = admitted(rows, "model", ["configured"])
    assert len(names) == MOST_NAMES + 1
    assert {"configured", "m000"} <= names
    assert not {"never-answered", "m199", OTHER} & names
    assert (
        admitted(
            [*rows, {"model": "late", "first_answered_at": NOW + timedelta(days=999)}],
            "model",
            ["configured"],
        )
        == names
    )
