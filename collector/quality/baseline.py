"""What "as good as ever" means: the scores of one epoch, by stratum, as counts and sums.

Enters: scores between 0 (worst) and 1 (best) with the stratum of each (its route and template, or a cluster
that was found). Leaves: a Baseline, plain values that go into JSON and come back the same. Pure.

A baseline belongs to one epoch: as soon as the model, its revision, the template, the judge or the
upstream's version changes, scores mean something else and a new baseline must be learned.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Kind = Literal["explicit", "cluster"]

# How far a stratum's true mean may move without being called drift. A route or template is the same question
# again and again; inside a cluster that was found, the mix of questions can move unseen.
MARGINS: dict[Kind, float] = {"explicit": 0.01, "cluster": 0.03}
SHRINKAGE = 20.0  # a small stratum's variance leans on that of all, as if so many samples of all were in it
LEAST_VARIANCE = 1e-3


class Epoch(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the scores of a baseline have in common."""

    model: str = ""
    revision: str = ""
    template: str = ""
    judge: str = ""
    upstream_version: str = ""


class Moments(msgspec.Struct, frozen=True):
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        return self.total / self.count


class Baseline(msgspec.Struct, frozen=True):
    epoch: Epoch
    kind: Kind = "explicit"
    strata: dict[str, Moments] = {}

    @property
    def count(self) -> int:
        return sum(one.count for one in self.strata.values())


class Levels(NamedTuple):
    """A baseline as arrays, one row a stratum in the order of `names`."""

    names: tuple[str, ...]
    counts: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]


def changed_fields(old: Epoch, new: Epoch) -> tuple[str, ...]:
    """Why a new epoch begins; empty where it doesn't."""
    return tuple(name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name))


def extend_baseline(baseline: Baseline, scores: Sequence[float], strata: Sequence[str]) -> Baseline:
    return msgspec.structs.replace(baseline, strata=add_scores(baseline.strata, scores, strata))


def add_scores(
    known: dict[str, Moments], scores: Sequence[float], strata: Sequence[str]
) -> dict[str, Moments]:
    grown = dict(known)
    for score, stratum in zip(scores, strata, strict=True):
        if not 0 <= score <= 1:
            raise ValueError(f"a score lies between 0 and 1, not {score!r}: divide by its scale first")
        one = grown.get(stratum, Moments())
        grown[stratum] = Moments(one.count + 1, one.total + score, one.squares + score * score)
    return grown


def levels_of(strata: dict[str, Moments], least: int) -> Levels:
    """The strata with at least so many scores; their variances are shrunk towards that of them all."""
    names = tuple(sorted(name for name, one in strata.items() if one.count >= least))
    chosen = [strata[name] for name in names]
    counts = np.array([one.count for one in chosen], dtype=np.float64)
    means = np.array([one.mean for one in chosen], dtype=np.float64)
    raw = np.array([one.squares for one in chosen], dtype=np.float64) / np.maximum(counts, 1) - means**2
    within = float((raw * counts).sum() / counts.sum()) if names else 0.0
    shrunk = (counts * raw + SHRINKAGE * within) / (counts + SHRINKAGE)
    return Levels(names, counts, means, np.maximum(shrunk, LEAST_VARIANCE))
