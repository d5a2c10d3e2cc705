"""The instants at which hours, days and months begin in a reporting zone. Pure; all results are in UTC.

Invariants
- A bucket is the instant at which the local hour or day that holds the call begins; buckets part time
  without gap or overlap. A day has 23 to 25 hours; a repeated hour is two buckets; where the clock jumps
  by half an hour in mid-hour (Lord Howe), the hour after the jump begins at the jump.
- Since 1972 every zone's hours begin and its clock changes on a quarter of an hour in UTC, but for a few
  changes at 00:01 before 2012. So one answer serves all calls of a quarter.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
QUARTER_S = 900
QUARTER_NS = QUARTER_S * 1_000_000_000

Zone = ZoneInfo | str
Instant = datetime | int  # an int is nanoseconds since 1970


def hour_bucket(instant: Instant, zone: Zone) -> datetime:
    return _buckets(_quarter(instant), _zone(zone))[0]


def day_bucket(instant: Instant, zone: Zone) -> datetime:
    return _buckets(_quarter(instant), _zone(zone))[1]


def month_bounds(year: int, month: int, zone: Zone) -> tuple[datetime, datetime]:
    """The month's first instant, and the next month's."""
    following = date(year + month // 12, month % 12 + 1, 1)
    return day_start(date(year, month, 1), zone), day_start(following, zone)


def day_start(day: date, zone: Zone) -> datetime:
    """The first instant of a local day. Where the clock skips midnight, that is when it skips."""
    return datetime(day.year, day.month, day.day, tzinfo=_zone(zone)).astimezone(UTC)


def _quarter(instant: Instant) -> int:
    if isinstance(instant, int):
        return instant // QUARTER_NS
    return int(instant.timestamp() // QUARTER_S)


def _zone(zone: Zone) -> ZoneInfo:
    return zone if isinstance(zone, ZoneInfo) else ZoneInfo(zone)


@lru_cache(maxsize=8192)  # twelve weeks of quarters
def _buckets(quarter: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    instant = datetime.fromtimestamp(quarter * QUARTER_S, UTC)
    return _hour_start(instant, zone), day_start(instant.astimezone(zone).date(), zone)


def _hour_start(instant: datetime, zone: ZoneInfo) -> datetime:
    local = instant.astimezone(zone)
    start = instant - timedelta(minutes=local.minute, seconds=local.second)
    while start.astimezone(zone).utcoffset() != local.utcoffset():
        start += QUARTER  # the clock was changed within this hour: it begins there
    return start
