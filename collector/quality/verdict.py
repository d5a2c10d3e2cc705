"""What an alarm means: is it the model, the judge, or only a suspicion?

Enters: whether the detector raises an alarm, and what the independent witnesses say (None: they were not
asked). Leaves: a verdict and the sentence for it. Pure.

The detector sees that scores fell, not why. A canary set and a replay don't depend on the traffic, so one of
them must agree before a drop is CONFIRMED; a judge whose frozen anchors moved explains the alarm away.
"""

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    NONE = "none"
    SUSPECT = "suspect"
    CONFIRMED = "confirmed"
    JUDGE = "judge"  # the judge moved: a new baseline, no alarm about the model


class Witnesses(NamedTuple):
    """None: not asked, or no answer yet. Absent is not a no."""

    canary_fell: bool | None = None
    replay_worse: bool | None = None
    anchors_moved: bool | None = None  # the judge scores its frozen answers otherwise than before
    fingerprint_changed: bool | None = None


class Finding(NamedTuple):
    verdict: Verdict
    sentence: str


def judge_alarm(alarm: bool, witnesses: Witnesses) -> Finding:
    if witnesses.anchors_moved:
        return Finding(
            Verdict.JUDGE,
            "The judge scores its own frozen answers otherwise than before: the judge has drifted, "
            "and nothing is said about the model. A new baseline begins.",
        )
    if not alarm:
        return Finding(Verdict.NONE, "No drop beyond what chance does.")
    answers = {"the canary set": witnesses.canary_fell, "the replay": witnesses.replay_worse}
    agree = [name for name, answer in answers.items() if answer]
    differ = [name for name, answer in answers.items() if answer is False]
    changed = " The model's fingerprint has changed too." if witnesses.fingerprint_changed else ""
    if agree:
        return Finding(Verdict.CONFIRMED, f"Scores fell; so say also {' and '.join(agree)}.{changed}")
    why = f"without support from {' and '.join(differ)}" if differ else "no canary set or replay was asked"
    return Finding(Verdict.SUSPECT, f"Scores fell; it is a suspicion, {why}.{changed}")
