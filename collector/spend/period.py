"""A stretch of time in the reporting zone: "2026-10" or two dates come in, two instants leave.

Pure. A period holds its start and not its end, so that periods side by side count each call once.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from collector.errors import SizewiseError
from collector.store.buckets import month_bounds

MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])\Z", re.ASCII)
FIRST_YEAR, LAST_YEAR = 2000, 2199


class Period(NamedTuple):
    start: datetime
    end: datetime
    name: str  # what was asked for: "2026-10", or "2026-10-01 to 2026-10-08"


def month_period(text: str, zone: str) -> Period:
    year, month = read_month(text)
    start, end = month_bounds(year, month, zone)
    return Period(start, end, f"{year:04d}-{month:02d}")


def read_month(text: str) -> tuple[int, int]:
    match = MONTH.match(text)
    if not match or not FIRST_YEAR <= int(match[1]) <= LAST_YEAR:
        raise SizewiseError(f"month {text[:40]!r} is not a month: write it as 2026-10")
    return int(match[1]), int(match[2])


def month_of(instant: datetime, zone: str) -> str:
    local = instant.astimezone(ZoneInfo(zone))
    return f"{local.year:04d}-{local.month:02d}"


def shift_month(text: str, months: int) -> str:
    year, month = read_month(text)
    counted = year * 12 + month - 1 + months
    return f"{counted // 12:04d}-{counted % 12 + 1:02d}"


def span_period(start_text: str, end_text: str, zone: str) -> Period:
    """From one date or instant up to, and not with, another."""
    start, end = read_instant(start_text, zone), read_instant(end_text, zone)
    if start >= end:
        raise SizewiseError(f"from {start_text!r} is not before to {end_text!r} (to is not included)")
    return Period(start, end, f"{start_text} to {end_text}")


def read_instant(text: str, zone: str) -> datetime:
    """A date is the beginning of that local day; a time without an offset is local time."""
    try:
        found = datetime.fromisoformat(text)
        if not FIRST_YEAR <= found.year <= LAST_YEAR:
            raise ValueError
    except ValueError:
        raise SizewiseError(
            f"{text[:40]!r} is not a time: write a date as 2026-10-31 or an instant as 2026-10-31T18:30:00Z"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def days_of(period: Period, zone: str) -> list[date]:
    """Every local date that the period touches."""
    first = period.start.astimezone(ZoneInfo(zone)).date()
    last = (period.end - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date()
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
