"""Burn-rate pages and tickets: what they say of a budget on fire, and that they are quiet otherwise."""

import random
from decimal import Decimal

import pytest

from collector.spend.budgets import Burn, find_burn, forecast_over, spread_budget

BUDGET = Decimal(7200)  # ten dollars an hour, in a month of 30 days
PLAN = [Decimal(10)] * 72
MONTH = [Decimal(10)] * (28 * 24)


def burn_after(last: list[int], past: list[Decimal] = MONTH) -> Burn | None:
    return find_burn([*past, *map(Decimal, last)], PLAN, BUDGET)


def test_spend_to_plan_is_quiet() -> None:
    assert burn_after([10] * 72) is None


def test_an_hour_far_over_plan_is_a_page() -> None:
    burn = burn_after([10] * 71 + [155])  # 145 over: 2 % of the budget is 144
    assert burn == Burn("page", 1, Decimal(155), Decimal(10), BUDGET)
    assert burn.over_usd == 145
    assert burn_after([10] * 71 + [153]) is None


def test_six_hours_over_plan_are_a_page() -> None:
    burn = burn_after([10] * 66 + [71] * 6)  # 366 over: 5 % is 360
    assert burn
    assert (burn.severity, burn.window_h) == ("page", 6)


def test_a_fire_that_is_out_is_no_page() -> None:
    assert burn_after([10] * 60 + [75] * 6 + [10] * 6) is None


def test_what_the_month_has_seen_before_is_no_page() -> None:
    past = list(MONTH)
    past[300] = Decimal(150)
    assert burn_after([10] * 71 + [155], past) is None
    assert burn_after([10] * 71 + [196], past)


def test_a_day_over_plan_is_a_ticket() -> None:
    burn = burn_after([10] * 48 + [32] * 24)  # 528 over: 7 % is 504
    assert burn
    assert (burn.severity, burn.window_h) == ("ticket", 24)


def test_three_days_over_plan_are_a_ticket() -> None:
    burn = burn_after([21] * 72)  # 792 over: 10 % is 720; a day's 264 is less than 7 %
    assert burn
    assert (burn.severity, burn.window_h) == ("ticket", 72)


def test_a_ticket_needs_the_last_hours_to_go_on() -> None:
    assert burn_after([21] * 66 + [14] * 6) is None


def test_the_first_days_of_a_team_are_judged_by_the_budget_alone() -> None:
    burn = burn_after([10] * 71 + [155], past=[Decimal(10)] * 48)
    assert burn
    assert burn.severity == "page"


def test_a_sparse_key_is_judged_by_the_day() -> None:
    past = [Decimal(30) if at % 4 == 0 else Decimal(0) for at in range(28 * 24)]
    assert burn_after([10] * 71 + [160], past) is None
    burn = burn_after([10] * 48 + [10] * 12 + [60] * 12, past)
    assert burn
    assert (burn.severity, burn.window_h) == ("page", 24)


def test_no_budget_no_burn() -> None:
    assert find_burn([*MONTH, Decimal(9999)], PLAN, Decimal(0)) is None


def test_an_unknown_hour_adds_nothing() -> None:
    assert find_burn([*MONTH, *[None] * 72], PLAN, BUDGET) is None


def test_the_plan_falls_on_hours_as_spend_does() -> None:
    plan = spread_budget(BUDGET, [Decimal(1), Decimal(3), Decimal(0), Decimal(4)])
    assert plan == [900, 2700, 0, 3600]
    assert sum(spread_budget(Decimal("0.10"), [Decimal(0)] * 3)) == pytest.approx(Decimal("0.10"))


def test_a_forecast_over_budget_waits_for_a_second_day() -> None:
    over, under = Decimal(7300), Decimal(7100)
    assert forecast_over([under, over, over], BUDGET)
    assert not forecast_over([over, over, under], BUDGET)
    assert not forecast_over([under, over], BUDGET)
    assert not forecast_over([over], BUDGET)
    assert not forecast_over([None, over], BUDGET)


def test_ordinary_months_are_quiet_and_a_runaway_is_not() -> None:
    """Twenty key-months of busy days and quiet nights; one stuck loop at thirty times."""
    chance = random.Random(11)
    pages = tickets = 0
    for _ in range(20):
        hours = [ordinary(chance, at) for at in range(58 * 24)]
        plan = [plan_hour(at) for at in range(58 * 24)]
        budget = sum(plan[-30 * 24 :], Decimal(0))
        for end in range(28 * 24, 58 * 24, 6):
            burn = find_burn(hours[:end], plan[:end], budget)
            pages += burn is not None and burn.severity == "page"
            tickets += burn is not None and burn.severity == "ticket"
        noon = 58 * 24 - 12
        burn = find_burn([*hours[: noon - 1], hours[noon - 1] * 30], plan[:noon], budget)
        assert burn
        assert (burn.severity, burn.window_h) == ("page", 1)
    assert pages <= 1
    assert tickets <= 10


def plan_hour(at: int) -> Decimal:
    return Decimal(12) if 8 <= at % 24 < 19 else Decimal(3)


def ordinary(chance: random.Random, at: int) -> Decimal:
    return (plan_hour(at) * Decimal(chance.lognormvariate(0, 0.35))).quantize(Decimal("0.0001"))
