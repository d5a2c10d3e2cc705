import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import SizewiseError
from collector.quality.drift import Settings
from collector.quality.false_alarms import bound_a_month, checks_a_month, split_budget


@given(st.floats(1, 1e5), st.integers(1, 20), st.floats(0.1, 10), st.floats(0.001, 0.5))
def test_what_is_split_adds_up_to_the_budget(
    checks: float, detectors: int, epochs: float, budget: float
) -> None:
    settings = split_budget(checks, detectors, epochs, budget)
    assert bound_a_month(settings, checks, detectors, epochs) == pytest.approx(budget)


def test_the_defaults_are_five_percent_for_one_detector_with_200_checks() -> None:
    assert split_budget(200) == Settings()
    assert checks_a_month(50 * 200 / 30) == pytest.approx(200)


def test_more_detectors_raise_the_threshold_of_each() -> None:
    assert split_budget(200, detectors=4).threshold == 4 * split_budget(200).threshold


@pytest.mark.parametrize(
    ("checks", "detectors", "budget"), [(0, 1, 0.05), (10, 0, 0.05), (10, 1, 0), (10, 1, 1)]
)
def test_a_budget_that_is_none_is_refused(checks: float, detectors: int, budget: float) -> None:
    with pytest.raises(SizewiseError, match="can't be split"):
        split_budget(checks, detectors, budget=budget)
