"""How much can be seen at this rate, in days: for people who wonder why there is no verdict yet.

Enters: a baseline (or the spread one expects), how many scores a day. Leaves: days until the baseline stands,
the smallest drop that an alarm would see within a week, and what a higher rate would cost. Pure.

The prediction takes the best of the detector's bets over all strata and its mean growth per score; against
simulated medians it is off by less than a third (benchmarks/drift.py prints both). It is a plan, no promise.
"""

import math
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

import numpy as np

from collector.quality.baseline import MARGINS, Baseline, Levels, levels_of
from collector.quality.drift import BOLDEST, DROPS, LEAST_TO_BET, SPREAD, Settings, net_drops, quantile
from collector.quality.false_alarms import CHECK_SIZE, DAYS_A_MONTH

HEAD_START = 2.5  # log evidence that chance alone keeps at hand when the drop comes
LARGEST = 0.5  # larger drops are called blindness


class Power(NamedTuple):
    scored_a_day: float
    days_for_5_points: float | None  # None: never, the margin is as large
    week_drop: float | None  # the smallest drop seen within 7 days; None: none below LARGEST
    cost_usd_a_month: Decimal | None  # None: what a score costs is not known


def describe_wait(scored: int, wanted: int, scored_a_day: float) -> str:
    """ "412 of 1,000 scored, about 6 days": how long until the baseline stands."""
    progress = f"{scored:,} of {wanted:,} scored"
    if scored >= wanted:
        return progress
    if scored_a_day <= 0:
        return f"{progress}, and none comes: nothing of this route is being scored"
    days = math.ceil((wanted - scored) / scored_a_day)
    return f"{progress}, about {days:,} {'day' if days == 1 else 'days'}"


def scores_to_alarm(baseline: Baseline, drop: float, settings: Settings) -> float | None:
    """About how many scores after a drop everywhere the median alarm comes; None if never."""
    levels = levels_of(baseline.strata, LEAST_TO_BET)
    if not levels.names:
        return None
    growth = pooled_growth(baseline, levels, drop, settings)
    if growth <= 0:
        return None
    wanted = math.log(settings.threshold) + math.log(2 * len(DROPS)) - HEAD_START
    return math.ceil(wanted / growth / CHECK_SIZE) * CHECK_SIZE


def pooled_growth(baseline: Baseline, levels: Levels, drop: float, settings: Settings) -> float:
    """Mean growth of the log evidence per score, of the best bet, if the mix stays that of the baseline."""
    mix = levels.counts / levels.counts.sum()
    gains = 1 / (levels.variances + SPREAD)
    weights = mix * gains / (mix * gains).sum()
    error = math.sqrt(float((weights**2 * levels.variances / levels.counts).sum()))
    margin = max(MARGINS[baseline.kind], quantile(settings.baseline_error / 2) * error)
    stakes = net_drops(margin) / (1 + float((mix * gains).sum()) * net_drops(margin) ** 2)
    stakes = np.minimum(stakes, BOLDEST / float((gains * np.maximum(1 - levels.means + margin, 1e-3)).max()))
    bets = np.outer(stakes, gains)
    won = drop - margin
    growth = (mix * (bets * won - bets**2 * (levels.variances + won**2) / 2)).sum(axis=1)
    return float(growth.max())


def smallest_drop(baseline: Baseline, scores: float, settings: Settings) -> float | None:
    """The smallest drop, to a tenth of a point, whose median alarm comes within so many scores."""
    for tenth in range(1, round(LARGEST * 1000) + 1):
        needed = scores_to_alarm(baseline, tenth / 1000, settings)
        if needed is not None and needed <= scores:
            return tenth / 1000
    return None


def power_at(
    baseline: Baseline, scored_a_day: float, settings: Settings, score_usd: Decimal | None = None
) -> Power:
    needed = scores_to_alarm(baseline, 0.05, settings)
    cost = None
    if score_usd is not None:
        exact = score_usd * Decimal(str(scored_a_day)) * DAYS_A_MONTH
        cost = exact.quantize(Decimal("0.01"), ROUND_CEILING)
    return Power(
        scored_a_day=scored_a_day,
        days_for_5_points=needed / scored_a_day if needed is not None and scored_a_day > 0 else None,
        week_drop=smallest_drop(baseline, 7 * scored_a_day, settings),
        cost_usd_a_month=cost,
    )


def describe_power(now: Power, more: Power | None = None) -> str:
    """What is visible within a week at this rate, and what another rate would show and cost."""
    text = f"{now.scored_a_day:,.0f} scores a day show {in_points(now.week_drop)} within a week"
    if more is None:
        return f"{text}."
    cost = "at a cost that is not known"
    if now.cost_usd_a_month is not None and more.cost_usd_a_month is not None:
        cost = f"for ${more.cost_usd_a_month - now.cost_usd_a_month:,.2f} more a month"
    return f"{text}; {more.scored_a_day:,.0f} a day would show {in_points(more.week_drop)}, {cost}."


def in_points(drop: float | None) -> str:
    return "no drop" if drop is None else f"a drop of {drop * 100:.1f} points"
