"""How far off a projection may be: a series' own errors come in, a spread and its intervals leave.

The spread comes from rolling origins: how the model would have done from earlier days of this very series,
drawn to what is usual while that is little evidence. Slow and fast disagreeing adds to it: then the level is
moving. The intervals come from the track record: how past projections stood to what came, in spreads. Few of
them count little beside the normal law; many replace it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from collector.spend.forecast.model import FAST, SLOW, Floats, predict

LEVELS = (50, 80, 95)
MAX_ORIGINS = 12
FEWEST_DAYS = 7  # before an origin; with less there is nothing to fit
USUAL_MIX = (0.667, 0.333)  # slow, fast
ORIGINS_WORTH = 3.0  # what "usual" weighs, in independent origins
RECORD_WORTH = 8  # what the normal law weighs, in past projections


@dataclass(frozen=True, slots=True)
class Trial:
    """What rolling origins say: mean squared log errors over `ahead` days; how many count as independent."""

    slow: float
    fast: float
    mixed: float
    ahead: int
    independent: float

    @property
    def mix(self) -> tuple[float, float]:
        return mix(self.slow, self.fast, self.independent)


def mix(slow: float, fast: float, independent: float) -> tuple[float, float]:
    """The weights of slow and fast after their errors: as usual where both did alike."""
    middle = (slow + fast) / 2
    if middle <= 0:
        return USUAL_MIX
    scores = [
        share * math.exp(-0.5 * independent * error / middle)
        for share, error in zip(USUAL_MIX, (slow, fast), strict=True)
    ]
    return scores[0] / sum(scores), scores[1] / sum(scores)


def try_origins(spend: Floats, kinds: Floats, ahead: int, week: Sequence[float]) -> Trial | None:
    """None where the series is too short to be tried on itself."""
    days = len(spend)
    ahead = min(ahead, max(3, days // 3))
    first = max(FEWEST_DAYS, min(21, days - ahead))
    if days - ahead < first:
        return None
    origins = np.unique(np.linspace(first, days - ahead, MAX_ORIGINS).astype(int))
    errors: list[tuple[float, float]] = []
    for origin in origins:
        seen, coming = kinds[:origin], kinds[origin : origin + ahead]
        actual = spend[origin : origin + ahead]
        known = np.isfinite(actual)
        if not known.any() or not np.isfinite(spend[:origin]).any():
            continue
        pair = [predict(spend[:origin], seen, coming, speed, week)[known].sum() for speed in (SLOW, FAST)]
        floor = max(float(np.nanmean(spend)), 1e-9) * 0.05
        errors.append(
            (log_ratio(actual[known].sum(), pair[0], floor), log_ratio(actual[known].sum(), pair[1], floor))
        )
    if not errors:
        return None
    found = np.array(errors)
    slow, fast = (float(one) for one in np.mean(found**2, axis=0))
    independent = len(found) / max(1.0, ahead / 2)
    weights = np.array(mix(slow, fast, independent))
    return Trial(slow, fast, float(np.mean((found @ weights) ** 2)), ahead, independent)


def log_ratio(actual: float, expected: float, floor: float) -> float:
    return math.log(max(float(actual), floor) / max(float(expected), floor))


def spread(trial: Trial | None, slow: float, fast: float, days: int, ahead: float) -> float:
    """One standard deviation of the log of what is still to come."""
    usual = 0.035 + 0.012 * math.sqrt(ahead) * (1 + 7 / max(days, 1))
    if trial is None:
        variance = (1.5 * usual) ** 2
    else:
        own = trial.mixed * ahead / trial.ahead
        variance = (trial.independent * own + ORIGINS_WORTH * usual**2) / (trial.independent + ORIGINS_WORTH)
    if slow > 0 and fast > 0:
        variance += (0.5 * math.log(slow / fast)) ** 2
    return math.sqrt(variance)


def widths(record: Sequence[float]) -> dict[int, float]:
    """How many spreads each level reaches to either side. `record`: past errors, each in its own spreads."""
    normal = NormalDist()
    usual = [normal.inv_cdf(0.5 + (at + 0.5) / RECORD_WORTH / 2) for at in range(RECORD_WORTH)]
    seen = sorted([*usual, *(min(abs(one), 5.0) for one in record)])
    found = {}
    for level in LEVELS:
        at = level / 100 * len(seen) - 0.5
        low = min(max(int(at), 0), len(seen) - 1)
        high = min(low + 1, len(seen) - 1)
        learnt = seen[low] + (seen[high] - seen[low]) * min(max(at - low, 0.0), 1.0)
        found[level] = learnt if record else normal.inv_cdf(0.5 + level / 200)
    return found
