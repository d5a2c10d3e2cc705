"""Spend per day as the geometry of bars: sums per date come in, rectangles and ticks leave. Pure.

The template draws them as SVG. There are two sizes, because text in a scaled drawing scales with it: a
phone gets a drawing of its own instead of a shrunk one. Money is Decimal up to the last division.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))


@dataclass(frozen=True, slots=True)
class Bar:
    day: date
    x: float
    y: float
    width: float
    height: float
    cost_usd: Decimal
    is_today: bool


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    value: Decimal


@dataclass(frozen=True, slots=True)
class Label:
    at: float
    day: date


@dataclass(frozen=True, slots=True)
class DayChart:
    name: str  # wide or narrow: which screens see it
    width: int
    height: int
    left: int  # where the plot begins, after the axis' texts
    top: int
    bottom: int  # the y of zero
    bars: list[Bar]
    ticks: list[Tick]
    labels: list[Label]


def day_chart(
    name: str, days: Sequence[date], costs: Mapping[date, Decimal], today: date, *, width: int, height: int
) -> DayChart:
    left, top, bottom = 64, 12, height - 24
    peak = max((costs.get(day, Decimal(0)) for day in days), default=Decimal(0))
    scale = axis(peak)
    span = Decimal(bottom - top)
    slot = (width - left) / max(1, len(days))
    thick = max(2.0, round(slot * 0.68, 2))
    bars = []
    for place, day in enumerate(days):
        cost = costs.get(day, Decimal(0))
        # The least that can be seen is drawn for a day that cost anything: no spend is shown as none.
        high = max(float(span * max(cost, Decimal(0)) / scale[-1]), 1.5) if cost else 0.0
        x = left + place * slot + (slot - thick) / 2
        bars.append(Bar(day, round(x, 2), round(bottom - high, 2), thick, round(high, 2), cost, day == today))
    ticks = [Tick(round(float(bottom - span * value / scale[-1]), 2), value) for value in scale]
    every = 7 if width < 500 else 5 if width < 700 else 3
    labels = [
        Label(round(left + place * slot + slot / 2, 2), day)
        for place, day in enumerate(days)
        if place % every == 0 and left + place * slot + slot / 2 < width - 20
    ]
    return DayChart(name, width, height, left, top, bottom, bars, ticks, labels)


@dataclass(frozen=True, slots=True)
class Band:
    """In percent of the width: what was spent, and where the month is expected to end."""

    spent: float
    low: float
    expected: float
    high: float


def band(spent: Decimal, low: Decimal, expected: Decimal, high: Decimal) -> Band:
    whole = max(spent, high) * Decimal("1.04") or Decimal(1)
    return Band(
        *(round(float(max(one, Decimal(0)) * 100 / whole), 2) for one in (spent, low, expected, high))
    )


def axis(peak: Decimal) -> list[Decimal]:
    """Zero and two to five round values, the last at or above the peak."""
    if peak <= 0:
        return [Decimal(0), Decimal(1)]
    rough = peak / 4
    unit = Decimal(1).scaleb(rough.adjusted())
    step = next(unit * one for one in STEPS if unit * one >= rough)
    values = [Decimal(0)]
    while values[-1] < peak:
        values.append(values[-1] + step)
    return values
