"""The projection of one month's end, and what the same method would have said on earlier days.

A Month says how far the month is and what is known of the future; days of spend are a mapping without gaps
from the first day of the history to yesterday, None where a day's spend is not known (not where it is zero).
What was spent is never in doubt: the interval is about the days to come only.
"""

import math
from calendar import monthrange
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from collector.spend.forecast.doubt import LEVELS, spread, try_origins, widths
from collector.spend.forecast.model import FAST, SLOW, WEEK, Floats, predict
from collector.spend.forecast.plans import Change, apply, as_if_constant, days_between, kinds

Days = Mapping[date, float | None]
FEWEST_DAYS = 2  # of history; what one day says is not worth printing


@dataclass(frozen=True, slots=True)
class Month:
    today: date
    spent_usd: float  # since the first of the month, today so far included
    today_left: float = 1.0  # share of an ordinary day's spend that today has still to come
    changes: Sequence[Change] = ()
    holidays: Collection[date] = ()
    week: Sequence[float] = WEEK
    record: Sequence[float] = ()  # past errors in spreads, see `replay`

    @property
    def last(self) -> date:
        return self.today.replace(day=monthrange(self.today.year, self.today.month)[1])


@dataclass(frozen=True, slots=True)
class Projection:
    spent_usd: float
    expected_usd: float  # of the whole month
    bands: dict[int, tuple[float, float]]  # level in percent -> from, to
    spread: float  # one standard deviation of the log of what is to come
    days_known: int

    @property
    def rest_usd(self) -> float:
        return self.expected_usd - self.spent_usd


@dataclass(frozen=True, slots=True)
class Past:
    """A projection held against what came."""

    day: date
    expected_usd: float
    low_usd: float  # of the 80 % interval
    high_usd: float
    actual_usd: float
    error: float  # of what was to come, in spreads


def project(days: Days, month: Month) -> Projection | None:
    """None where too few days are known to say anything."""
    dates = sorted(days)
    values = [days[day] for day in dates]
    spend: Floats = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    spend = as_if_constant(np.maximum(spend, 0.0), dates, month.changes)
    known = int(np.isfinite(spend).sum())
    if known < FEWEST_DAYS:
        return None
    coming = days_between(month.today, month.last)
    past, future = kinds(dates, month.holidays), kinds(coming, month.holidays)
    share = np.array([month.today_left, *[1.0] * (len(coming) - 1)])
    slow, fast = (predict(spend, past, future, speed, month.week) for speed in (SLOW, FAST))
    trial = try_origins(spend, past, len(coming), month.week)
    of_slow, of_fast = trial.mix if trial else (0.5, 0.5)
    expected, doubt_usd = apply(of_slow * slow + of_fast * fast, coming, month.changes)
    rest = float((expected * share).sum())
    sigma = spread(trial, float(slow.sum()), float(fast.sum()), known, float(share.sum()))
    if rest > 0:
        sigma = math.hypot(sigma, doubt_usd / rest)
    reach = widths(month.record)
    bands = {
        level: (
            month.spent_usd + rest * math.exp(-reach[level] * sigma),
            month.spent_usd + rest * math.exp(reach[level] * sigma),
        )
        for level in LEVELS
    }
    return Projection(month.spent_usd, month.spent_usd + rest, bands, sigma, known)


def replay(days: Days, month: Month, months: int = 2, on: Sequence[int] = (4, 8, 15, 22)) -> list[Past]:
    """The track record: what would have been projected at the start of these days of the months before.

    Only days before each of them are read, so it is what the method knew then; late corrections excepted.
    """
    found = []
    first = min(days, default=month.today)
    closing = month.today.replace(day=1) - timedelta(days=1)
    for _ in range(months):
        opening = closing.replace(day=1)
        whole = [days.get(day) for day in days_between(opening, closing)]
        if opening < first or any(value is None for value in whole):
            break
        actual = sum(value for value in whole if value is not None)
        for number in on:
            past = hold_against(days, replace(month, record=()), closing.replace(day=number), actual)
            found += [past] if past else []
        closing = opening - timedelta(days=1)
    return found


def hold_against(days: Days, month: Month, day: date, actual: float) -> Past | None:
    before = {one: value for one, value in days.items() if one < day}
    spent = sum(value or 0.0 for one, value in before.items() if one >= day.replace(day=1))
    made = project(before, replace(month, today=day, spent_usd=spent, today_left=1.0))
    rest = actual - spent
    if made is None or made.rest_usd <= 0 or rest <= 0:
        return None
    error = math.log(rest / made.rest_usd) / made.spread
    return Past(day, made.expected_usd, *made.bands[80], actual, error)
