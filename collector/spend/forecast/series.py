"""Hours come in, whole days leave. An hour that is missing is filled from the profile, never taken for zero.

Missing means that there is no knowledge of it (None), not that nothing was spent. The profile is the share
of each hour in its kind of day (workday or weekend), taken from days that are whole. A day with little more
than a third of its usual spend known is left unknown: what would be filled in would be made up.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

Hours = Sequence[float | None]
LEAST_KNOWN = 0.35


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
