"""Made-up spend of five kinds of teams, each with a month that the methods must foresee. Seeded.

- workweek: quiet weekends, a slow drift, and days of which some hours are missing from the ledger
- growth:   a month brings a quarter to a half more, and less and less so
- flat:     every day of the week alike, a level that wanders: where a plain run-rate is at its best
- price:    announced price changes, one of them in the month to be foreseen
- holidays: a country's days off and the week between the years, known in advance
Daily noise is log-normal with a memory (what is busy today is busy tomorrow). Nothing unforeseeable happens:
an unannounced launch is missed by every method.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from collector.spend.forecast import Change

KINDS = ("workweek", "growth", "flat", "price", "holidays")
DAY_SHAPE = np.array(
    [1, 1, 1, 1, 1, 2, 3, 5, 8, 10, 10, 9, 8, 9, 10, 10, 9, 8, 6, 4, 3, 2, 2, 1], dtype=float
)


@dataclass
class Series:
    kind: str
    seed: int
    spend: dict[date, float]  # the truth, up to the end of the month
    month: date  # its first day
    changes: list[Change] = field(default_factory=list)
    holidays: set[date] = field(default_factory=set)
    gaps: dict[date, set[int]] = field(default_factory=dict)  # hours that the ledger has lost

    @property
    def total(self) -> float:
        return sum(value for day, value in self.spend.items() if day >= self.month)

    def hours(self, day: date) -> list[float | None]:
        shape = DAY_SHAPE / DAY_SHAPE.sum()
        lost = self.gaps.get(day, set())
        return [None if hour in lost else float(self.spend[day] * shape[hour]) for hour in range(24)]


def make_series(kind: str, seed: int) -> Series:
    chance = np.random.default_rng([seed, KINDS.index(kind)])
    month = date(2026, int(chance.integers(1, 13)), 1)
    if kind == "holidays":
        month = date(2026, int(chance.choice([1, 4, 5, 12])), 1)
    following = (month + timedelta(days=32)).replace(day=1)
    history = int(chance.integers(75, 200))
    first = month - timedelta(days=history)
    days = [first + timedelta(days=at) for at in range((following - first).days)]
    t = np.arange(len(days), dtype=float)
    weekend = 1.0 if kind == "flat" else float(chance.uniform(0.2, 0.7))
    shape = np.array([weekend if day.weekday() >= 5 else 1.0 for day in days])
    growth = chance.uniform(0.2, 0.4) if kind == "growth" else chance.uniform(-0.06, 0.08)
    trend = np.exp(growth / 30 * 120 * (1 - np.exp(-t / 120)))
    noise, memory = (0.1, 0.6) if kind != "flat" else (0.08, 0.5)
    wander = np.cumsum(chance.normal(0, 0.014 if kind == "flat" else 0.009, len(days)))
    shock = chance.normal(0, noise * (1 - memory**2) ** 0.5, len(days))
    for at in range(1, len(days)):
        shock[at] += memory * shock[at - 1]
    spend = chance.uniform(5, 5000) * shape * trend * np.exp(wander + shock)
    series = Series(kind, seed, dict(zip(days, spend.tolist(), strict=True)), month)
    if kind == "price":
        announce(series, chance)
    if kind == "holidays":
        rest(series, chance, weekend)
    if kind == "workweek":
        lose_hours(series, chance)
    return series


def announce(series: Series, chance: np.random.Generator) -> None:
    lengths = (series.month + timedelta(days=int(chance.integers(2, 24))), series.month - timedelta(days=40))
    for first in lengths:
        series.changes.append(Change(first, factor=float(chance.choice([0.6, 0.75, 0.8, 1.2, 1.3]))))
    for change in series.changes:
        for day in series.spend:
            series.spend[day] *= change.factor if change.covers(day) else 1


def rest(series: Series, chance: np.random.Generator, weekend: float) -> None:
    for year in (2025, 2026):
        fixed = [
            (1, 1),
            (4, 3),
            (4, 6),
            (5, 1),
            (5, 14),
            (5, 25),
            (10, 3),
            *((12, day) for day in range(24, 32)),
        ]
        series.holidays |= {date(year, number, day) for number, day in fixed}
    for day in series.spend:
        if day in series.holidays and day.weekday() < 5:
            series.spend[day] *= weekend * float(chance.uniform(0.8, 1.1))


def lose_hours(series: Series, chance: np.random.Generator) -> None:
    for day in [one for one in series.spend if one >= series.month - timedelta(days=21)]:
        if chance.random() < 0.15:
            begin = int(chance.integers(0, 18))
            series.gaps[day] = set(range(begin, begin + int(chance.integers(2, 7))))
