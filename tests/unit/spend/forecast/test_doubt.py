"""The mix of slow and fast, and intervals that learn from past ones."""

import numpy as np
import pytest

from collector.spend.forecast.doubt import USUAL_MIX, mix, try_origins, widths
from collector.spend.forecast.model import WEEK


def test_without_a_difference_the_mix_is_the_usual_one() -> None:
    assert mix(0.1, 0.1, 5) == pytest.approx(USUAL_MIX, rel=0.01)
    assert mix(0, 0, 5) == USUAL_MIX


def test_the_better_one_gets_more_and_more_so_with_more_evidence() -> None:
    little, much = mix(0.2, 0.1, 1)[1], mix(0.2, 0.1, 6)[1]
    assert USUAL_MIX[1] < little < much < 1


def test_a_level_that_jumps_about_is_followed_by_the_fast_one() -> None:
    spend = np.array([100.0] * 40 + [200.0] * 25 + [80.0] * 25)
    trial = try_origins(spend, np.arange(90.0) % 7, 5, WEEK)
    assert trial
    assert trial.fast < trial.slow
    assert trial.mix[1] > USUAL_MIX[1]


def test_a_short_series_is_not_tried_on_itself() -> None:
    assert try_origins(np.full(8, 5.0), np.arange(8.0) % 7, 20, WEEK) is None


def test_without_a_record_the_normal_law_holds() -> None:
    assert widths([]) == pytest.approx({50: 0.674, 80: 1.282, 95: 1.960}, abs=0.001)


def test_a_record_that_follows_the_normal_law_changes_little() -> None:
    chance = np.random.default_rng(3)
    learnt = widths(chance.normal(size=400).tolist())
    assert learnt == pytest.approx({50: 0.674, 80: 1.282, 95: 1.960}, rel=0.12)


def test_one_wild_past_cannot_make_the_band_boundless() -> None:
    assert widths([50.0])[80] < 2
