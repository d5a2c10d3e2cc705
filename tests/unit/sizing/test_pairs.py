import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.sizing.pairs import (
    PairState,
    Settings,
    add_pairs,
    bet_above,
    bet_below,
    interval,
    log_evidence,
    read_pairs,
)

RULES = Settings()


def feed(
    difference: float, count: int, seed: int = 1, stratum: str = "a", state: PairState | None = None
) -> PairState:
    values = np.clip(np.random.default_rng(seed).normal(difference, 0.155, count), -1, 1)
    return add_pairs(state or PairState(), values.tolist(), [stratum] * count, RULES)


def test_an_equal_candidate_is_accepted_and_a_bad_one_is_shown_inferior() -> None:
    good, bad = read_pairs(feed(0.0, 1000), RULES), read_pairs(feed(-0.10, 1000), RULES)
    assert (good.accepted, good.inferior, good.much_worse, good.missing_pairs) == (True, False, False, 0)
    assert (bad.accepted, bad.inferior, bad.much_worse, bad.missing_pairs) == (False, True, True, None)


@pytest.mark.parametrize("seed", range(10))
def test_five_points_worse_is_never_accepted(seed: int) -> None:
    state = PairState()
    for step in range(40):
        state = feed(-0.05, 50, seed * 100 + step, state=state)
        assert not read_pairs(state, RULES).accepted


def test_more_candidates_need_more_evidence() -> None:
    state = feed(0.0, 600)
    needed = [
        candidates
        for candidates in (1, 10, 10**20)
        if not read_pairs(state, Settings(candidates=candidates)).accepted
    ]
    assert 10**20 in needed
    assert 1 not in needed


def test_nothing_is_decided_below_a_hundred_pairs() -> None:
    state = add_pairs(PairState(), [1.0] * 99, ["a"] * 99, RULES)
    assert log_evidence(state.fine) > math.log(20)
    assert not read_pairs(state, RULES).accepted
    assert read_pairs(state, RULES).missing_pairs == 1
    assert read_pairs(add_pairs(state, [1.0], ["a"], RULES), RULES).accepted


def test_a_stratum_that_fails_is_named_though_all_together_are_fine() -> None:
    state = feed(-0.25, 120, stratum="german", state=feed(0.05, 2000, stratum="english"))
    reading = read_pairs(state, RULES)
    assert reading.accepted
    assert reading.failed_strata == ("german",)
    assert reading.worst_stratum == "german"
    assert reading.worst_difference == pytest.approx(-0.25, abs=0.05)


@settings(max_examples=100)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=80), st.integers(0, 80))
def test_in_two_batches_is_at_once_and_json_keeps_it(values: list[float], cut: int) -> None:
    names = [str(at % 3) for at in range(len(values))]
    first = add_pairs(PairState(), values[:cut], names[:cut], RULES)
    stored = msgspec.json.decode(msgspec.json.encode(first), type=PairState)
    halves = add_pairs(stored, values[cut:], names[cut:], RULES)
    whole = add_pairs(PairState(), values, names, RULES)
    assert halves.pairs == whole.pairs
    assert halves.fine == pytest.approx(whole.fine)
    assert halves.much_worse == pytest.approx(whole.much_worse)


@given(st.floats(0.005, 0.2))
def test_at_the_margin_no_bet_gains_in_the_mean(margin: float) -> None:
    """A product of independent linear terms has the mean of one at the mean values."""
    at_margin = np.full(50, -margin)
    none = (0.0,) * 6
    assert bet_above(none, at_margin, margin) == pytest.approx(none, abs=1e-9)
    assert max(bet_above(none, at_margin - 0.1, margin)) < 0 < min(bet_above(none, at_margin + 0.1, margin))
    assert max(bet_below(none, at_margin + 0.1, margin)) < 0 < min(bet_below(none, at_margin - 0.1, margin))


def test_no_wealth_is_ever_lost_for_good() -> None:
    extreme = add_pairs(PairState(), [-1.0] * 50 + [1.0] * 50, ["a"] * 100, RULES)
    assert all(math.isfinite(one) for one in extreme.fine + extreme.inferior + extreme.much_worse)


def test_the_interval_covers_at_every_look() -> None:
    """95 % over the whole path: of 60 paths looked at 40 times, only a few may ever miss the truth."""
    missed = 0
    for seed in range(60):
        state = feed(-0.01, 100, 7000 + seed * 50)
        for step in range(40):
            state = feed(-0.01, 25, 7000 + seed * 50 + step + 1, state=state)
            _, low, high = interval(state, 0.05)
            assert low is not None
            assert high is not None
            if not low <= -0.01 <= high:
                missed += 1
                break
    assert missed <= 7


def test_without_pairs_nothing_is_said() -> None:
    reading = read_pairs(PairState(), RULES)
    assert (reading.difference, reading.low, reading.worst_stratum, reading.missing_pairs) == (
        None,
        None,
        "",
        None,
    )
    assert add_pairs(PairState(), [], [], RULES) == PairState()


@pytest.mark.parametrize("value", [1.01, -2.0, float("nan")])
def test_a_difference_off_the_scale_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        add_pairs(PairState(), [value], ["a"], RULES)


def test_each_difference_has_a_stratum() -> None:
    with pytest.raises(ValueError, match="2 differences with 1 strata"):
        add_pairs(PairState(), [0.0, 0.1], ["a"], RULES)
