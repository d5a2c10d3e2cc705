"""Where a month will end, said on its days 3, 7, 14 and 21, beside what others would have said.

Mean absolute error of the month's total in percent, over five kinds of made-up series with a known end
(benchmarks/forecasting/series.py); how often the 80 % interval held it. Beside ours: run-rate (what cloud
consoles do), seasonal naive, and AutoETS where statsforecast is installed. Ours is told of price changes and
holidays, as people tell the product; the others can't be told, so look at the other three kinds too. "5 days
old" is ours again, of a team that began five days before the month. BENCH_SEED moves the seeds; BENCH_QUICK=1
takes 6 replicates of each kind instead of 24.
"""

import importlib.util
import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from statistics import mean
from typing import Any

from benchmarks.forecasting.peers import auto_ets, run_rate, seasonal_naive
from benchmarks.forecasting.series import KINDS, Series, make_series
from collector.spend.forecast import Month, Projection, project, replay
from collector.spend.forecast.series import complete, day_profile

YOUNG = "5 days old"
DAYS = (3, 7, 14, 21)  # so many days of the month are over
PEERS: dict[str, Callable[[dict[date, float], Series, date], float]] = {
    "run-rate": run_rate,
    "seasonal naive": seasonal_naive,
}
if importlib.util.find_spec("statsforecast"):
    PEERS["AutoETS"] = auto_ets
Errors = dict[tuple[str, str, int], list[float]]  # method, kind, day


def run() -> dict[str, Any]:
    first = int(os.environ.get("BENCH_SEED", "0"))
    seeds = range(first, first + (6 if os.environ.get("BENCH_QUICK") == "1" else 24))
    errors: Errors = {}
    held: dict[int, list[bool]] = {50: [], 80: [], 95: []}
    took: list[float] = []
    for kind in KINDS:
        for seed in seeds:
            series = make_series(kind, seed)
            foresee(series, errors, held, took)
            foresee_young(series, errors)
    print_table(errors, held, seeds)
    print(f"a projection takes {mean(took) * 1000:.0f} ms")
    return {
        "mape_pct": {f"d{day}": averaged(errors, "ours", day) for day in DAYS},
        "coverage80": round(mean(held[80]), 3),
        "runrate_mape_pct": {f"d{day}": averaged(errors, "run-rate", day) for day in DAYS},
        "new_mape_pct": {f"d{day}": averaged(errors, YOUNG, day) for day in DAYS},
        "flat_mape_pct": {f"d{day}": averaged(errors, "ours", day, "flat") for day in DAYS},
        "flat_runrate_mape_pct": {f"d{day}": averaged(errors, "run-rate", day, "flat") for day in DAYS},
    }


def foresee(series: Series, errors: Errors, held: dict[int, list[bool]], took: list[float]) -> None:
    record: list[float] | None = None
    for day in DAYS:
        today = series.month + timedelta(days=day)
        seen = seen_before(series, today)
        month = month_of(series, seen, today)
        if record is None:  # the months before are over: their record changes no more
            record = [past.error for past in replay(seen, month)]
        began = time.perf_counter()
        made = project(seen, month_of(series, seen, today, record))
        took.append(time.perf_counter() - began)
        assert made is not None
        note(errors, "ours", series, day, made.expected_usd)
        note_held(held, made, series.total)
        for name, peer in PEERS.items():
            note(errors, name, series, day, peer(seen, series, today))


def foresee_young(series: Series, errors: Errors) -> None:
    for day in DAYS:
        today = series.month + timedelta(days=day)
        all_seen, began = seen_before(series, today), series.month - timedelta(days=5)
        seen = {one: value for one, value in all_seen.items() if one >= began}
        made = project(seen, month_of(series, seen, today))
        assert made is not None
        note(errors, YOUNG, series, day, made.expected_usd)


def seen_before(series: Series, today: date) -> dict[date, float]:
    """What the ledger holds of the days before today, gaps filled as the product fills them."""
    days = [day for day in series.spend if day < today]
    hours = {day: series.hours(day) for day in days}
    profile = day_profile({day: hours[day] for day in days[-35:]})
    whole = {day: complete(hours[day], profile[day.weekday() >= 5]).spend_usd for day in days}
    return {day: value for day, value in whole.items() if value is not None}


def month_of(
    series: Series, seen: dict[date, float], today: date, record: list[float] | None = None
) -> Month:
    spent = sum(value for day, value in seen.items() if day >= series.month)
    return Month(today, spent, changes=series.changes, holidays=series.holidays, record=record or [])


def note(errors: Errors, method: str, series: Series, day: int, expected: float) -> None:
    error = abs(expected / series.total - 1) * 100
    errors.setdefault((method, series.kind, day), []).append(error)


def note_held(held: dict[int, list[bool]], made: Projection, total: float) -> None:
    for level, (low, high) in made.bands.items():
        held[level].append(low <= total <= high)


def averaged(errors: Errors, method: str, day: int, kind: str = "") -> float:
    kinds = [kind] if kind else KINDS
    return round(mean(error for one in kinds for error in errors[method, one, day]), 2)


def print_table(errors: Errors, held: dict[int, list[bool]], seeds: range) -> None:
    print(f"{len(KINDS)} kinds x {len(seeds)} replicates, seeds {seeds.start} to {seeds.stop - 1}")
    print("mean absolute error of the month's total in %, after 3 / 7 / 14 / 21 days")
    methods = ["ours", YOUNG, *PEERS]
    print(f"{'':12}" + "".join(f"{method:>26}" for method in methods))
    for kind in ("", *KINDS):
        cells = [
            " ".join(f"{averaged(errors, method, day, kind):5.1f}" for day in DAYS) for method in methods
        ]
        print(f"{kind or 'all':12}" + "".join(f"{cell:>26}" for cell in cells))
    print("the interval held the total: " + ", ".join(f"{k} %: {mean(v):.3f}" for k, v in held.items()))
