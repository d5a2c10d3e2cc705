import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.quality.baseline import Baseline, Epoch, extend_baseline
from collector.quality.drift import (
    DriftState,
    Reading,
    Settings,
    check_scores,
    describe_score,
    known_levels,
    pooled_bets,
)

LEVELS = {"easy": 0.95, "plain": 0.9, "hard": 0.6}
Batch = tuple[list[float], list[str]]


def draw(
    random: np.random.Generator,
    count: int,
    drop: dict[str, float] | float = 0.0,
    mix: list[float] | None = None,
) -> Batch:
    names = random.choice(list(LEVELS), count, p=mix).tolist()
    drops = drop if isinstance(drop, dict) else dict.fromkeys(LEVELS, drop)
    scores = [float(random.random() < LEVELS[name] - drops.get(name, 0.0)) for name in names]
    return scores, names


def learned(seed: int, count: int = 2000, kind: str = "explicit") -> tuple[Baseline, np.random.Generator]:
    random = np.random.default_rng(seed)
    return extend_baseline(Baseline(Epoch(), kind=kind), *draw(random, count)), random  # type: ignore[arg-type]


def watch(
    baseline: Baseline, batches: list[Batch], state: DriftState | None = None
) -> tuple[DriftState, list[Reading]]:
    state, readings = state or DriftState(), []
    for batch in batches:
        state, reading = check_scores(baseline, state, *batch)
        readings.append(reading)
    return state, readings


@pytest.mark.parametrize("seed", range(5))
def test_neither_health_nor_a_harder_mix_is_an_alarm(seed: int) -> None:
    baseline, random = learned(seed)
    mixes = [None] * 40 + [[0.1, 0.2, 0.7]] * 60
    _, readings = watch(baseline, [draw(random, 50, mix=mix) for mix in mixes])
    assert not any(reading.alarm for reading in readings)


@pytest.mark.parametrize("seed", range(5))
def test_a_drop_everywhere_is_found_everywhere(seed: int) -> None:
    baseline, random = learned(seed)
    _, readings = watch(baseline, [draw(random, 50, drop=0.15) for _ in range(20)])
    assert readings[-1].alarm
    assert readings[-1].stratum == ""
    assert readings[-1].drift_score == 100


def test_a_drop_in_one_stratum_names_it() -> None:
    baseline, random = learned(1)
    _, readings = watch(
        baseline, [draw(random, 50, drop={"plain": 0.5}, mix=[0.45, 0.1, 0.45]) for _ in range(40)]
    )
    assert readings[-1].alarm
    alarms = [reading.stratum for reading in readings if reading.alarm]
    assert "plain" in alarms


def test_a_replay_through_json_gives_the_same_readings() -> None:
    baseline, random = learned(3)
    batches = [draw(random, 50, drop=0.03) for _ in range(12)]
    _, straight = watch(baseline, batches)
    state, stored = DriftState(), []
    for batch in batches:
        state = msgspec.json.decode(msgspec.json.encode(state), type=DriftState)
        state, reading = check_scores(baseline, state, *batch)
        stored.append(reading)
    assert stored == straight


def test_the_state_that_came_in_is_left_as_it_was() -> None:
    baseline, random = learned(4)
    state, _ = watch(baseline, [draw(random, 50)])
    before = msgspec.json.encode(state)
    check_scores(baseline, state, *draw(random, 50))
    assert msgspec.json.encode(state) == before


def test_a_new_stratum_is_learned_before_it_is_bet_on() -> None:
    baseline, _ = learned(5)
    new = [([0.0] * 50, ["new"] * 50)] * 2
    state, readings = watch(baseline, new)
    assert [reading.skipped for reading in readings] == [50, 50]
    assert not any(reading.alarm for reading in readings)
    state, (reading,) = watch(baseline, [([0.0] * 50, ["new"] * 50)], state)
    assert (reading.skipped, reading.alarm) == (0, False)  # as bad as it always was
    assert state.newcomers["new"].count == 100


def test_clusters_bear_more_than_templates() -> None:
    at_alarm = {}
    for kind in ("explicit", "cluster"):
        baseline, random = learned(6, count=8000, kind=kind)
        _, readings = watch(baseline, [draw(random, 50, drop=0.06) for _ in range(120)])
        at_alarm[kind] = next(at for at, reading in enumerate(readings) if reading.alarm)
    assert at_alarm["explicit"] < at_alarm["cluster"]


def test_an_empty_check_and_an_empty_baseline_say_nothing() -> None:
    baseline, _ = learned(7)
    _, reading = check_scores(baseline, DriftState(), [], [])
    assert (reading.log_evidence, reading.alarm, reading.drift_score) == (-math.inf, False, 0)
    state, reading = check_scores(Baseline(Epoch()), DriftState(), [0.0, 0.5], ["a", "b"])
    assert (reading.alarm, reading.skipped, state.scored) == (False, 2, 0)


@pytest.mark.parametrize("score", [1.5, -0.5, float("nan")])
def test_a_score_off_the_scale_is_refused(score: float) -> None:
    baseline, _ = learned(8)
    with pytest.raises(ValueError, match="between 0 and 1"):
        check_scores(baseline, DriftState(), [score], ["easy"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(list(LEVELS)), min_size=1, max_size=30))
def test_bets_do_not_gain_in_the_mean_whatever_the_mix(names: list[str]) -> None:
    """The mean of each bet's product, by the true levels; the baseline here is the truth itself."""
    truth = [
        score
        for level in LEVELS.values()
        for score in [1.0] * round(level * 1000) + [0.0] * round(1000 - level * 1000)
    ]
    baseline = extend_baseline(Baseline(Epoch()), truth, [name for name in LEVELS for _ in range(1000)])
    levels = known_levels(baseline, DriftState())
    where = np.array([levels.names.index(name) for name in names])
    # A product of independent linear terms: its mean is the product at the mean scores.
    means = np.array([LEVELS[name] for name in names])
    assert (pooled_bets(baseline, levels, means, where, Settings()) <= 1e-9).all()
    assert (pooled_bets(baseline, levels, means - 0.2, where, Settings()) > 0).all()


def test_the_score_says_what_it_means() -> None:
    baseline, random = learned(9)
    _, readings = watch(baseline, [draw(random, 50, drop=0.2) for _ in range(12)])
    scores = [reading.drift_score for reading in readings]
    assert all(0 <= score <= 100 for score in scores)
    assert [reading.alarm for reading in readings] == [score == 100 for score in scores]
    words = [describe_score(score) for score in (0, 40, 70, 100)]
    assert len(set(words)) == 4
    assert all(one != other for one, other in pairwise(words))
