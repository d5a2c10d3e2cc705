from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import SizewiseError
from collector.sizing.saving import Volume, saving_range

FLAT = Volume(1_000_000, 1_000_000, 1_000_000)
COSTS = st.decimals("0", "1", places=6)


def test_the_same_saving_on_each_prompt_leaves_no_doubt() -> None:
    """$0.01 against under a cent each, a million times."""
    found = saving_range([Decimal("0.01")] * 50, [Decimal("0.002")] * 50, FLAT)
    assert found == (Decimal("8000.00"),) * 3


def test_doubt_comes_from_prompts_and_from_the_volume() -> None:
    uneven = [Decimal("0.001")] * 95 + [Decimal("0.5")] * 5
    by_prompts = saving_range(uneven, [Decimal("0.001")] * 100, FLAT)
    by_volume = saving_range([Decimal("0.01")] * 100, [Decimal(0)] * 100, Volume(10_000, 20_000, 40_000))
    assert by_prompts is not None
    assert by_prompts.p10_usd < by_prompts.p50_usd < by_prompts.p90_usd
    assert by_volume is not None
    assert Decimal(100) <= by_volume.p10_usd < Decimal(120)
    assert by_volume.p50_usd == pytest.approx(Decimal(200), rel=Decimal("0.1"))
    assert Decimal(370) < by_volume.p90_usd <= Decimal(400)


@given(st.lists(st.tuples(COSTS, COSTS), min_size=30, max_size=60))
def test_what_one_saves_the_other_loses(pairs: list[tuple[Decimal, Decimal]]) -> None:
    old, new = [one for one, _ in pairs], [other for _, other in pairs]
    there, back = saving_range(old, new, FLAT), saving_range(new, old, FLAT)
    assert there is not None
    assert back is not None
    assert there.p10_usd <= there.p50_usd <= there.p90_usd
    worst, best = (1_000_000 * pick(a - b for a, b in pairs) for pick in (min, max))
    assert worst <= there.p10_usd
    assert there.p90_usd <= best
    assert saving_range(old, new, FLAT) == there


def test_gpus_that_go_are_added_and_those_that_come_taken_off() -> None:
    per_call, gpus = [Decimal("0.001")] * 40, Decimal("16029.08") - Decimal("734.38")
    assert saving_range(per_call, per_call, FLAT, fixed_usd=gpus) == (Decimal("15294.70"),) * 3
    assert saving_range(per_call, per_call, FLAT, fixed_usd=-gpus) == (Decimal("-15294.70"),) * 3


def test_too_few_pairs_say_nothing_and_nonsense_is_refused() -> None:
    assert saving_range([Decimal(1)] * 29, [Decimal(0)] * 29, FLAT) is None
    with pytest.raises(SizewiseError, match="1 costs of one model and 0"):
        saving_range([Decimal(1)], [], FLAT)
    with pytest.raises(SizewiseError, match="in no order"):
        saving_range([Decimal(1)] * 30, [Decimal(0)] * 30, Volume(3, 2, 1))
