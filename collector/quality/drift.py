"""The drift detector: a baseline, a state and fresh scores come in; a new state and a reading leave.

A stratified e-detector (Shin, Ramdas and Rinaldo's e-SR with betting e-values). Every score is bet against
the claim "no worse than the baseline, less a margin". The evidence of a family of bets grows as
R <- (R + 1) x product of the bets; it may be looked at after every check, for ever. Half of the weight lies
on one family over all strata, half on one family for each stratum; each family mixes bets tuned to drops of
2, 5, 10 and 25 points.

Invariants
- While nothing is worse, P(alarm within B checks) <= B / threshold, plus `baseline_error`: the chance that
  the baseline itself, being a sample, stands too high. Half of that error is given to the family over all
  strata, half is split over the strata. It uses the normal distribution, so it wants ~30 scores a stratum.
- A mere change of the mix moves nothing: each score is compared with its own stratum, and the margin over
  all strata is that of the batch's own mix. A stratum that is new is learned first, and only then bet on.
- The weights of the families never change within an epoch, so strata to come have theirs from the start.
- Within one family the bets of a batch are known before its scores are.
The margin is the larger of the tolerance and the baseline's error, not their sum: a hidden move of a point
together with a baseline that stands too high is not covered.

Pure, and its state is plain values: replaying the same batches gives the same readings.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.quality.baseline import MARGINS, Baseline, Levels, Moments, add_scores, levels_of

DROPS = np.array([0.02, 0.05, 0.10, 0.25])
SPREAD = 0.05**2  # strata are weighted by 1 / (variance + this): steady ones tell more, but not all
BOLDEST = 0.75  # no bet may lose more than this share of its stake on one score
LEAST_TO_BET = 30  # baseline scores of a stratum before it is bet on
LEAST_TO_JOIN = 100  # scores after which a stratum that was not in the baseline is bet on
NEWCOMERS = 3  # strata to come that have a share of the error and of the weight
HIGHEST = 600.0  # log evidence is cut here; an alarm is long past

Array = NDArray[np.float64]


class Settings(msgspec.Struct, frozen=True):
    """What false_alarms.py makes of the budget; these are for one detector, 200 checks and 5 % a month."""

    threshold: float = 8000.0
    baseline_error: float = 0.025  # per epoch


class DriftState(msgspec.Struct, frozen=True):
    """Logs of R, one for each of DROPS; all that is remembered between checks."""

    pooled: tuple[float, ...] = ()
    strata: dict[str, tuple[float, ...]] = {}
    newcomers: dict[str, Moments] = {}
    checks: int = 0
    scored: int = 0


class Reading(NamedTuple):
    """What one check says."""

    log_evidence: float
    alarm: bool
    drift_score: int  # 0 to 100, see describe_score
    stratum: str  # where most of the evidence lies; "" is everywhere
    skipped: int  # scores of strata that are still being learned


def check_scores(
    baseline: Baseline,
    state: DriftState,
    scores: Sequence[float],
    strata: Sequence[str],
    settings: Settings = Settings(),  # noqa: B008  (frozen)
) -> tuple[DriftState, Reading]:
    """One check: bets on every score whose stratum is known, learns the others."""
    levels = known_levels(baseline, state)
    place = {name: at for at, name in enumerate(levels.names)}
    known = [at for at, name in enumerate(strata) if name in place]
    where = np.array([place[strata[at]] for at in known], dtype=np.intp)
    values = np.array([scores[at] for at in known], dtype=np.float64)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("a score lies between 0 and 1: divide by its scale first")
    pooled, by_stratum = state.pooled or (-math.inf,) * len(DROPS), dict(state.strata)
    if known:
        slots = len(baseline.strata) + NEWCOMERS
        pooled = add_bets(pooled, pooled_bets(baseline, levels, values, where, settings))
        own = stratum_bets(baseline, levels, values, where, settings.baseline_error / 2 / slots)
        for at in np.unique(where):
            name = levels.names[at]
            by_stratum[name] = add_bets(by_stratum.get(name, (-math.inf,) * len(DROPS)), own[:, at])
    new = [at for at, name in enumerate(strata) if name not in place]
    grown = add_scores(state.newcomers, [scores[at] for at in new], [strata[at] for at in new])
    after = DriftState(pooled, by_stratum, grown, state.checks + 1, state.scored + len(known))
    return after, read_state(baseline, after, settings, skipped=len(new))


def known_levels(baseline: Baseline, state: DriftState) -> Levels:
    """The baseline's strata, and at most NEWCOMERS that were learned since, frozen as soon as they joined."""
    learned = [name for name, one in state.newcomers.items() if one.count >= LEAST_TO_JOIN]
    joined = sorted(learned, key=lambda name: name not in state.strata)[:NEWCOMERS]  # no later one displaces
    strata = {name: one for name, one in baseline.strata.items() if one.count >= LEAST_TO_BET}
    return levels_of(strata | {name: state.newcomers[name] for name in joined}, LEAST_TO_BET)


