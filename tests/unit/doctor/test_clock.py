import pytest

from collector.doctor import clock
from collector.doctor.clock import SkewFact, Stopwatch, judge


def test_agreement_within_the_doubt() -> None:
    found = judge([SkewFact("the database", 0.01, 0.001), SkewFact("openai", 2.4, 0.6)], 0.0)
    assert [one.code for one in found] == ["clock.right"]
    assert "the database, openai" in found[0].found


def test_skew_is_told_with_its_direction_and_size() -> None:
    behind, ahead = judge([SkewFact("the database", 30.0, 0.01), SkewFact("openai", -600.0, 0.6)], 0.0)
    assert (behind.severity, behind.found) == (
        "warning",
        "this machine's clock is 30 s behind that of the database",
    )
    assert (ahead.severity, ahead.code) == ("problem", "clock.skew")
    assert "10 min ahead of that of openai" in ahead.found
    assert "NTP" in ahead.remedy


def test_a_clock_that_is_set_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Stopwatch()
    assert abs(watch.step_s()) < 0.05
    real = clock.time.time
    monkeypatch.setattr(clock.time, "time", lambda: real() + 3)
    (found,) = judge([], watch.step_s())
    assert (found.code, found.severity) == ("clock.step", "warning")
    assert "+3.0" in found.found
