"""Hours come in, whole days leave. An hour that is missing is filled from the profile, never taken for zero.

Missing means that there is no knowledge of it (None), not that nothing was spent. The profile is the share
of each hour in its kind of day (workday or weekend), taken from days that are whole. A day with little more
than a third of its usual spend known is left unknown: what would be filled in would be made up.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

Hours = Sequence[float | None]
LEAST_KNOWN = 0.35
WEEK = timedelta(weeks=1)
LOOK_BACK_WEEKS = 4
LEAST_WEEKS = 2
LEAST_CALLS = 24  # an hour that usually has so many has none by chance less than once in ten thousand years


@dataclass(frozen=True, slots=True)
class Whole:
    spend_usd: float | None  # None: too little of the day is known
    filled_usd: float = 0.0  # of it, from the profile


def day_profile(days: Mapping[date, Hours], width: int = 24) -> dict[bool, list[float]]:
    """Is it a weekend? -> the share of each hour, adding up to 1; even where nothing was seen."""
    even = [1 / width] * width
    both = shares(days, (True, False), width) or even
    return {weekend: shares(days, (weekend,), width) or both for weekend in (False, True)}


def shares(days: Mapping[date, Hours], wanted: Collection[bool], width: int) -> list[float]:
    sums = [0.0] * width
    for day, hours in days.items():
        if (day.weekday() >= 5) in wanted and len(hours) == width:
            if any(hour is None for hour in hours):
                continue
            sums = [have + (hour or 0.0) for have, hour in zip(sums, hours, strict=True)]
    total = sum(sums)
    return [one / total for one in sums] if total > 0 else []


def complete(hours: Hours, profile: Sequence[float]) -> Whole:
    """A day in which the clock changes has 23 or 25 hours: the profile is read at the same share of it."""
    width = len(hours)
    weights = [profile[min(at * len(profile) // width, len(profile) - 1)] for at in range(width)]
    known = sum(weight for weight, hour in zip(weights, hours, strict=True) if hour is not None)
    spent = sum(hour for hour in hours if hour is not None)
    if all(hour is not None for hour in hours):
        return Whole(spent)
    share = known / sum(weights) if sum(weights) > 0 else 0.0
    if share < LEAST_KNOWN:
        return Whole(None)
    return Whole(spent / share, spent / share - spent)


def silent(calls: Mapping[datetime, int], hours: Iterable[datetime]) -> set[datetime]:
    """Of hours in order, those that must have records and have none: the ledger is behind, a relay was down.

    Nobody called, although in each of the last weeks (two at least) the same hour had calls by the dozen.
    A team or a tenant that calls now and then is never silent so: its zero is a zero.
    """
    if not calls:
        return set()
    first = min(calls)
    found: set[datetime] = set()
    for hour in hours:
        before = [hour - WEEK * back for back in range(1, LOOK_BACK_WEEKS + 1)]
        same = [calls.get(one, 0) for one in before if one >= first and one not in found]
        if not calls.get(hour) and len(same) >= LEAST_WEEKS and min(same) >= LEAST_CALLS:
            found.add(hour)
    return found
