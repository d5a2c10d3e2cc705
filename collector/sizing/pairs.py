"""Is the candidate as good as the incumbent? Scores of both on the same prompts come in; evidence leaves.

Every pair is one number: difference = candidate - incumbent, between -1 and 1 (graded scores / 10; pass or
fail as 1 and 0). Anytime-valid paired non-inferiority by betting: wealth grows by 1 + stake x (difference +
margin) for each pair, mixed over STAKES. Were the candidate worse by the margin or more, wealth would reach
K / alpha with a chance of at most alpha / K, however often one looks, so K candidates together err at most
alpha of the time. Mirrors bet the other way: on "inferior", on "worse by margin + 2 points" (for upsizing),
and in each stratum on "worse by twice the margin".

Invariants: a pair is counted once and for one decision only (a new decision starts from PairState());
pairs are independent (at most one of a conversation); which pairs are drawn does not depend on their scores.

Pure, and its state is plain values.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

STAKES = np.array([0.05, 0.1, 0.2, 0.4, 0.7, 0.95])  # shares of the most that may be staked
TIGHTEST_AT = 300  # pairs at which the interval is tuned to be narrowest
NO_BETS = (0.0,) * len(STAKES)


class Settings(msgspec.Struct, frozen=True):
    margin: float = 0.03
    alpha: float = 0.05
    candidates: int = 1
    least_pairs: int = 100
    upsize_extra: float = 0.02
    upsize_alpha: float = 0.01


class StratumState(msgspec.Struct, frozen=True):
    pairs: int = 0
    total: float = 0.0
    worse: tuple[float, ...] = NO_BETS  # logs of the wealth bet on "worse by twice the margin"


class PairState(msgspec.Struct, frozen=True):
    pairs: int = 0
    total: float = 0.0
    squares: float = 0.0
    fine: tuple[float, ...] = NO_BETS
    inferior: tuple[float, ...] = NO_BETS
    much_worse: tuple[float, ...] = NO_BETS
    strata: dict[str, StratumState] = {}


class PairReading(NamedTuple):
    pairs: int
    difference: float | None  # None without pairs
    low: float | None  # 95 %, valid however often one looks
    high: float | None
    accepted: bool  # not worse by the margin
    inferior: bool  # worse by the margin
    much_worse: bool  # worse by the margin and two points more
    worst_stratum: str
    worst_difference: float | None
    failed_strata: tuple[str, ...]  # shown to be worse by twice the margin
    missing_pairs: int | None  # about how many more until accepted; None: not foreseeable


def add_pairs(
    state: PairState, differences: Sequence[float], strata: Sequence[str], settings: Settings
) -> PairState:
    if not differences:
        return state
    values = np.array(differences, dtype=np.float64)
    if not (values.min() >= -1 and values.max() <= 1):
        raise ValueError("a difference of scores lies between -1 and 1: divide by their scale first")
    margin, names, grown = settings.margin, np.array(strata), dict(state.strata)
    if len(names) != len(values):
        raise ValueError(f"{len(values)} differences with {len(names)} strata")
    for name in dict.fromkeys(strata):
        own, before = values[names == name], grown.get(name, StratumState())
        grown[name] = StratumState(
            pairs=before.pairs + len(own),
            total=before.total + float(own.sum()),
            worse=bet_below(before.worse, own, 2 * margin),
        )
    return PairState(
        pairs=state.pairs + len(values),
        total=state.total + float(values.sum()),
        squares=state.squares + float((values**2).sum()),
        fine=bet_above(state.fine, values, margin),
        inferior=bet_below(state.inferior, values, margin),
        much_worse=bet_below(state.much_worse, values, margin + settings.upsize_extra),
        strata=grown,
    )


def bet_above(before: tuple[float, ...], values: NDArray[np.float64], margin: float) -> tuple[float, ...]:
    """Wins where the mean difference is above -margin; never loses more than its stake."""
    logs = np.log1p(np.outer(STAKES / (1 - margin), values + margin)).sum(axis=1)
    return tuple(float(one) for one in np.array(before) + logs)


def bet_below(before: tuple[float, ...], values: NDArray[np.float64], margin: float) -> tuple[float, ...]:
    logs = np.log1p(np.outer(-STAKES / (1 + margin), values + margin)).sum(axis=1)
    return tuple(float(one) for one in np.array(before) + logs)


def log_evidence(wealth: tuple[float, ...]) -> float:
    return float(np.logaddexp.reduce(wealth)) - math.log(len(STAKES))


def read_pairs(state: PairState, settings: Settings) -> PairReading:
    enough = state.pairs >= settings.least_pairs
    bar = math.log(settings.candidates / settings.alpha)
    difference, low, high = interval(state, settings.alpha)
    strata = {name: one.total / one.pairs for name, one in state.strata.items()}
    worst = min(strata, key=lambda name: strata[name]) if strata else ""
    each = bar + math.log(max(1, len(strata)))
    failed = [name for name, one in sorted(state.strata.items()) if log_evidence(one.worse) >= each]
    accepted = enough and log_evidence(state.fine) >= bar
    return PairReading(
        pairs=state.pairs,
        difference=difference,
        low=low,
        high=high,
        accepted=accepted,
        inferior=enough and log_evidence(state.inferior) >= bar,
        much_worse=enough and log_evidence(state.much_worse) >= math.log(1 / settings.upsize_alpha),
        worst_stratum=worst,
        worst_difference=strata.get(worst),
        failed_strata=tuple(failed),
        missing_pairs=0 if accepted else missing_pairs(state, settings),
    )


def interval(state: PairState, alpha: float) -> tuple[float | None, float | None, float | None]:
    """An asymptotic confidence sequence (normal mixture): it may be looked at at any time, so it is wider
    than the textbook interval for one look."""
    if state.pairs < 2:
        return (state.total if state.pairs else None), None, None
    count, mean, spread = state.pairs, state.total / state.pairs, deviation(state)
    rho = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / TIGHTEST_AT
    width = math.sqrt(2 * (count * rho + 1) / (count**2 * rho) * math.log(math.sqrt(count * rho + 1) / alpha))
    return mean, max(-1.0, mean - spread * width), min(1.0, mean + spread * width)


def deviation(state: PairState) -> float:
    """Never zero: pairs that were all alike don't prove that the next one is."""
    mean = state.total / state.pairs
    return math.sqrt(max(state.squares / state.pairs - mean * mean, 1 / state.pairs**2))


def missing_pairs(state: PairState, settings: Settings) -> int | None:
    """About how many more pairs until acceptance, if the difference stays what it was so far."""
    least = max(0, settings.least_pairs - state.pairs)
    if state.pairs < 20:
        return None
    gap = state.total / state.pairs + settings.margin
    stakes = STAKES / (1 - settings.margin)
    growth = float((stakes * gap - stakes**2 * (deviation(state) ** 2 + gap**2) / 2).max())
    if gap <= 0 or growth <= 0:
        return None
    wanted = math.log(settings.candidates / settings.alpha) - log_evidence(state.fine)
    return max(least, math.ceil(wanted / growth), 1)
