"""Spend that is far above what this hour of the week usually costs: hours come in, an Anomaly leaves. Pure.

Three things must come together, so that it speaks rarely: a multiple of the usual, an excess that matters to
the month, and more than the last 28 days ever held in such a window. A "mean plus three deviations" rule
fires eight to twelve times a month with nothing wrong; this one less than once in four months.

`expected` is what each hour would ordinarily cost (`usual_hours`); where the month has no budget, the caller
passes the month's projection or the last month's spend instead: a share of something must be meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from collector.spend.windows import LOOK_BACK_H, ZERO, Hours, is_sparse, last_sum, most_before

RULES = (  # hours, times the usual, excess as a share of the month
    (1, Decimal(4), Decimal("0.01")),
    (6, Decimal("2.5"), Decimal("0.02")),
    (24, Decimal("1.6"), Decimal("0.03")),
)
ABOVE_MOST = Decimal("1.3")
ABOVE_MOST_SPARSE = Decimal("1.6")
WEEK_H = 168


@dataclass(frozen=True, slots=True)
class Anomaly:
    window_h: int
    spent_usd: Decimal
    expected_usd: Decimal
    most_before_usd: Decimal

    @property
    def excess_usd(self) -> Decimal:
        return self.spent_usd - self.expected_usd


def find_anomaly(hours: Hours, expected: Sequence[Decimal], month_usd: Decimal) -> Anomaly | None:
    """The shortest window that is out of the ordinary. None too where there is no week of history."""
    sparse = is_sparse(hours)
    for window_h, times, share in RULES:
        if sparse and window_h != 24:
            continue
        spent, usual, most = (
            last_sum(hours, window_h),
            last_sum(expected, window_h),
            most_before(hours, window_h),
        )
        if most is None or month_usd <= 0:
            return None
        above = ABOVE_MOST_SPARSE if sparse else ABOVE_MOST
        if spent >= times * usual and spent - usual >= share * month_usd and spent > above * most:
            return Anomaly(window_h, spent, usual, most)
    return None


def usual_hours(hours: Hours, length_h: int = 72) -> list[Decimal]:
    """What each of the last hours would ordinarily have cost: the mean of the same hour in the weeks before.

    Hours under judgement are no part of it, nor is anything older than 28 days before them.
    """
    found = []
    begin = len(hours) - length_h
    for at in range(begin, len(hours)):
        same = [
            hours[one] for one in range(at - WEEK_H, begin - LOOK_BACK_H - 1, -WEEK_H) if 0 <= one < begin
        ]
        known = [one for one in same if one is not None]
        found.append(sum(known, ZERO) / len(known) if known else ZERO)
    return found
