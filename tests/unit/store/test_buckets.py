"""Where hours, days and months begin, in zones that make it hard."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.store.buckets import QUARTER, day_bucket, day_start, hour_bucket, month_bounds

ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("America/Havana", "America/Santiago", "Asia/Beirut", "Africa/Cairo", "America/Asuncion"),
    *("Pacific/Apia", "Pacific/Chatham", "Asia/Pyongyang", "Africa/Casablanca", "Antarctica/Troll"),
]
zones = st.sampled_from(ZONES)
seconds = st.floats(min_value=1_325_376_000, max_value=2_114_380_800)  # 2012 to 2037
instants = seconds.map(lambda at: datetime.fromtimestamp(at, UTC))


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local_day(instant, zone):
    return instant.astimezone(ZoneInfo(zone)).date()


@given(instants, zones)
def test_an_hour_begins_at_a_full_local_hour_or_where_the_clock_was_changed(instant, zone):
    start = hour_bucket(instant, zone)
    assert start <= instant < start + timedelta(hours=1)
    assert start.tzinfo is UTC
    local, before = (at.astimezone(ZoneInfo(zone)) for at in (start, start - timedelta(microseconds=1)))
    assert (local.minute, local.second) == (0, 0) or local.utcoffset() != before.utcoffset()


@given(instants, zones)
def test_an_hour_holds_one_local_hour(instant, zone):
    start = hour_bucket(instant, zone)
    mine, first = (at.astimezone(ZoneInfo(zone)) for at in (instant, start))
    assert (mine.date(), mine.hour, mine.utcoffset()) == (first.date(), first.hour, first.utcoffset())


@given(instants, zones)
def test_buckets_part_time_without_gap_or_overlap(instant, zone):
    for bucket in (hour_bucket, day_bucket):
        start = bucket(instant, zone)
        assert bucket(start, zone) == start
        assert bucket(start - timedelta(microseconds=1), zone) < start
        assert bucket(instant + QUARTER, zone) >= start


@given(instants, zones)
def test_a_day_begins_with_its_first_instant(instant, zone):
    start = day_bucket(instant, zone)
    assert timedelta(0) <= instant - start < timedelta(hours=25)
    assert local_day(start, zone) == local_day(instant, zone)
    assert local_day(start - timedelta(microseconds=1), zone) < local_day(instant, zone)


@given(instants, zones)
def test_hours_lie_within_days(instant, zone):
    assert day_bucket(hour_bucket(instant, zone), zone) == day_bucket(instant, zone)


@given(instants, zones)
def test_nanoseconds_and_datetimes_agree(instant, zone):
    ns = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert hour_bucket(ns, ZoneInfo(zone)) == hour_bucket(instant, zone)
    assert day_bucket(ns + 999, ZoneInfo(zone)) == day_bucket(instant, zone)


@given(st.integers(2012, 2036), st.integers(1, 12), zones)
def test_months_follow_each_other(year, month, zone):
    start, end = month_bounds(year, month, zone)
    assert start == day_bucket(start, zone)
    assert local_day(start, zone) == date(year, month, 1)
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    assert end == month_bounds(*following, zone)[0]


@pytest.mark.parametrize(
    ("instant", "zone", "hour", "day"),
    [
        ("2026-10-05T10:59:59.999999", "UTC", "2026-10-05T10:00", "2026-10-05T00:00"),
        ("2026-10-05T10:29", "Asia/Kolkata", "2026-10-05T09:30", "2026-10-04T18:30"),
        ("2026-10-05T10:14", "Asia/Kathmandu", "2026-10-05T09:15", "2026-10-04T18:15"),
        # 25 hours: 02:30 comes twice
        ("2026-10-25T00:30", "Europe/Berlin", "2026-10-25T00:00", "2026-10-24T22:00"),
        ("2026-10-25T01:30", "Europe/Berlin", "2026-10-25T01:00", "2026-10-24T22:00"),
        # 02:00 goes back to 01:30: half an hour comes twice
        ("2026-04-04T14:45", "Australia/Lord_Howe", "2026-04-04T14:00", "2026-04-04T13:00"),
        ("2026-04-04T15:10", "Australia/Lord_Howe", "2026-04-04T15:00", "2026-04-04T13:00"),
        ("2026-04-04T15:40", "Australia/Lord_Howe", "2026-04-04T15:30", "2026-04-04T13:00"),
        # 02:00 goes on to 02:30
        ("2026-10-03T15:45", "Australia/Lord_Howe", "2026-10-03T15:30", "2026-10-03T13:30"),
        # midnight comes twice, and is skipped
        ("2026-11-01T05:30", "America/Havana", "2026-11-01T05:00", "2026-11-01T04:00"),
        ("2026-03-08T05:10", "America/Havana", "2026-03-08T05:00", "2026-03-08T05:00"),
    ],
)
def test_where_buckets_begin(instant, zone, hour, day):
    assert hour_bucket(utc(instant), zone) == utc(hour)
    assert day_bucket(utc(instant), zone) == utc(day)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_the_length_of_a_day(day, hours):
    first = date.fromisoformat(day)
    length = day_start(first + timedelta(days=1), "Europe/Berlin") - day_start(first, "Europe/Berlin")
    assert length == timedelta(hours=hours)


def test_the_bounds_of_a_month():
    assert month_bounds(2026, 10, "Asia/Kolkata") == (utc("2026-09-30T18:30"), utc("2026-10-31T18:30"))
    assert month_bounds(2026, 12, "Asia/Kathmandu") == (utc("2026-11-30T18:15"), utc("2026-12-31T18:15"))
    assert month_bounds(2026, 3, "Europe/Berlin") == (utc("2026-02-28T23:00"), utc("2026-03-31T22:00"))
