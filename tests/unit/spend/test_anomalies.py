"""Spend out of the ordinary: found within the hour when it is large, and never in an ordinary week."""

import random
from decimal import Decimal

from collector.spend.anomalies import find_anomaly, usual_hours
from collector.spend.windows import is_sparse, most_before

MONTH_USD = Decimal(7200)
EVEN = [Decimal(10)] * 72


def after(last: list[int]) -> list[Decimal | None]:
    return [*[Decimal(10)] * (28 * 24), *map(Decimal, last)]


def test_one_hour_six_hours_and_a_day_each_have_their_bar() -> None:
    for last, window in (([10] * 23 + [85], 1), ([10] * 18 + [36] * 6, 6), ([20] * 24, 24)):
        found = find_anomaly(after(last), EVEN, MONTH_USD)
        assert found
        assert found.window_h == window
        assert found.excess_usd == found.spent_usd - 10 * window
    for last in ([10] * 23 + [80], [10] * 18 + [33] * 6, [15] * 24):
        assert find_anomaly(after(last), EVEN, MONTH_USD) is None


def test_a_multiple_of_next_to_nothing_is_none() -> None:
    assert find_anomaly(after([10] * 23 + [85]), EVEN, 100 * MONTH_USD) is None


def test_what_happened_before_is_not_out_of_the_ordinary() -> None:
    hours = after([10] * 23 + [85])
    hours[100] = Decimal(70)
    assert find_anomaly(hours, EVEN, MONTH_USD) is None


def test_without_a_week_of_history_nothing_is_said() -> None:
    assert find_anomaly([Decimal(10)] * 100 + [Decimal(900)], EVEN, MONTH_USD) is None


def test_a_sparse_key_is_judged_by_the_day_and_a_higher_bar() -> None:
    past: list[Decimal | None] = [Decimal(40) if at % 4 == 0 else Decimal(0) for at in range(28 * 24)]
    assert is_sparse([*past, *[Decimal(10)] * 24])
    assert (
        find_anomaly([*past, *[Decimal(0)] * 23, Decimal(300)], EVEN, MONTH_USD) is None
    )  # 1.25 of the most
    found = find_anomaly([*past, *[Decimal(0)] * 22, Decimal(290), Decimal(200)], EVEN, MONTH_USD)
    assert found
    assert found.window_h == 24


def test_the_usual_is_the_same_hour_of_the_weeks_before() -> None:
    week = [Decimal(at) for at in range(168)]
    hours: list[Decimal | None] = [*week * 4, *[Decimal(5000)] * 24]
    assert usual_hours(hours, 24) == week[:24]
    hours[168] = None  # of three known and one unknown, the three count
    assert usual_hours(hours, 24)[0] == week[0]


def test_the_most_before_leaves_out_the_window_itself_and_older_than_28_days() -> None:
    hours: list[Decimal | None] = [Decimal(99), *[Decimal(1)] * (28 * 24), Decimal(50)]
    assert most_before(hours, 1) == 1
    assert most_before(hours[1:-1], 6) == 6
    assert most_before([Decimal(1)] * 100, 1) is None


def test_thirty_times_is_found_within_the_hour_and_ordinary_months_are_quiet() -> None:
    chance = random.Random(4)
    alarms = 0
    for _ in range(20):
        hours = [ordinary(chance, at) for at in range(58 * 24)]
        for end in range(28 * 24, 58 * 24, 6):
            alarms += find_anomaly(hours[:end], usual_hours(hours[:end], 24), MONTH_USD) is not None
        at_noon = 58 * 24 - 12
        raging = [*hours[: at_noon - 1], hours[at_noon - 1] * 30]
        assert find_anomaly(raging, usual_hours(raging, 24), MONTH_USD)
    assert alarms <= 2


def ordinary(chance: random.Random, at: int) -> Decimal:
    level = 16 if 8 <= at % 24 < 19 else 4
    return (level * Decimal(chance.lognormvariate(0, 0.35))).quantize(Decimal("0.0001"))
