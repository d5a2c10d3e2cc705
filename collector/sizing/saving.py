"""What a move would save a month, with its doubt: costs of the same prompts and the volume come in.

Pure and seeded: the same pairs give the same range. The saving per call is resampled (bootstrap) over the
paired prompts, since a few long ones may carry all of it, and multiplied by a volume drawn from its forecast.
Money is added up in whole nano-dollars, never in floats; quantiles of the volume are joined by straight
lines, and beyond P10 and P90 nothing is assumed: the volume stays there.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

import numpy as np

from collector.errors import SizewiseError
from collector.sizing.decide import SavingRange

RESAMPLES = 2000
LEAST_PAIRS = 30  # below, resampling says nothing about the prompts that haven't come yet
NANO = Decimal("1e-9")


class Volume(NamedTuple):
    """Calls of the route in a month, by its forecast."""

    p10: int
    p50: int
    p90: int


def saving_range(
    incumbent_usd: Sequence[Decimal],
    candidate_usd: Sequence[Decimal],
    volume: Volume,
    seed: int = 1,
    fixed_usd: Decimal = Decimal(0),
) -> SavingRange | None:
    """None with too few pairs. `fixed_usd` is what doesn't depend on calls: GPU bills that come or go."""
    if len(incumbent_usd) != len(candidate_usd):
        raise SizewiseError(f"{len(incumbent_usd)} costs of one model and {len(candidate_usd)} of the other")
    if not 0 <= volume.p10 <= volume.p50 <= volume.p90:
        raise SizewiseError(f"a forecast of {volume} is in no order: p10 <= p50 <= p90")
    if len(incumbent_usd) < LEAST_PAIRS:
        return None
    random, pairs = np.random.default_rng(seed), len(incumbent_usd)
    saved = np.array([nano(old) - nano(new) for old, new in zip(incumbent_usd, candidate_usd, strict=True)])
    sums = saved[random.integers(0, pairs, (RESAMPLES, pairs))].sum(axis=1)
    calls = np.interp(random.random(RESAMPLES), [0.1, 0.5, 0.9], list(volume)).round().astype(np.int64)
    months = sorted(int(total) * int(count) for total, count in zip(sums, calls, strict=True))
    chosen = (months[int(RESAMPLES * share)] for share in (0.1, 0.5, 0.9))
    return SavingRange(*(round_cents(Decimal(one) * NANO / pairs + fixed_usd) for one in chosen))


def nano(usd: Decimal) -> int:
    return int((usd / NANO).to_integral_value(ROUND_HALF_EVEN))


def round_cents(usd: Decimal) -> Decimal:
    return usd.quantize(Decimal("0.01"))
