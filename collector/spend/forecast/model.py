"""Days of spend come in, the spend expected of the days to come leaves: two Poisson regressions, mixed.

The slow one remembers a month and follows a (damped) trend; the fast one remembers a week and knows only a
level. Neither is right for every team: how each would have done on the days just passed moves the mix, from
a prior that a few good days can't overturn. Both know the day of the week; a holiday is a Sunday until the
past says what it is. Poisson because the noise of spend grows with it, and a day of nothing is no outlier.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

# What is known of a week before anything was seen; an installation's own profile is better.
WEEK = (1.0, 1.0, 1.0, 1.0, 1.0, 0.6, 0.6)
YOUNG_DAYS = 21  # with less history a week's shape and a trend are taken from the prior
HOLIDAYS_TO_LEARN = 2
HOLIDAY = 7  # a day kind past Monday (0) to Sunday (6)


@dataclass(frozen=True, slots=True)
class Speed:
    half_life_days: float
    damping_days: float  # how long a trend goes on; 0: none
    ridge: float


SLOW = Speed(28, 21, 0.0015)
FAST = Speed(7, 0, 0.003)


def predict(
    spend: Floats, past: Floats, future: Floats, speed: Speed, week: Sequence[float] = WEEK
) -> Floats:
    """`past` and `future` are day kinds; a day of unknown spend is NaN."""
    from sklearn.linear_model import PoissonRegressor

    days = len(spend)
    known = np.isfinite(spend)
    scale = float(np.mean(spend[known])) if known.any() else 0.0
    if scale <= 0:
        return np.zeros(len(future))
    young = days < YOUNG_DAYS
    shape = np.array([*week, week[6]]) if young else np.ones(8)
    trend = bool(speed.damping_days) and not young
    learns = int(np.sum(past[known] == HOLIDAY)) >= HOLIDAYS_TO_LEARN
    age: Floats = np.arange(days) - (days - 1.0)
    steps: Floats = np.arange(1, len(future) + 1, dtype=np.float64)
    ahead: Floats = speed.damping_days * -np.expm1(-steps / speed.damping_days) if trend else steps
    past_shape, future_shape = shape[past.astype(int)], shape[future.astype(int)]
    weights = 0.5 ** (-age[known] / speed.half_life_days) * past_shape[known]
    ridge = 0.02 if young else speed.ridge * (1 + 30 / days)
    regressor: Any = PoissonRegressor(alpha=ridge, max_iter=200, solver="newton-cholesky")
    with one_thread().limit(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that stops early is still the best there is
        regressor.fit(
            columns(past, age, trend, learns)[known],
            spend[known] / scale / past_shape[known],
            sample_weight=weights / weights.mean(),
        )
        found: Floats = regressor.predict(columns(future, ahead, trend, learns))
    expected: Floats = found * scale * future_shape
    return expected


@cache
def one_thread() -> Any:
    """For matrices this small a second thread only waits for the first, and takes a core from the relay."""
    import sklearn.linear_model  # noqa: F401  (what is limited must be loaded)
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def columns(kinds: Floats, ahead: Floats, trend: bool, learns: bool) -> Floats:
    """The day of the week, the weekend as a whole, a holiday's difference from a Sunday, the trend."""
    weekday = np.where(kinds == HOLIDAY, 6, kinds)
    made = [(weekday == day).astype(float) for day in range(7)] + [(weekday >= 5).astype(float)]
    if learns:
        made.append((kinds == HOLIDAY).astype(float))
    if trend:
        made.append(ahead / 30)
    return np.stack(made, 1)
