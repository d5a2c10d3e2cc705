"""Projections of series whose end is known, and what must hold for any series."""

import math
import random
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.spend.forecast import Change, Month, project, replay
from collector.spend.forecast.plans import days_between

MARCH = date(2026, 3, 1)


def weeks(
    first: date, last: date, *, weekend: float = 0.5, noise: float = 0.0, level: float = 100
) -> dict[date, float | None]:
    chance = random.Random(5)
    return {
        day: level * (weekend if day.weekday() >= 5 else 1) * math.exp(chance.gauss(0, noise))
        for day in days_between(first, last)
    }


def spent_of(days: dict[date, float | None], month: date = MARCH) -> float:
    return sum(value or 0 for day, value in days.items() if day >= month)


def at(days: dict[date, float | None], today: date, **more: object) -> Month:
    return Month(today, spent_of(days, today.replace(day=1)), **more)  # type: ignore[arg-type]


def before(days: dict[date, float | None], today: date) -> dict[date, float | None]:
    return {day: value for day, value in days.items() if day < today}


@pytest.mark.parametrize("day", [2, 4, 8, 15, 31])
def test_a_steady_week_is_foreseen_from_any_day(day: int) -> None:
    whole = weeks(date(2025, 12, 1), date(2026, 3, 31))
    seen = before(whole, MARCH.replace(day=day))
    made = project(seen, at(seen, MARCH.replace(day=day)))
    assert made
    assert made.expected_usd == pytest.approx(spent_of(whole), rel=0.02)


def test_what_was_spent_is_not_in_doubt_and_the_bands_lie_in_each_other() -> None:
    seen = weeks(date(2025, 12, 1), date(2026, 3, 20), noise=0.2)
    made = project(seen, at(seen, date(2026, 3, 21)))
    assert made
    edges = [made.spent_usd, made.bands[95][0], made.bands[80][0], made.bands[50][0], made.expected_usd]
    edges += [made.bands[50][1], made.bands[80][1], made.bands[95][1]]
    assert edges == sorted(edges)
    assert len(set(edges)) == len(edges)


def test_the_doubt_shrinks_as_the_month_goes_by() -> None:
    whole = weeks(date(2025, 12, 1), date(2026, 3, 31), noise=0.2)
    sizes = []
    for day in (3, 12, 21, 30):
        seen = before(whole, MARCH.replace(day=day))
        made = project(seen, at(seen, MARCH.replace(day=day)))
        assert made
        sizes.append(made.bands[80][1] - made.bands[80][0])
    assert sizes == sorted(sizes, reverse=True)


def test_a_known_price_counts_from_its_day() -> None:
    seen = weeks(date(2025, 12, 1), date(2026, 3, 10))
    plain = project(seen, at(seen, date(2026, 3, 11)))
    dearer = project(seen, at(seen, date(2026, 3, 11), changes=[Change(date(2026, 3, 22), factor=1.5)]))
    assert plain
    assert dearer
    # 22 to 31 March: ten days, three of them Saturdays or Sundays at half the spend
    assert dearer.expected_usd - plain.expected_usd == pytest.approx(0.5 * 850, rel=0.03)


def test_a_price_that_has_changed_already_does_not_bend_the_level() -> None:
    change = Change(date(2026, 3, 3), factor=2)
    whole = weeks(date(2025, 12, 1), date(2026, 3, 31))
    whole = {day: (value or 0) * (2 if change.covers(day) else 1) for day, value in whole.items()}
    seen = before(whole, date(2026, 3, 7))
    made = project(seen, at(seen, date(2026, 3, 7), changes=[change]))
    assert made
    assert made.expected_usd == pytest.approx(spent_of(whole), rel=0.02)


def test_a_launch_adds_what_is_planned_and_its_doubt() -> None:
    seen = weeks(date(2025, 12, 1), date(2026, 3, 10))
    month = at(seen, date(2026, 3, 11))
    launch = Change(date(2026, 3, 20), date(2026, 3, 23), extra_usd_a_day=500, doubt=0.3)
    plain, planned = project(seen, month), project(seen, at(seen, date(2026, 3, 11), changes=[launch]))
    assert plain
    assert planned
    assert planned.expected_usd - plain.expected_usd == pytest.approx(2000)
    assert planned.spread > plain.spread


def test_an_event_of_the_past_does_not_raise_the_future() -> None:
    whole = weeks(date(2025, 12, 1), date(2026, 3, 31))
    event = Change(date(2026, 3, 4), date(2026, 3, 6), extra_usd_a_day=900)
    raised = {day: (value or 0) + (900 if event.covers(day) else 0) for day, value in whole.items()}
    seen = before(raised, date(2026, 3, 9))
    made = project(seen, at(seen, date(2026, 3, 9), changes=[event]))
    assert made
    assert made.expected_usd == pytest.approx(spent_of(raised), rel=0.02)


def test_a_holiday_is_a_sunday_until_the_past_says_what_it_is() -> None:
    seen = weeks(date(2026, 1, 1), date(2026, 3, 10))
    today, off = date(2026, 3, 11), {date(2026, 3, 25)}
    plain, rested = project(seen, at(seen, today)), project(seen, at(seen, today, holidays=off))
    assert plain
    assert rested
    assert plain.expected_usd - rested.expected_usd == pytest.approx(50, rel=0.05)