def pooled_bets(
    baseline: Baseline, levels: Levels, values: Array, where: NDArray[np.intp], settings: Settings
) -> Array:
    """Log of the product of bets over all strata, one for each drop.

    All drops weight the strata alike, so that one margin covers the weighted error of the baseline.
    """
    counts = np.bincount(where, minlength=len(levels.names))
    gains = 1 / (levels.variances + SPREAD)
    weights = counts * gains / (counts * gains).sum()
    error = math.sqrt(float((weights**2 * levels.variances / levels.counts).sum()))
    margin = max(MARGINS[baseline.kind], quantile(settings.baseline_error / 2) * error)
    levels_here = levels.means - margin
    typical = float((counts * gains).sum() / counts.sum())
    stakes = net_drops(margin) / (1 + typical * net_drops(margin) ** 2)
    present = counts > 0
    boldest = BOLDEST / float((gains[present] * np.maximum(1 - levels_here[present], 1e-3)).max())
    stakes = np.minimum(stakes, boldest)
    return np.log1p(np.outer(stakes, gains[where] * (levels_here[where] - values))).sum(axis=1)  # type: ignore[no-any-return]


def stratum_bets(
    baseline: Baseline, levels: Levels, values: Array, where: NDArray[np.intp], error: float
) -> Array:
    """The same for each stratum by itself: a column each."""
    margins = np.maximum(MARGINS[baseline.kind], quantile(error) * np.sqrt(levels.variances / levels.counts))
    levels_here = levels.means - margins
    drops = np.stack([net_drops(float(margin)) for margin in margins], axis=1)
    stakes = np.minimum(drops / (levels.variances + drops**2), BOLDEST / np.maximum(1 - levels_here, 1e-3))
    logs = np.log1p(stakes[:, where] * (levels_here[where] - values))
    return np.stack([np.bincount(where, row, minlength=len(levels.names)) for row in logs])


def net_drops(margin: float) -> Array:
    """What is left of each drop behind the margin: that is what can be won."""
    return np.maximum(DROPS - margin, DROPS / 4)


def quantile(error: float) -> float:
    return NormalDist().inv_cdf(1 - error)


def add_bets(before: tuple[float, ...], logs: Array) -> tuple[float, ...]:
    grown = np.minimum(np.logaddexp(np.array(before), 0.0) + logs, HIGHEST)
    return tuple(float(one) for one in grown)


def read_state(baseline: Baseline, state: DriftState, settings: Settings, skipped: int = 0) -> Reading:
    """The weighted mean of all families' evidence, and which family has the most of it."""
    slots = len(baseline.strata) + NEWCOMERS
    parts = {"": weigh(state.pooled, 0.5)}
    parts |= {name: weigh(logs, 0.5 / slots) for name, logs in state.strata.items()}
    total = float(np.logaddexp.reduce(list(parts.values())))
    most = max(parts, key=lambda name: parts[name])
    alarm = total >= math.log(settings.threshold)
    return Reading(total, alarm, score_of(total, settings), most, skipped)


def weigh(logs: tuple[float, ...], share: float) -> float:
    return float(np.logaddexp.reduce(logs)) + math.log(share / len(DROPS)) if logs else -math.inf


def score_of(log_evidence: float, settings: Settings) -> int:
    """How much of the way to an alarm the evidence has gone, by its logarithm."""
    share = np.logaddexp(log_evidence, 0.0) / np.logaddexp(math.log(settings.threshold), 0.0)
    return int(min(100, math.floor(100 * share)))


def describe_score(score: int) -> str:
    """The drift score in words. It measures evidence that quality fell, not by how much it fell.

    Healthy simulated routes stood at 15 to 20, and in one to three months a year reached 40 at some time.
    """
    if score >= 100:
        return "drift: chance gives such evidence less often than the false-alarm budget allows"
    if score >= 70:
        return "strong evidence of a drop: a healthy route seldom gets here"
    if score >= 40:
        return "watch: a healthy route gets here at some time in one to three months a year"
    return "as ever: nothing speaks for a drop"
