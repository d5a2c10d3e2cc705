"""`sizewise forecast` as somebody types it."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

INSERT = (
    "INSERT INTO rollup_days (source_id, bucket, tenant_id, team, provider, model, calls, cost_usd)"
    " VALUES ('018f0000-0000-7000-8000-000000000009', %s, 'default', 'search', 'openai', 'gpt-4o', 50, 20)"
)


def forecast(url: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "SIZEWISE_DATABASE__URL": url,
        "SIZEWISE_STATE_DIR": str(folder),
    }
    command = [sys.executable, "-c", "from collector.cli import main; main()", "forecast", *words]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def filled(database: psycopg.Connection[Any], database_url: str) -> str:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with database.cursor() as cursor:
        cursor.executemany(INSERT, [(today - timedelta(days=at),) for at in range(90)])
    return database_url


def test_a_table_for_people_and_values_for_scripts(filled: str, tmp_path: Path) -> None:
    shown = forecast(filled, tmp_path, "--by", "team")
    assert shown.returncode == 0, shown.stderr
    assert "TOTAL" in shown.stdout
    assert "search" in shown.stdout
    assert "days of earlier months" in shown.stdout

    found = json.loads(forecast(filled, tmp_path, "--json").stdout)
    low, high = (Decimal(found["total"]["bands"]["80"][name]) for name in ("low_usd", "high_usd"))
    assert Decimal(found["total"]["spent_usd"]) <= low <= Decimal(found["total"]["expected_usd"]) <= high
    assert found["teams"] == []
    months = {f"{20 * days}.000000" for days in (28, 29, 30, 31)}
    assert {past["actual_usd"] for past in found["record"]} <= months


def test_only_the_month_under_way_is_foreseen(filled: str, tmp_path: Path) -> None:
    over = forecast(filled, tmp_path, "--month", "2020-02")
    assert over.returncode == 1
    assert "2020-02 is over" in over.stderr
    assert "sizewise report --month 2020-02" in over.stderr
    assert "not begun" in forecast(filled, tmp_path, "--month", "2199-01").stderr
    assert forecast(filled, tmp_path, "--by", "model").returncode == 2
