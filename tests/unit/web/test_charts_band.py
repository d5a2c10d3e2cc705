"""The band's geometry: places in percent of the width, in order, whatever was spent."""

from decimal import Decimal

import pytest

from collector.web.charts import Band, band


def test_places_stand_in_proportion_with_a_margin() -> None:
    assert band(Decimal(52), Decimal(78), Decimal(91), Decimal(100)) == Band(50, 75, 87.5, 96.15)


@pytest.mark.parametrize("values", [(0, 0, 0, 0), (-5, 0, 1, 2), (100, 100, 100, 100)])
def test_nothing_spent_or_a_correction_breaks_nothing(values: tuple[int, ...]) -> None:
    found = band(*map(Decimal, values))
    assert 0 <= found.spent <= 100
    assert found.low <= found.expected <= found.high <= 100
