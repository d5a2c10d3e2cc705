"""What the recorder writes is what the pages read: a journal goes in, the page and the API show its sum."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
from fastapi.testclient import TestClient

from collector.journal import Journal

COUNT = 300


@contextmanager
def recorder(config: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "collector.ledger", "--config-file", str(config)]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        assert child.wait(timeout=30) == 0


def test_recorded_calls_show_up(
    database_url: str, tmp_path: Path, seeding: ModuleType, make_client: Callable[[str], TestClient]
) -> None:
    client = make_client(database_url)
    now = datetime.now(UTC)  # the recorder looks at the clock: what is too old or not yet is no call
    calls = seeding.make_calls(COUNT, now - timedelta(days=9), now)
    journal = Journal(tmp_path / "journal" / "w0", segment_bytes=1 << 20, fsync_ms=100)
    for call in calls:
        assert journal.append(call)
    journal.close()
    config = tmp_path / "config.json"
    settings = {
        "state_dir": str(tmp_path),
        "database": {"url": database_url},
        "record": {"listen": "127.0.0.1:0"},
    }
    config.write_text(json.dumps(settings))
    with recorder(config):
        deadline = time.monotonic() + 30
        while recorded(client) < COUNT and time.monotonic() < deadline:
            time.sleep(0.2)
    span = f"from={now - timedelta(days=10):%Y-%m-%d}&to={now + timedelta(days=2):%Y-%m-%d}"
    spend = client.get(f"/api/v1/spend?{span}&by=team,model").json()
    total = f"{seeding.total_cost(calls).normalize():f}"
    assert spend["total"]["calls"] == COUNT
    assert normal(spend["total"]["cost_usd"]) == total
    assert client.get("/api/v1/status").json()["journals"][0]["lag_bytes"] == 0
    for field in ("project", "end_user"):  # from the calls, the others are from the rollups
        other = client.get(f"/api/v1/spend?{span}&by={field}").json()
        assert normal(other["total"]["cost_usd"]) == total
    with psycopg.connect(database_url) as connection:
        check_every_call_adds_up(client, connection)


def recorded(client: TestClient) -> int:
    journals = client.get("/api/v1/status").json()["journals"]
    return sum(one["recorded_calls"] for one in journals)


def normal(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def check_every_call_adds_up(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    rows = connection.execute("SELECT call_id FROM calls WHERE price_state = 'priced' LIMIT 25").fetchall()
    assert len(rows) == 25
    for (call_id,) in rows:
        page = client.get(f"/calls/{call_id}").text
        assert "What it cost" in page
        assert "Not explained by these rates" not in page
