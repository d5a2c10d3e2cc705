"""The outlook is read from rollups: in any zone, with gaps, for teams old and new."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from collector.spend.outlook import forecast
from collector.spend.outlook_text import forecast_values, render_forecast

Database = psycopg.Connection[Any]
Fill = Callable[..., None]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)
NOTHING = (0, Decimal(0))


def even(hour: datetime, team: str) -> tuple[int, Decimal]:
    """A dollar an hour for each team, half of it on Saturdays and Sundays."""
    return 60, Decimal("0.5") if hour.weekday() >= 5 else Decimal(1)


MARCH = 2 * 24 * (22 + 9 * 0.5)  # its dollars: 22 workdays, 9 days of weekends, two teams


def test_a_steady_month_is_foreseen_and_its_past_is_exact(database: Database, fill: Fill) -> None:
    fill(FIRST, NOW, even)
    made = forecast(database, tenant="default", now=NOW, by_team=True)
    assert made.total.projection
    assert made.total.projection.expected_usd == pytest.approx(MARCH, rel=0.02)
    assert made.total.spent_usd == 2 * (24 * (7 + 3 * Decimal("0.5")) + 12)
    assert sum(one.spent_usd for one in made.teams) == made.total.spent_usd
    assert [one.name for one in made.teams] == ["search", "support"]
    assert made.missing_hours == 0
    assert made.total.filled_usd == 0
    assert len(made.total.record) == 8  # four days of February, four of January
    low, high = made.total.projection.bands[80]
    assert float(made.total.spent_usd) < low < MARCH < high


@pytest.mark.parametrize(
    "zone", ["Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]
)
def test_days_are_those_of_the_reporting_zone(database: Database, fill: Fill, zone: str) -> None:
    fill(FIRST, NOW, lambda hour, team: (60, Decimal(1)), zone=zone)
    made = forecast(database, tenant="default", now=NOW)
    assert made.zone == zone
    assert made.total.projection
    hours = 2 * 24 * 31
    assert made.total.projection.expected_usd == pytest.approx(
        hours, rel=0.03
    )  # New York's March lacks an hour
    assert made.missing_hours == 0


def test_hours_without_a_record_are_filled_and_told_apart(database: Database, fill: Fill) -> None:
    gone = [datetime(2026, 3, 4, 9, tzinfo=UTC) + timedelta(hours=at) for at in range(6)]
    gone.append(datetime(2026, 3, 11, 9, tzinfo=UTC))
    fill(FIRST, NOW, lambda hour, team: NOTHING if hour in gone else even(hour, team))
    made = forecast(database, tenant="default", now=NOW)
    assert made.missing_hours == 7
    assert made.total.filled_usd == pytest.approx(Decimal(12))  # today's hour counts as still to come
    assert made.total.projection
    assert made.total.projection.expected_usd == pytest.approx(MARCH, rel=0.02)
    assert "7 hours of the last eight weeks have no record" in render_forecast(made)


def test_a_team_that_calls_now_and_then_has_no_missing_hours(database: Database, fill: Fill) -> None:
    fill(FIRST, NOW, lambda hour, team: (3, Decimal(1)) if hour.hour % 5 == 0 else NOTHING)
    made = forecast(database, tenant="default", now=NOW)
    assert made.missing_hours == 0


def test_a_team_of_three_days_is_foreseen_beside_an_old_one(database: Database, fill: Fill) -> None:
    fill(FIRST, NOW, even, teams=("search",))
    fill(datetime(2026, 3, 8, tzinfo=UTC), NOW, even, teams=("newcomers",))
    old, new = forecast(database, tenant="default", now=NOW, by_team=True).teams
    assert (old.name, new.name) == ("search", "newcomers")
    assert old.projection
    assert new.projection
    assert new.projection.days_known == 3
    assert new.projection.spread > old.projection.spread
    assert new.projection.expected_usd == pytest.approx(24 * (17 + 5 * 0.5) + 12, rel=0.3)


def test_a_tenant_that_starts_on_the_thirtieth_is_told_that_it_is_too_early(
    database: Database, fill: Fill
) -> None:
    now = datetime(2026, 4, 30, 9, tzinfo=UTC)
    fill(datetime(2026, 4, 30, tzinfo=UTC), now, even)
    made = forecast(database, tenant="default", now=now)
    assert made.total.projection is None
    assert made.total.spent_usd == 18
    assert "Too few days are known" in render_forecast(made)
    assert forecast_values(made)["total"]["expected_usd"] is None


def test_an_empty_ledger_has_no_outlook(database: Database) -> None:
    made = forecast(database, tenant="default", now=NOW, by_team=True)
    assert made.total.projection is None
    assert made.teams == []


def test_a_correction_below_zero_lowers_the_month_and_breaks_nothing(database: Database, fill: Fill) -> None:
    corrected = datetime(2026, 3, 6, 10, tzinfo=UTC)
    fill(FIRST, NOW, lambda hour, team: (60, Decimal(-100)) if hour == corrected else even(hour, team))
    made = forecast(database, tenant="default", now=NOW)
    assert made.total.spent_usd == 2 * (24 * (7 + 3 * Decimal("0.5")) + 12 - 101)
    assert made.total.projection
    assert made.total.projection.rest_usd > 0


def test_another_tenant_is_not_looked_at(database: Database, fill: Fill) -> None:
    fill(FIRST, NOW, even, tenant="others")
    assert forecast(database, tenant="default", now=NOW).total.spent_usd == 0
