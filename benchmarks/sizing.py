"""How many pairs the sizing test needs, how often it errs, and whether routes are switched to and fro.

Graded pairs: differences of two scores, with a spread of 0.155 in steps of 0.05 (both orders averaged),
looked at after every 25 pairs, at most 4,000. Route-years: a candidate of drawn quality and saving, 40 to
160 pairs a week, a decision every week by decide.py with fresh data for each; what it says is done. The naive
rule takes each week's pairs alone and moves when their mean is above the margin or below it.
`double_switches` counts the route-years that were switched twice. BENCH_SEED, BENCH_QUICK=1.
"""

import math
import os
from decimal import Decimal
from typing import Any

import numpy as np

from collector.sizing.decide import Case, SavingRange, State, decide
from collector.sizing.pairs import PairState, Settings, add_pairs, read_pairs

SPREAD, LOOK, MOST = 0.155, 25, 4000
WEEKS = 52
DIFFERENCES = {"equal": 0.0, "-1 point": -0.01, "-3 points (the margin)": -0.03, "-5 points": -0.05}


def run() -> dict[str, Any]:
    quick = os.environ.get("BENCH_QUICK") == "1"
    seed = int(os.environ.get("BENCH_SEED", "20261101"))
    runs, route_years = (200, 300) if quick else (400, 2000)
    print(f"seed {seed}, {runs} runs of each candidate, {route_years} route-years")
    print(
        f"{'candidate':28}{'accepted':>10}{'inferior':>10}{'pairs p50':>11}{'p90':>7}{'peeking t-test':>16}"
    )
    found = {name: measure(name, seed, at, runs) for at, name in enumerate(DIFFERENCES)}
    ours, naive = count_switches(seed, route_years)
    print(f"route-years switched twice or more: own {ours}, naive weekly rule {naive} of {route_years}")
    return {
        "equal_pairs_p50": median_pairs(found["equal"]),
        "minus1_pairs_p50": median_pairs(found["-1 point"]),
        "minus3_accepted": share_accepted(found["-3 points (the margin)"]),
        "minus5_accepted": share_accepted(found["-5 points"]),
        "double_switches": ours,
    }


def measure(name: str, seed: int, at: int, runs: int) -> list[tuple[str, int]]:
    outcomes, peeked = [], 0
    for n in range(runs):
        values = draw(np.random.default_rng([seed, at, n]), MOST, DIFFERENCES[name])
        outcomes.append(first_verdict(values))
        peeked += peeking_accepts(values, Settings().margin)
    accepted, inferior = (sum(one == word for one, _ in outcomes) / runs for word in ("accepted", "inferior"))
    pairs = sorted(count for word, count in outcomes if word == "accepted")
    p50, p90 = (str(pairs[int(len(pairs) * share)]) if pairs else "-" for share in (0.5, 0.9))
    print(f"{name:28}{accepted:10.1%}{inferior:10.1%}{p50:>11}{p90:>7}{peeked / runs:16.1%}", flush=True)
    return outcomes


def draw(random: np.random.Generator, count: int, difference: float) -> np.ndarray:
    """Rounded up or down by chance, so that the mean stays exactly what it should be."""
    exact = random.normal(difference, SPREAD, count) * 20
    steps = np.floor(exact + random.random(count)) / 20
    return np.clip(steps, -1, 1)


def first_verdict(values: np.ndarray) -> tuple[str, int]:
    settings, state = Settings(), PairState()
    for start in range(0, len(values), LOOK):
        batch = values[start : start + LOOK].tolist()
        state = add_pairs(state, batch, [""] * len(batch), settings)
        reading = read_pairs(state, settings)
        if reading.accepted or reading.inferior:
            return ("accepted" if reading.accepted else "inferior"), reading.pairs
    return "open", state.pairs


def peeking_accepts(values: np.ndarray, margin: float) -> bool:
    """The textbook interval, looked at after every 25 pairs: what makes naive tests wrong."""
    for count in range(100, len(values) + 1, LOOK):
        seen = values[:count]
        if seen.mean() - 1.645 * seen.std() / math.sqrt(count) > -margin:
            return True
    return False


def median_pairs(outcomes: list[tuple[str, int]]) -> int | None:
    """Over all runs: one that was never accepted counts as infinite."""
    pairs = sorted(count if word == "accepted" else math.inf for word, count in outcomes)
    middle = pairs[len(pairs) // 2]
    return int(middle) if middle < math.inf else None


def share_accepted(outcomes: list[tuple[str, int]]) -> float:
    return round(sum(word == "accepted" for word, _ in outcomes) / len(outcomes), 4)


def count_switches(seed: int, route_years: int) -> tuple[int, int]:
    ours = naive = 0
    for n in range(route_years):
        random = np.random.default_rng([seed, 99, n])
        weekly = int(random.integers(40, 160))
        quality = random.uniform(-0.08, 0.02) + np.cumsum(random.normal(0, 0.002, WEEKS))
        weeks = [draw(random, weekly, float(level)) for level in quality]
        savings = [Decimal(str(round(float(one), 2))) for one in random.normal(3000, 900, WEEKS)]
        ours += switches_of(weeks, savings) >= 2
        naive += naive_switches(weeks) >= 2
    return ours, naive


def switches_of(weeks: list[np.ndarray], savings: list[Decimal]) -> int:
    settings, state, small, switches = Settings(), PairState(), False, 0
    moved: int | None = None
    rejected: int | None = None
    for week, (values, saving) in enumerate(zip(weeks, savings, strict=True)):
        state = add_pairs(state, values.tolist(), [""] * len(values), settings)
        case = Case(
            route="r",
            incumbent="large",
            candidate="small",
            pairs=read_pairs(state, settings),
            candidate_serves=small,
            saving=SavingRange(saving - 800, saving, saving + 800),
            migration_usd=Decimal(2000),
            latency_fine=True,
            days_since_move=None if moved is None else 7 * (week - moved),
            days_since_rejection=None if rejected is None else 7 * (week - rejected),
        )
        decision = decide(case)
        move = decision.state == (State.UPSIZE if small else State.DOWNSIZE)
        if move:
            small, switches, moved = not small, switches + 1, week
        if move or case.pairs.inferior:
            rejected = week if not small else None
            state = PairState()
    return switches


def naive_switches(weeks: list[np.ndarray]) -> int:
    small, switches = False, 0
    for values in weeks:
        fine = values.mean() > -Settings().margin
        switches += fine != small
        small = fine
    return switches
