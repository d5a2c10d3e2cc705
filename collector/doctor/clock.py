"""The clock: held against the database's, the upstreams' and itself.

An HTTP date has whole seconds and is as old as the reply's way here: the doubt of each comparison is part of
its fact, and only what exceeds it is said.
"""

import time
from collections.abc import Sequence

import msgspec

from collector.doctor.finding import Finding, ok, problem, shown_seconds, warning

NOTABLE_S = 2.0
BAD_S = 60.0
STEP_S = 0.05


class SkewFact(msgspec.Struct, frozen=True):
    against: str
    skew_s: float  # theirs less ours
    doubt_s: float


class Stopwatch:
    """Both clocks over the same stretch: the wall clock must not be set meanwhile, nor the other go back."""

    def __init__(self) -> None:
        self._wall, self._steady = time.time(), time.monotonic()

    def step_s(self) -> float:
        return (time.time() - self._wall) - (time.monotonic() - self._steady)


def judge(skews: Sequence[SkewFact], step_s: float) -> list[Finding]:
    found = []
    why = "Calls are dated by this clock: they fall into the wrong hour and day. Certificates may fail."
    remedy = "set the clock by NTP (`timedatectl set-ntp true`, or chrony); in a container: on its host"
    for fact in skews:
        beyond = max(0.0, abs(fact.skew_s) - fact.doubt_s)
        way = "behind" if fact.skew_s > 0 else "ahead of"
        text = f"this machine's clock is {shown_seconds(abs(fact.skew_s))} {way} that of {fact.against}"
        values = {"skew_s": round(fact.skew_s, 3), "doubt_s": round(fact.doubt_s, 3)}
        if beyond > BAD_S:
            found.append(problem("clock.skew", text, why, remedy, fact.against, **values))
        elif beyond > NOTABLE_S:
            found.append(warning("clock.skew", text, why, remedy, fact.against, **values))
    if abs(step_s) > STEP_S:
        text = f"the clock was moved by {step_s:+.2f} s while the doctor looked"
        found.append(warning("clock.step", text, why, remedy, step_s=round(step_s, 3)))
    if not found:
        against = ", ".join(fact.against for fact in skews)
        text = f"the clock agrees with {against}" if skews else "nothing was there to compare the clock with"
        found.append(ok("clock.right", text))
    return found
