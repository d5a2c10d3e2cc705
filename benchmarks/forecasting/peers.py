"""The methods beside ours: days seen come in, the month's total leaves."""

from datetime import date, timedelta

import numpy as np

from benchmarks.forecasting.series import Series


def days_left(series: Series, today: date) -> int:
    return sum(day >= today for day in series.spend)


def spent(seen: dict[date, float], series: Series) -> float:
    return sum(value for day, value in seen.items() if day >= series.month)


def run_rate(seen: dict[date, float], series: Series, today: date) -> float:
    """So much a day so far, so much to the end: what a cloud console says."""
    so_far = spent(seen, series)
    return so_far * (1 + days_left(series, today) / (today - series.month).days)


def seasonal_naive(seen: dict[date, float], series: Series, today: date) -> float:
    """The last week again and again."""
    week = [seen.get(today - timedelta(days=7 - at), 0.0) for at in range(7)]
    return spent(seen, series) + sum(week[at % 7] for at in range(days_left(series, today)))


def auto_ets(seen: dict[date, float], series: Series, today: date) -> float:
    from statsforecast.models import AutoETS  # type: ignore[import-not-found, unused-ignore]

    ahead = days_left(series, today)
    values = np.array([seen[day] for day in sorted(seen)])
    return spent(seen, series) + float(AutoETS(season_length=7).forecast(values, ahead)["mean"].sum())
