"""What people know of the future and no regression can: new prices, a launch, a migration, a day off.

A Change multiplies spend (a price: 1.2 is 20 % dearer) or adds to it, for some days or from a day on. The
past is brought to the level of its last day before anything is fitted, and the future gets what is planned.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from collector.spend.forecast.model import HOLIDAY, Floats


@dataclass(frozen=True, slots=True)
class Change:
    first: date
    last: date | None = None  # None: from then on
    factor: float = 1.0
    extra_usd_a_day: float = 0.0
    doubt: float = 0.0  # of what it changes: 0 for a signed price, 0.3 for a hoped-for launch

    def covers(self, day: date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


def kinds(days: Iterable[date], holidays: Collection[date]) -> Floats:
    """0 to 6 is the day of the week, a holiday is its own kind (on a weekend it changes nothing)."""
    found = [HOLIDAY if day in holidays and day.weekday() < 5 else day.weekday() for day in days]
    return np.array(found, dtype=np.float64)


def as_if_constant(spend: Floats, days: Sequence[date], changes: Sequence[Change]) -> Floats:
    """The past without its changes. Days of an event that has an end teach nothing of ordinary ones."""
    plain = spend.copy()
    for at, day in enumerate(days):
        for change in changes:
            if not change.covers(day):
                continue
            if change.last is not None:
                plain[at] = np.nan
            else:
                plain[at] = max(0.0, plain[at] - change.extra_usd_a_day) / max(change.factor, 1e-9)
    return plain


def apply(expected: Floats, days: Sequence[date], changes: Sequence[Change]) -> tuple[Floats, float]:
    """What is expected with the changes, and the doubt about them in dollars (one standard deviation)."""
    changed = expected.copy()
    doubts = 0.0
    for change in changes:
        covered = np.array([change.covers(day) for day in days])
        after = np.where(covered, changed * change.factor + change.extra_usd_a_day, changed)
        doubts += (change.doubt * float(np.sum(after - changed))) ** 2
        changed = after
    return changed, doubts**0.5


def days_between(first: date, last: date) -> list[date]:
    """Both included."""
    return [first + timedelta(days=at) for at in range((last - first).days + 1)]
