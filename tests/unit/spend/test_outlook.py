"""Days of 23 to 25 hours, what of today is left, and the outlook in words."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from collector.spend.forecast.month import Past, Projection
from collector.spend.outlook import Clock, Forecast, Foreseer, Outlook, hours_between
from collector.spend.outlook_text import forecast_values, record_sentence, render_forecast

EVEN = [1 / 24] * 24


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 3, 8), "America/New_York", 23),
        (date(2026, 11, 1), "America/New_York", 25),
        (date(2026, 3, 11), "Asia/Kathmandu", 24),
        (date(2026, 4, 5), "Australia/Lord_Howe", 25),  # half an hour longer: a short hour of its own
    ],
)
def test_the_hours_of_a_local_day(day: date, zone: str, hours: int) -> None:
    found = hours_between(day, zone)
    assert len(found) == hours
    assert list(found) == sorted(set(found))
    assert hours_between(day + timedelta(days=1), zone)[0] > found[-1]


@pytest.mark.parametrize(
    ("now", "left"), [("00:00", 1), ("06:00", 0.75), ("12:30", 11.5 / 24), ("23:59", 1 / 1440)]
)
def test_today_is_left_by_its_profile(now: str, left: float) -> None:
    clock = Clock("UTC", datetime.fromisoformat(f"2026-03-11T{now}Z"))
    assert Foreseer(clock, set(), (), frozenset()).share_left(EVEN) == pytest.approx(left)


def test_a_missing_hour_of_today_is_still_to_come() -> None:
    clock = Clock("UTC", datetime(2026, 3, 11, 12, tzinfo=UTC))
    missing = {datetime(2026, 3, 11, 4, tzinfo=UTC)}
    assert Foreseer(clock, missing, (), frozenset()).share_left(EVEN) == pytest.approx(13 / 24)


BANDS = {50: (290.0, 310.0), 80: (280.0, 320.0), 95: (260.0, 345.5)}
RECORD = [
    Past(date(2026, 2, 4), 110.0, 100.0, 120.0, 100.0, -0.5),
    Past(date(2026, 2, 8), 95.0, 97.0, 99.0, 100.0, 2.0),
]


def made(projection: Projection | None, name: str = "") -> Forecast:
    total = Outlook("", Decimal("100.10"), Decimal(0), projection, RECORD)
    team = Outlook("search\x1b[2J", Decimal("100.10"), Decimal(0), projection, RECORD)
    now = datetime(2026, 3, 11, 12, tzinfo=UTC)
    return Forecast("UTC", now, now.date(), date(2026, 3, 31), total, [team], 0)


def test_a_table_shows_what_is_spent_and_expected_and_no_escape() -> None:
    text = render_forecast(made(Projection(100.1, 300.0, BANDS, 0.1, 60)))
    total = next(line.split() for line in text.splitlines() if line.startswith("TOTAL"))
    assert total == ["TOTAL", "100.10", "300.00", "280.00", "320.00", "260.00", "345.50"]
    assert "\x1b" not in text
    assert "need not add up" in text


def test_what_cannot_be_said_is_null_for_scripts_and_unknown_for_people() -> None:
    values = forecast_values(made(None))
    assert values["total"]["expected_usd"] is None
    assert values["total"]["spent_usd"] == "100.10"
    assert "unknown" in render_forecast(made(None))


def test_the_record_is_told_as_it_is() -> None:
    sentence = record_sentence(RECORD)
    assert "7.5 % off on average" in sentence
    assert "1 of 2 times" in sentence
    assert record_sentence([]) == ""
