from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.store.partitions import partition_day, partition_name


@given(st.dates(date(1970, 1, 1), date(2999, 12, 31)))
def test_a_name_says_its_day_and_sorts_by_it(day):
    assert partition_day(partition_name(day)) == day
    assert partition_name(date(1970, 1, 1)) <= partition_name(day)


def test_the_name():
    assert partition_name(date(2026, 2, 3)) == "calls_20260203"


@pytest.mark.parametrize(
    "name", ["calls_default", "calls_20261301", "calls_2026", "calls_20260203_old", "calls"]
)
def test_other_partitions_are_not_ours(name):
    assert partition_day(name) is None
