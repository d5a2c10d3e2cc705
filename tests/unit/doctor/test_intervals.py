import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.doctor.intervals import bounding_ranks, estimate, interpolate

numbers = st.floats(-1e6, 1e6)


def test_known_ranks() -> None:
    """Of six values the smallest and the largest hold the median by 1 - 2/64; of five they don't by 95 %."""
    assert bounding_ranks(6, 0.5, 0.025) == (0, 5)
    assert bounding_ranks(5, 0.5, 0.025) == (None, None)
    assert bounding_ranks(200, 0.5, 0.025) == (85, 114)  # the 86th and the 115th of 200
    assert bounding_ranks(200, 0.99, 0.025)[1] is None
    assert bounding_ranks(400, 0.99, 0.025)[1] == 399


@given(st.lists(numbers, min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_the_interval_holds_the_estimate(values: list[float], quantile: float) -> None:
    found = estimate(values, quantile)
    assert min(values) <= found.value <= max(values)
    assert found.low is None or found.low <= found.value
    assert found.high is None or found.high >= found.value


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_it_covers_as_often_as_it_says(quantile: float) -> None:
    """On a skewed distribution: at least 95 % of 2,000 intervals hold the truth, less their noise."""
    chance = random.Random(5)
    truth = sorted(chance.expovariate(1) for _ in range(200_001))
    true = interpolate(truth, quantile)
    hits = 0
    for _ in range(2000):
        found = estimate([chance.expovariate(1) for _ in range(60)], quantile)
        hits += (found.low is None or found.low <= true) and (found.high is None or true <= found.high)
    assert hits / 2000 > 0.935
