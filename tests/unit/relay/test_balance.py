"""Loads side by side: who is asked to take a connection, and who isn't any more."""

from pathlib import Path

import pytest

from collector.relay.balance import HALF_LIFE_S, STALE_S, Balance

NOW = 1000.0
NOBODY = (float("inf"), 0.0)


@pytest.fixture
def crew(tmp_path: Path) -> list[Balance]:
    crew = [Balance(tmp_path / "balance", number) for number in range(3)]
    for _ in range(2):  # all show life, then all see it
        for balance in crew:
            balance.beat(NOW, 0)
    return crew


def test_one_alone_waits_for_nobody(tmp_path: Path) -> None:
    balance = Balance(tmp_path / "balance", 0)
    balance.beat(NOW, 0)
    assert balance.alone
    assert balance.least_other(NOW) == NOBODY


def test_the_least_of_the_others(crew: list[Balance]) -> None:
    crew[1].beat(NOW, 7)
    crew[2].beat(NOW, 5)
    assert not crew[0].alone
    assert crew[0].least_other(NOW) == (5.0, 0.0)
    crew[2].note_left(4)
    assert crew[0].least_other(NOW)[0] == 4.0


def test_what_was_taken_lately_counts_and_fades(crew: list[Balance]) -> None:
    crew[1].note_taken(NOW, 1)
    crew[1].note_taken(NOW, 2)
    crew[1].note_left(0)
    crew[2].beat(NOW, 50)
    assert crew[0].least_other(NOW) == (2.0, NOW)
    crew[1].beat(NOW + HALF_LIFE_S, 0)
    crew[2].beat(NOW + HALF_LIFE_S, 50)
    assert crew[0].least_other(NOW + HALF_LIFE_S) == (pytest.approx(1.0), NOW)
    assert crew[1].load(NOW + HALF_LIFE_S, 3) == pytest.approx(4.0)


def test_who_shows_no_life_is_not_waited_for(crew: list[Balance]) -> None:
    later = NOW + STALE_S + 0.1
    crew[2].beat(later, 9)
    assert crew[0].least_other(later) == (9.0, 0.0)
    crew[2].rest()  # it is full
    assert crew[0].least_other(later) == NOBODY
    crew[0].beat(later, 0)
    assert crew[0].alone


def test_who_let_one_wait_in_vain_is_passed_over_for_a_moment(crew: list[Balance]) -> None:
    crew[1].beat(NOW, 1)
    crew[2].beat(NOW, 3)
    crew[0].pass_over(NOW, 2.0, 0.1)
    assert crew[0].least_other(NOW + 0.05) == (3.0, 0.0)
    assert crew[0].least_other(NOW + 0.15) == (1.0, 0.0)


def test_a_successor_begins_anew(tmp_path: Path, crew: list[Balance]) -> None:
    crew[1].note_taken(NOW, 80)
    Balance(tmp_path / "balance", 1).beat(NOW, 0)
    assert crew[0].least_other(NOW)[0] == 0.0
    assert (tmp_path / "balance").stat().st_mode & 0o777 == 0o600