def test_holidays_of_the_past_teach_what_one_costs() -> None:
    off = {date(2026, 1, 6), date(2026, 1, 20), date(2026, 2, 3), date(2026, 2, 17), date(2026, 3, 25)}
    whole = weeks(date(2025, 10, 1), date(2026, 3, 31))
    whole = {day: 5.0 if day in off else value for day, value in whole.items()}
    seen = before(whole, date(2026, 3, 11))
    made = project(seen, at(seen, date(2026, 3, 11), holidays=off))
    sunday = project(before(whole, date(2026, 3, 11)), at(seen, date(2026, 3, 11)))
    assert made
    assert sunday
    assert abs(made.expected_usd - spent_of(whole)) < 25 < abs(sunday.expected_usd - spent_of(whole))


def test_days_that_nothing_is_known_of_are_not_days_of_nothing() -> None:
    whole = weeks(date(2025, 12, 1), date(2026, 3, 10))
    holes = {day: None if day.day in (4, 5, 6) else value for day, value in whole.items()}
    zeros = {day: 0.0 if day.day in (4, 5, 6) else value for day, value in whole.items()}
    month = at(whole, date(2026, 3, 11))
    right, filled, wrong = (project(one, month) for one in (whole, holes, zeros))
    assert right
    assert filled
    assert wrong
    assert filled.expected_usd == pytest.approx(right.expected_usd, rel=0.02)
    assert wrong.expected_usd < 0.95 * right.expected_usd


def test_a_team_with_days_of_history_gets_an_answer_with_more_doubt() -> None:
    whole = weeks(date(2026, 3, 2), date(2026, 3, 31), noise=0.1)
    seen = before(whole, date(2026, 3, 7))
    young = project(seen, at(seen, date(2026, 3, 7)))
    old = project(weeks(date(2025, 10, 1), date(2026, 3, 6), noise=0.1), at(seen, date(2026, 3, 7)))
    assert young
    assert old
    assert young.expected_usd == pytest.approx(spent_of(whole), rel=0.15)
    assert young.spread > old.spread


def test_one_day_is_not_enough_to_say_anything() -> None:
    assert project({MARCH: 100.0}, Month(date(2026, 3, 2), 100)) is None
    assert project({}, Month(MARCH, 0)) is None
    assert project({MARCH: None, date(2026, 3, 2): None}, Month(date(2026, 3, 3), 0)) is None


def test_a_team_that_spends_nothing_is_expected_to_spend_nothing() -> None:
    seen = dict.fromkeys(days_between(date(2026, 1, 1), date(2026, 3, 9)), 0.0)
    made = project(seen, Month(date(2026, 3, 10), 0))
    assert made
    assert made.expected_usd == 0
    assert made.bands[95] == (0, 0)


def test_today_counts_by_what_of_it_is_left() -> None:
    seen = weeks(date(2025, 12, 1), date(2026, 3, 30))
    spent = spent_of(seen)
    assert [
        round(made.rest_usd)
        for left in (1.0, 0.25, 0.0)
        if (made := project(seen, Month(date(2026, 3, 31), spent, today_left=left)))
    ] == [100, 25, 0]


def test_the_record_holds_what_was_known_then_against_what_came() -> None:
    whole = weeks(date(2025, 11, 1), date(2026, 3, 9), noise=0.1)
    month = at(whole, date(2026, 3, 10))
    record = replay(whole, month)
    assert [past.day for past in record] == [
        date(2026, number, day) for number in (2, 1) for day in (4, 8, 15, 22)
    ]
    february = spent_of(before(whole, MARCH), date(2026, 2, 1))
    assert record[0].actual_usd == pytest.approx(february)
    # Only days before it were read: another end of the month changes what came, not what was said.
    other = {
        day: (value or 0) * (3 if date(2026, 2, 4) <= day < MARCH else 1) for day, value in whole.items()
    }
    assert replay(other, month)[0].expected_usd == pytest.approx(record[0].expected_usd)


def test_a_record_of_misses_widens_the_band_and_one_of_hits_narrows_it() -> None:
    seen = weeks(date(2025, 12, 1), date(2026, 3, 10), noise=0.1)
    sizes = []
    for record in ([0.05, -0.1] * 6, [], [2.5, -3.0] * 6):
        made = project(seen, at(seen, date(2026, 3, 11), record=record))
        assert made
        sizes.append(made.bands[80][1] - made.bands[80][0])
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.6 * sizes[1] < sizes[2]


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=60),
    left=st.floats(0, 1),
    first=st.dates(date(2025, 1, 1), date(2026, 12, 31)),
)
def test_any_series_gives_bands_in_order_or_nothing(
    values: list[float | None], left: float, first: date
) -> None:
    days = {first + timedelta(days=at): value for at, value in enumerate(values)}
    made = project(days, Month(first + timedelta(days=len(values)), 10, today_left=left))
    if made is None:
        assert sum(value is not None for value in values) < 2
        return
    for low, high in made.bands.values():
        assert 10 <= low <= made.expected_usd <= high < math.inf
