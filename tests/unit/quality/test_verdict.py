import pytest

from collector.quality.verdict import Verdict, Witnesses, judge_alarm


@pytest.mark.parametrize(
    ("alarm", "witnesses", "verdict"),
    [
        (False, Witnesses(), Verdict.NONE),
        (False, Witnesses(canary_fell=True), Verdict.NONE),
        (True, Witnesses(), Verdict.SUSPECT),
        (True, Witnesses(fingerprint_changed=True), Verdict.SUSPECT),
        (True, Witnesses(canary_fell=False, replay_worse=False), Verdict.SUSPECT),
        (True, Witnesses(canary_fell=True), Verdict.CONFIRMED),
        (True, Witnesses(canary_fell=False, replay_worse=True), Verdict.CONFIRMED),
        (True, Witnesses(canary_fell=True, anchors_moved=True), Verdict.JUDGE),
        (False, Witnesses(anchors_moved=True), Verdict.JUDGE),
    ],
)
def test_who_must_agree(alarm: bool, witnesses: Witnesses, verdict: Verdict) -> None:
    assert judge_alarm(alarm, witnesses).verdict == verdict


def test_not_asked_is_not_a_no() -> None:
    assert "was asked" in judge_alarm(True, Witnesses()).sentence
    assert "without support from the canary set" in judge_alarm(True, Witnesses(canary_fell=False)).sentence
    assert "fingerprint" in judge_alarm(True, Witnesses(fingerprint_changed=True)).sentence
