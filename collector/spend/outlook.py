"""Where a tenant's month will end, from the rollups: for the command line, the pages and the API alike.

Days come from rollup_days, the last eight weeks also by the hour: for the share of today that is still to
come, and for hours that are missing. What such hours probably cost is in the projection and told apart.
Each team is foreseen by itself, so teams need not add up to the total.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg import Connection, sql

from collector.spend.actual import next_day, reporting_zone
from collector.spend.forecast import Change, Month, Projection, project, replay
from collector.spend.forecast.month import Past
from collector.spend.forecast.plans import days_between
from collector.spend.forecast.series import complete, day_profile, silent
from collector.spend.scope import scoped
from collector.store.buckets import QUARTER, day_start, hour_bucket

HISTORY_DAYS = 400
HOURS_DAYS = 56  # so that a gap on the first of the month still has weeks before it on the last
WHOLE = sql.SQL("''")
BY_TEAM = sql.SQL("team")


class Spent(NamedTuple):
    cost_usd: Decimal
    calls: int


Buckets = dict[str, dict[datetime, Spent]]  # team -> start of the hour or day


@dataclass(frozen=True, slots=True)
class Outlook:
    name: str  # the team; "" is the total, or calls of no team
    spent_usd: Decimal  # what the ledger has
    filled_usd: Decimal  # beyond it, for hours that the ledger has nothing of
    projection: Projection | None  # None: too few days are known
    record: Sequence[Past]


@dataclass(frozen=True, slots=True)
class Forecast:
    zone: str
    as_of: datetime
    today: date
    last: date
    total: Outlook
    teams: list[Outlook]
    missing_hours: int  # of the last eight weeks


@dataclass(frozen=True, slots=True)
class Clock:
    """The reporting zone's days and hours around now."""

    zone: str
    now: datetime

    @property
    def today(self) -> date:
        return self.now.astimezone(ZoneInfo(self.zone)).date()

    def hours_of(self, day: date) -> tuple[datetime, ...]:
        return hours_between(day, self.zone)


@lru_cache(maxsize=256)
def hours_between(day: date, zone: str) -> tuple[datetime, ...]:
    """The hours of a local day, 23 to 25 of them; a clock that jumps by half an hour makes short ones."""
    start = day_start(day, zone)
    end, found = next_day(start, zone), [start]
    while start < end:
        start += QUARTER
        if hour_bucket(start, zone) != found[-1]:
            found.append(hour_bucket(start, zone))
    return tuple(found[:-1])


def forecast(
    connection: Connection[Any],
    *,
    tenant: str,
    now: datetime,
    zone: str | None = None,
    by_team: bool = False,
    changes: Sequence[Change] = (),
    holidays: frozenset[date] = frozenset(),
) -> Forecast:
    clock = Clock(zone or reporting_zone(connection), now)
    days = read(connection, "forecast_days", tenant, clock, HISTORY_DAYS, WHOLE).get("", {})
    hours = read(connection, "forecast_hours", tenant, clock, HOURS_DAYS, WHOLE).get("", {})
    recent = days_between(clock.today - timedelta(days=HOURS_DAYS - 1), clock.today)
    past_hours = [hour for day in recent for hour in clock.hours_of(day) if hour + timedelta(hours=1) <= now]
    missing = silent({hour: spent.calls for hour, spent in hours.items()}, past_hours)
    foresee = Foreseer(clock, missing, changes, holidays)
    total = foresee.outlook("", days, hours)
    teams = []
    if by_team:
        team_days = read(connection, "forecast_days", tenant, clock, HISTORY_DAYS, BY_TEAM)
        team_hours = read(connection, "forecast_hours", tenant, clock, HOURS_DAYS, BY_TEAM)
        teams = [
            foresee.outlook(name, team_days[name], team_hours.get(name, {}), total.record)
            for name in team_days
        ]
    teams.sort(key=lambda one: (-(one.projection.expected_usd if one.projection else 0), one.name))
    last = Month(clock.today, 0).last
    return Forecast(clock.zone, now, clock.today, last, total, teams, len(missing))


def read(
    connection: Connection[Any], name: str, tenant: str, clock: Clock, back: int, team: sql.SQL
) -> Buckets:
    start = day_start(clock.today - timedelta(days=back), clock.zone)
    end = next_day(day_start(clock.today, clock.zone), clock.zone)
    values = {"tenant": tenant, "start": start, "end": end}
    found: Buckets = {}
    for bucket, named, cost_usd, calls in connection.execute(scoped(name, team=team), values):
        found.setdefault(named, {})[bucket] = Spent(cost_usd, calls)
    return found


@dataclass(frozen=True, slots=True)
class Foreseer:
    clock: Clock
    missing: set[datetime]
    changes: Sequence[Change]
    holidays: frozenset[date]

    def outlook(
        self,
        name: str,
        days: Mapping[datetime, Spent],
        hours: Mapping[datetime, Spent],
        record: Sequence[Past] | None = None,
    ) -> Outlook:
        """Without a record its own past is replayed; a team takes its tenant's, of which there is more."""
        zone, today = ZoneInfo(self.clock.zone), self.clock.today
        opening = today.replace(day=1)
        by_day = {bucket.astimezone(zone).date(): spent for bucket, spent in days.items()}
        first = min((day for day, one in by_day.items() if one.calls), default=today)
        by_hour = {
            day: self.known_hours(day, hours)
            for day in days_between(max(first, today - timedelta(days=HOURS_DAYS - 1)), today)
        }
        profile = day_profile({day: found for day, found in by_hour.items() if day < today})
        whole: dict[date, float | None] = {}
        filled = 0.0
        for day in days_between(first, today - timedelta(days=1)):
            whole[day] = float(by_day[day].cost_usd) if day in by_day else 0.0
            if None in by_hour.get(day, ()):
                made = complete(by_hour[day], profile[day.weekday() >= 5])
                whole[day] = made.spend_usd
                filled += made.filled_usd if day >= opening else 0.0
        spent_usd = sum((one.cost_usd for day, one in by_day.items() if day >= opening), Decimal(0))
        left = self.share_left(profile[today.weekday() >= 5])
        month = Month(today, float(spent_usd) + filled, left, self.changes, self.holidays)
        own = replay(whole, month) if record is None else record
        made_of = project(whole, replace(month, record=[past.error for past in own]))
        return Outlook(name, spent_usd, Decimal(repr(filled)), made_of, own)

    def known_hours(self, day: date, hours: Mapping[datetime, Spent]) -> list[float | None]:
        nothing = Spent(Decimal(0), 0)
        return [
            None if hour in self.missing else float(hours.get(hour, nothing).cost_usd)
            for hour in self.clock.hours_of(day)
        ]

    def share_left(self, profile: Sequence[float]) -> float:
        """Of today's usual spend: the hours to come, and those that passed and are missing."""
        hours = self.clock.hours_of(self.clock.today)
        left = 0.0
        for at, hour in enumerate(hours):
            weight = profile[at * len(profile) // len(hours)]
            passed = (self.clock.now - hour) / timedelta(hours=1)
            left += weight * (1.0 if hour in self.missing else min(1.0, max(0.0, 1 - passed)))
        return min(1.0, left)
