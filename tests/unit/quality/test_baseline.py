import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.quality.baseline import Baseline, Epoch, changed_fields, extend_baseline, levels_of

SCORES = st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abc")), min_size=2, max_size=60)


@given(SCORES, st.integers(0, 60))
def test_learning_in_two_steps_is_learning_at_once(pairs: list[tuple[float, str]], cut: int) -> None:
    scores, strata = [score for score, _ in pairs], [name for _, name in pairs]
    empty = Baseline(Epoch(model="m"))
    halves = extend_baseline(extend_baseline(empty, scores[:cut], strata[:cut]), scores[cut:], strata[cut:])
    assert halves == extend_baseline(empty, scores, strata)
    assert halves.count == len(pairs)
    assert msgspec.json.decode(msgspec.json.encode(halves), type=Baseline) == halves


@pytest.mark.parametrize("score", [-0.1, 1.1, 7.0, float("nan")])
def test_a_score_off_the_scale_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        extend_baseline(Baseline(Epoch()), [score], ["a"])


def test_an_epoch_ends_with_any_of_its_fields() -> None:
    old = Epoch(model="m", judge="j1", upstream_version="0.9")
    assert changed_fields(old, old) == ()
    assert changed_fields(old, Epoch(model="m", judge="j2", upstream_version="1.0")) == (
        "judge",
        "upstream_version",
    )


def test_small_strata_are_left_out_and_no_variance_is_zero() -> None:
    baseline = extend_baseline(
        Baseline(Epoch()),
        [1.0] * 40 + [0.0, 1.0] * 100 + [0.5] * 3,
        ["sure"] * 40 + ["even"] * 200 + ["rare"] * 3,
    )
    levels = levels_of(baseline.strata, 30)
    assert levels.names == ("even", "sure")
    assert levels.means.tolist() == [0.5, 1.0]
    assert levels.variances[0] == pytest.approx(0.25, rel=0.02)
    assert 0.05 < levels.variances[1] < 0.1  # it never failed, but 40 successes don't prove that it can't
