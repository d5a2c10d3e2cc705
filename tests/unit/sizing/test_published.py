from decimal import Decimal

from collector.sizing.published import Published, compare_published

LARGE = [
    Published("70B", Decimal("0.84"), "automated", "a report"),
    Published("70B", Decimal("0.92"), "manual", "a report"),
]
TUNED = [Published("tuned 8B", Decimal("0.82"), "manual", "a report")]


def test_manual_is_held_against_manual_though_automated_looks_closer() -> None:
    found = compare_published(LARGE, TUNED)
    assert found.difference == Decimal("-0.10")
    assert found.evaluator == "manual"
    assert found.sentence.startswith("-10.0 points by manual")


def test_without_a_common_evaluator_nothing_is_compared() -> None:
    found = compare_published(LARGE[:1], TUNED)
    assert found.difference is None
    assert "not comparable" in found.sentence
    assert compare_published([], TUNED).difference is None


def test_of_several_the_worst_counts() -> None:
    better = Published("tuned 8B", Decimal("0.90"), "automated", "a report")
    assert compare_published(LARGE, [*TUNED, better]).difference == Decimal("-0.10")
