from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.web.charts import axis, day_chart
from collector.web.figures import clock, duration, long_time, money, percent, rate, short_count


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        ("1234.565", 2, "$1,234.56"),
        ("1234.575", 2, "$1,234.58"),
        ("0", 2, "$0.00"),
        ("0.001", 2, "< $0.01"),
        ("-3.5", 2, "−$3.50"),
        ("-0.0001", 2, "> −$0.01"),
        ("0.00001234", 6, "$0.000012"),
    ],
)
def test_money(value: str, places: int, text: str) -> None:
    assert money(Decimal(value), places) == text


def test_what_is_not_known_is_a_dash() -> None:
    assert [money(None), duration(None), percent(1, 0)] == ["–", "–", "–"]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0.21, "0.21 ms"),
        (9.04, "9.0 ms"),
        (842.4, "842 ms"),
        (1240, "1.24 s"),
        (61_000, "1 min 01 s"),
        (119_700, "2 min 00 s"),
    ],
)
def test_durations(ms: float, text: str) -> None:
    assert duration(ms) == text


def test_shares_never_round_to_all_or_nothing() -> None:
    assert percent(1, 100_000) == "< 0.1 %"
    assert percent(99_999, 100_000) == "> 99.9 %"
    assert percent(100, 100) == "100.0 %"
    assert percent(0, 100) == "0.0 %"


def test_rates_and_counts() -> None:
    assert [rate(Decimal(text)) for text in ("0.1", "3", "0.075", "1E+1")] == [
        "$0.10",
        "$3.00",
        "$0.075",
        "$10.00",
    ]
    assert [short_count(n) for n in (0, 999_999, 1_234_567, 48_200_000)] == [
        "0",
        "999,999",
        "1.23 million",
        "48.2 million",
    ]


def test_times_are_local() -> None:
    at = datetime(2026, 10, 31, 23, 30, 1, 5000, tzinfo=UTC)
    assert clock(at, "Asia/Kolkata") == "05:00:01"
    assert long_time(at, "Asia/Kolkata") == "1 November 2026, 05:00:01.005"


@given(st.decimals(Decimal("0.000001"), 10**7, places=6))
def test_an_axis_reaches_its_peak_in_few_even_steps(peak: Decimal) -> None:
    values = axis(peak)
    assert values[0] == 0
    assert values[-2] < peak <= values[-1]
    assert 2 <= len(values) <= 6
    assert len({after - before for before, after in pairwise(values)}) == 1


@given(st.lists(st.decimals(0, 10_000, places=4), min_size=1, max_size=31))
def test_bars_stay_in_the_plot_and_are_as_high_as_their_cost(costs: list[Decimal]) -> None:
    days = [date(2026, 10, 1) + timedelta(days=n) for n in range(len(costs))]
    chart = day_chart("wide", days, dict(zip(days, costs, strict=True)), days[-1], width=1040, height=220)
    for bar in chart.bars:
        assert chart.left <= bar.x
        assert bar.x + bar.width <= chart.width + 0.1
        assert (bar.height > 0) == (bar.cost_usd > 0)
        assert abs(bar.y + bar.height - chart.bottom) < 0.02
        assert bar.y >= chart.top - 0.01
    by_cost = sorted(chart.bars, key=lambda bar: bar.cost_usd)
    assert [bar.height for bar in by_cost] == sorted(bar.height for bar in by_cost)
