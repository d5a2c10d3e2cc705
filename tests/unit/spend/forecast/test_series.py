"""Hours that are missing are filled from the profile; what is zero stays zero."""

from datetime import UTC, date, datetime, timedelta

import pytest

from collector.spend.forecast.series import complete, day_profile, silent

OFFICE = [0.0] * 8 + [10.0] * 10 + [0.0] * 6
EVEN = [1.0] * 24
MONDAY = date(2026, 3, 2)
DAYS = {
    MONDAY + timedelta(days=at): (EVEN if (MONDAY + timedelta(days=at)).weekday() >= 5 else OFFICE)
    for at in range(14)
}


def test_the_profile_knows_workdays_from_weekends() -> None:
    profile = day_profile(DAYS)
    assert profile[False][8:18] == pytest.approx([0.1] * 10)
    assert profile[True] == pytest.approx([1 / 24] * 24)
    assert sum(profile[False]) == pytest.approx(1)


def test_without_weekends_workdays_speak_for_them_and_without_anything_all_hours_are_alike() -> None:
    workdays = {day: hours for day, hours in DAYS.items() if day.weekday() < 5}
    assert day_profile(workdays)[True] == day_profile(workdays)[False]
    assert day_profile({}) == {False: [1 / 24] * 24, True: [1 / 24] * 24}


def test_missing_hours_are_filled_and_the_filling_is_told() -> None:
    hours: list[float | None] = list(OFFICE)
    hours[10] = hours[11] = hours[12] = None
    whole = complete(hours, day_profile(DAYS)[False])
    assert whole.spend_usd == pytest.approx(100)
    assert whole.filled_usd == pytest.approx(30)


def test_hours_of_nothing_are_kept_as_nothing() -> None:
    hours = list(OFFICE)
    hours[10:13] = [0, 0, 0]
    whole = complete(hours, day_profile(DAYS)[False])
    assert (whole.spend_usd, whole.filled_usd) == (70, 0)


def test_a_day_of_which_too_little_is_known_stays_unknown() -> None:
    hours: list[float | None] = [None] * 15 + list(OFFICE[15:])
    assert complete(hours, day_profile(DAYS)[False]).spend_usd is None


@pytest.mark.parametrize("width", [23, 25])
def test_a_day_on_which_the_clock_changes_is_filled_too(width: int) -> None:
    hours: list[float | None] = [4.0] * width
    hours[5] = None
    whole = complete(hours, [1 / 24] * 24)
    assert whole.spend_usd == pytest.approx(4.0 * width)


NOON = datetime(2026, 3, 30, 12, tzinfo=UTC)


def weeks_of(calls: int, back: int) -> dict[datetime, int]:
    return {NOON - timedelta(weeks=at): calls for at in range(1, back + 1)}


def test_silence_where_there_always_were_calls_is_missing() -> None:
    assert silent(weeks_of(40, 4), [NOON]) == {NOON}
    assert silent(weeks_of(40, 2), [NOON]) == {NOON}


def test_silence_is_not_missing_where_it_is_usual_new_or_not_silent() -> None:
    assert silent(weeks_of(5, 4), [NOON]) == set()
    assert silent(weeks_of(40, 1), [NOON]) == set()
    assert silent({}, [NOON]) == set()
    assert silent(weeks_of(40, 4) | {NOON: 1}, [NOON]) == set()
    assert silent(weeks_of(40, 4) | {NOON - timedelta(weeks=3): 0}, [NOON]) == set()
