"""One false-alarm budget per route: how often a healthy route may cry wolf, and each detector's share.

Enters: the budget a month, how often the route is checked, how many detectors watch it. Leaves: the Settings
of each. Pure.

The guarantee is a union bound. A route's false alarms in a month are at most, in probability,
    detectors x (checks a month / threshold + epochs a month x baseline_error) = the budget.
Assumed: scores of one stratum are independent (at most one of a conversation is scored), the mean of a
healthy stratum moves by less than its margin, and the baseline is large enough for the normal distribution.
Nothing is promised for drifts of cost, latency or tokens.
"""

from collector.errors import SizewiseError
from collector.quality.drift import Settings

BUDGET_A_MONTH = 0.05  # one false alarm in 20 route-months
CHECK_SIZE = 50  # scores a check
DAYS_A_MONTH = 30


def checks_a_month(scored_a_day: float) -> float:
    return max(1.0, scored_a_day * DAYS_A_MONTH / CHECK_SIZE)


def split_budget(
    checks: float, detectors: int = 1, epochs: float = 1.0, budget: float = BUDGET_A_MONTH
) -> Settings:
    """Half of a detector's share is for chance in its checks, half for the error of its baselines."""
    if not (checks > 0 and detectors >= 1 and epochs > 0 and 0 < budget < 1):
        raise SizewiseError(
            f"a false-alarm budget of {budget} a month can't be split over {detectors} detectors with "
            f"{checks} checks and {epochs} baselines: the budget lies between 0 and 1, the others above 0"
        )
    share = budget / detectors
    return Settings(threshold=2 * checks / share, baseline_error=share / 2 / epochs)


def bound_a_month(settings: Settings, checks: float, detectors: int = 1, epochs: float = 1.0) -> float:
    """The other way round: the promise that these settings keep."""
    return min(1.0, detectors * (checks / settings.threshold + epochs * settings.baseline_error))
