"""Quantiles with an interval that holds whatever the distribution: by order statistics. Pure.

That a true quantile lies between two of the sorted values is a binomial matter and needs no shape. Too few
values have no such bound on one side, which is then None and not made up.
"""

import math
from collections.abc import Sequence

import msgspec

CONFIDENCE = 0.95


class Estimate(msgspec.Struct, frozen=True):
    value: float
    low: float | None
    high: float | None


def estimate(values: Sequence[float], quantile: float, confidence: float = CONFIDENCE) -> Estimate:
    ordered = sorted(values)
    count = len(ordered)
    low_rank, high_rank = bounding_ranks(count, quantile, (1 - confidence) / 2)
    low = ordered[low_rank] if low_rank is not None else None
    high = ordered[high_rank] if high_rank is not None else None
    value = interpolate(ordered, quantile)
    # Of a tail that few values reach, interpolation says too little: it is never below what is sure.
    value = value if low is None else max(value, low)
    return Estimate(value if high is None else min(value, high), low, high)


def interpolate(ordered: Sequence[float], quantile: float) -> float:
    at = quantile * (len(ordered) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def bounding_ranks(count: int, quantile: float, doubt: float) -> tuple[int | None, int | None]:
    """Indices of the narrowest pair of sorted values that the quantile leaves by `doubt` at most each side.

    How many of `count` values lie below the quantile is binomial. Value i (from 0) lies above it just when at
    most i do: if that is improbable, i is a lower bound; if more than i is improbable, it is an upper one.
    """
    low = high = None
    below = 0.0  # P(at most i lie below)
    for i in range(count):
        below += binomial(count, i, quantile)
        if below <= doubt:
            low = i
        if high is None and 1 - below <= doubt:
            high = i
    return low, high


def binomial(count: int, hits: int, chance: float) -> float:
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(ways + hits * math.log(chance) + (count - hits) * math.log1p(-chance))
