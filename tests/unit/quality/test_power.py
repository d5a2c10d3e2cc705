from decimal import Decimal

import pytest

from collector.quality.baseline import Baseline, Epoch, extend_baseline
from collector.quality.drift import Settings
from collector.quality.power import (
    describe_power,
    describe_wait,
    power_at,
    scores_to_alarm,
    smallest_drop,
)


def passing(count: int) -> Baseline:
    good = round(count * 0.9)
    return extend_baseline(Baseline(Epoch()), [1.0] * good + [0.0] * (count - good), ["a"] * count)


def test_the_wait_is_said_in_days() -> None:
    assert describe_wait(412, 1000, 100) == "412 of 1,000 scored, about 6 days"
    assert describe_wait(999, 1000, 100) == "999 of 1,000 scored, about 1 day"
    assert describe_wait(1000, 1000, 100) == "1,000 of 1,000 scored"
    assert "none comes" in describe_wait(5, 1000, 0)


def test_larger_drops_are_seen_sooner_and_tiny_ones_never() -> None:
    found = [scores_to_alarm(passing(4000), drop, Settings()) for drop in (0.05, 0.1, 0.25)]
    assert None not in found
    assert found == sorted(found, reverse=True)
    assert found[0] != found[2]
    assert scores_to_alarm(passing(4000), 0.005, Settings()) is None
    assert scores_to_alarm(Baseline(Epoch()), 0.2, Settings()) is None


def test_more_scores_show_smaller_drops() -> None:
    drops = [smallest_drop(passing(2000), scores, Settings()) for scores in (100, 700, 7000)]
    assert None not in drops
    assert drops == sorted(drops, reverse=True)
    assert drops[0] != drops[2]
    assert smallest_drop(passing(2000), 10, Settings()) is None


def test_a_higher_rate_and_what_it_costs() -> None:
    now = power_at(passing(2000), 100, Settings(), Decimal("0.002"))
    more = power_at(passing(2000), 500, Settings(), Decimal("0.002"))
    assert now.cost_usd_a_month == Decimal("6.00")
    assert now.days_for_5_points == pytest.approx(scores_to_alarm(passing(2000), 0.05, Settings()) / 100)  # type: ignore[operator]
    text = describe_power(now, more)
    assert "for $24.00 more a month" in text
    assert text.startswith("100 scores a day show a drop of ")
    assert "not known" in describe_power(now, power_at(passing(2000), 500, Settings()))
    assert "no drop" in describe_power(power_at(passing(2000), 1, Settings()))
