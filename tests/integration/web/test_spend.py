"""The rollups, the calls, the API and the page say the same sums, to the last digit."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, get_args

import psycopg
import pytest
from fastapi.testclient import TestClient

from collector.call import Outcome
from collector.ledger.rollups import ERRORS
from collector.spend.actual import (
    CALL_DIMENSIONS,
    COUNTS,
    IS_ERROR,
    ROLLUP_DIMENSIONS,
    UnknownDimension,
    spend_by,
)
from collector.spend.period import month_period
from collector.spend.render import render_csv
from collector.spend.report import report
from collector.spend.scope import scoped

ZONE = "Asia/Kathmandu"
Ledger = psycopg.Connection[Any]
NOVEMBER = (datetime(2026, 10, 31, 18, 15, tzinfo=UTC), datetime(2026, 11, 30, 18, 15, tzinfo=UTC))
RAGGED = (datetime(2026, 11, 2, 3, 15, tzinfo=UTC), datetime(2026, 11, 9, 21, 15, tzinfo=UTC))
WITHIN_A_DAY = (datetime(2026, 11, 2, 19, 15, tzinfo=UTC), datetime(2026, 11, 3, 2, 15, tzinfo=UTC))
WITHIN_AN_HOUR = (datetime(2026, 11, 2, 19, 20, tzinfo=UTC), datetime(2026, 11, 5, 2, 50, 1, tzinfo=UTC))


def raw_sum(ledger: Ledger, start: datetime, end: datetime) -> tuple[int, Decimal, int]:
    row = ledger.execute(
        "SELECT count(*), coalesce(sum(cost_usd), 0), coalesce(sum(input_tokens), 0)::bigint FROM calls"
        " WHERE tenant_id = 'default' AND started_at >= %s AND started_at < %s",
        [start, end],
    ).fetchone()
    assert row
    return row


@pytest.mark.parametrize("bounds", [NOVEMBER, RAGGED, WITHIN_A_DAY, WITHIN_AN_HOUR])
@pytest.mark.parametrize(
    "dimensions", [(), ("team",), ("provider", "model", "day"), ("end_user",), ("route", "month")]
)
def test_every_cut_sums_to_the_calls(
    ledger: Ledger, bounds: tuple[datetime, datetime], dimensions: tuple[str, ...]
) -> None:
    rows = spend_by(ledger, tenant="default", start=bounds[0], end=bounds[1], dimensions=dimensions)
    calls, cost_usd, tokens = raw_sum(ledger, *bounds)
    assert calls > 0
    assert sum(row.calls for row in rows) == calls
    assert sum(row.cost_usd for row in rows) == cost_usd
    assert sum(row.input_tokens for row in rows) == tokens


def test_rollups_and_calls_count_alike(ledger: Ledger) -> None:
    asked = {"tenant": "default", "start": NOVEMBER[0], "end": NOVEMBER[1], "zone": ZONE}
    shared = tuple(name for name in ROLLUP_DIMENSIONS if name != "month")
    from_rollups = spend_by(ledger, dimensions=shared, **asked)  # type: ignore[arg-type]
    wider = spend_by(ledger, dimensions=(*shared, "operation"), **asked)  # type: ignore[arg-type]
    assert len(from_rollups) > 50
    for row in from_rollups:
        parts = [one for one in wider if one.names[:-1] == row.names]
        for field in (*COUNTS, "cost_usd"):
            assert sum(getattr(one, field) for one in parts) == getattr(row, field)


def test_the_recorder_and_this_query_agree_what_an_error_is(ledger: Ledger) -> None:
    found = ledger.execute(
        b"SELECT outcome FROM unnest(%s::text[]) AS outcome WHERE " + IS_ERROR.as_bytes(ledger),
        [list(get_args(Outcome))],
    ).fetchall()
    assert {row[0] for row in found} == ERRORS


def test_another_tenant_sees_nothing(ledger: Ledger) -> None:
    rows = spend_by(ledger, tenant="other", start=NOVEMBER[0], end=NOVEMBER[1], dimensions=("team",))
    assert rows == []
    assert spend_by(ledger, tenant="other", start=NOVEMBER[0], end=NOVEMBER[1])[0].calls == 0


def test_a_query_without_the_filter_is_refused() -> None:
    with pytest.raises(Exception, match="every tenant"):
        scoped("cursors_all")


def test_an_unknown_dimension_lists_the_known(ledger: Ledger) -> None:
    with pytest.raises(UnknownDimension, match="allowed are team, provider, model"):
        spend_by(ledger, tenant="default", start=NOVEMBER[0], end=NOVEMBER[1], dimensions=["colour"])


@pytest.mark.parametrize("name", CALL_DIMENSIONS)
def test_every_dimension_can_be_asked(ledger: Ledger, name: str) -> None:
    rows = spend_by(ledger, tenant="default", start=NOVEMBER[0], end=NOVEMBER[1], dimensions=[name])
    assert rows
    assert all(isinstance(row.names[0], str) for row in rows)


def test_days_stand_in_their_order_and_begin_at_local_midnight(ledger: Ledger) -> None:
    rows = spend_by(ledger, tenant="default", start=NOVEMBER[0], end=NOVEMBER[1], dimensions=["day"])
    days = [row.names[0] for row in rows]
    assert days == sorted(days)
    assert days[0] == "2026-11-01"


def test_report_csv_api_and_page_show_one_total(ledger: Ledger, client: TestClient) -> None:
    found = report(
        ledger, tenant="default", period=month_period("2026-11", ZONE), dimensions=("team", "model")
    )
    lines = list(csv.DictReader(io.StringIO(render_csv(found))))
    body = client.get("/api/v1/spend?month=2026-11&by=team,model").json()
    raw = raw_sum(ledger, *NOVEMBER)
    assert Decimal(lines[-1]["cost_usd"]) == raw[1]
    assert sum(Decimal(line["cost_usd"] or 0) for line in lines[:-1]) == raw[1]
    assert Decimal(body["total"]["cost_usd"]) == raw[1]
    assert sum(Decimal(row["cost_usd"] or 0) for row in body["rows"]) == raw[1]
    page = client.get("/?month=2026-11").text
    assert f'<data class="money" value="{raw[1]}">' in page
    assert f"<dd>{raw[0]:,}</dd>" in page


def test_an_empty_ledger_has_a_total_of_nothing(database: Ledger, seeding: ModuleType) -> None:
    found = report(database, tenant="default", period=month_period("2026-11", "UTC"))
    assert (found.rows, found.total.calls, found.total.cost_usd) == ([], 0, Decimal(0))
