"""Sums of spend over the last hours, and the most that a window of that length held before. Pure.

Hours are contiguous, oldest first; the last is the one that just ended. An hour that nothing is known of is
None: it adds nothing to a sum and is never called quiet.
"""

from collections.abc import Sequence
from decimal import Decimal

Hours = Sequence[Decimal | None]

LOOK_BACK_H = 28 * 24
FEWEST_H = 7 * 24  # of history; before that a maximum means nothing
SPARSE_BELOW = Decimal("0.6")  # share of hours with any spend
ZERO = Decimal(0)


def last_sum(hours: Hours, length_h: int) -> Decimal:
    return sum((hour for hour in hours[-length_h:] if hour is not None), ZERO)


def most_before(hours: Hours, length_h: int) -> Decimal | None:
    """The largest sum of any window of this length in the 28 days before the current one; None: too few."""
    before = hours[:-length_h][-LOOK_BACK_H:]
    if len(before) < max(FEWEST_H, length_h):
        return None
    running = sum((hour or ZERO for hour in before[:length_h]), ZERO)
    most = running
    for at in range(length_h, len(before)):
        running += (before[at] or ZERO) - (before[at - length_h] or ZERO)
        most = max(most, running)
    return most


def is_sparse(hours: Hours) -> bool:
    """Judged on the past: the burst of today must not make a key a busy one."""
    known = [hour for hour in hours[:-24][-LOOK_BACK_H:] if hour is not None]
    active = sum(1 for hour in known if hour > 0)
    return not known or Decimal(active) / len(known) < SPARSE_BELOW
