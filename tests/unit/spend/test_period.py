from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import SizewiseError
from collector.spend.actual import on_the_hour, whole_days
from collector.spend.period import days_of, month_of, month_period, read_instant, shift_month, span_period

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"]


def test_a_month_begins_where_the_zone_says() -> None:
    assert month_period("2026-10", "Asia/Kolkata").start == datetime(2026, 9, 30, 18, 30, tzinfo=UTC)
    assert month_period("2026-10", "Asia/Kathmandu").start == datetime(2026, 9, 30, 18, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-1", "2026", "26-10", "", "2026-10-01", "٢٠٢٦-10", "9999-01", "2026-10\n"]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(SizewiseError, match="write it as 2026-10"):
        month_period(text, "UTC")


@given(st.integers(2001, 2190), st.integers(1, 12), st.integers(-12, 12))
def test_shifting_there_and_back(year: int, month: int, months: int) -> None:
    text = f"{year:04d}-{month:02d}"
    assert shift_month(shift_month(text, months), -months) == text


@given(st.integers(2020, 2035), st.integers(1, 12), st.sampled_from(ZONES))
def test_a_month_ends_where_the_next_begins_and_has_its_days(year: int, month: int, zone: str) -> None:
    text = f"{year:04d}-{month:02d}"
    period = month_period(text, zone)
    assert period.end == month_period(shift_month(text, 1), zone).start
    days = days_of(period, zone)
    assert days[0] == date(year, month, 1)
    assert {day.month for day in days} == {month}
    assert 28 <= len(days) <= 31
    assert month_of(period.start, zone) == text
    assert whole_days(period.start, period.end, zone) == (period.start, period.end)


@given(st.integers(0, 30_000), st.integers(1, 2000), st.sampled_from(ZONES))
def test_whole_days_lie_inside(began: int, hours: int, zone: str) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=began)
    end = start + timedelta(hours=hours)
    first, last = whole_days(start, end, zone)
    assert (first, last) == (end, end) or start <= first < last <= end


def test_bounds_within_an_hour_are_not_for_rollups() -> None:
    start = datetime(2026, 10, 1, tzinfo=UTC)
    assert on_the_hour(start, start.replace(hour=3), "UTC")
    assert not on_the_hour(start, start.replace(minute=30), "UTC")
    assert not on_the_hour(start, start.replace(hour=3), "Asia/Kolkata")


def test_dates_are_local_and_instants_are_themselves() -> None:
    assert read_instant("2026-10-01", "Europe/Berlin") == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert read_instant("2026-10-01T00:00:00Z", "Europe/Berlin") == datetime(2026, 10, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end"), [("2026-10-02", "2026-10-02"), ("2026-10-03", "2026-10-02"), ("x", "2026-10-01")]
)
def test_spans_that_hold_nothing_are_refused(start: str, end: str) -> None:
    with pytest.raises(SizewiseError):
        span_period(start, end, "UTC")
