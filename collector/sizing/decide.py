"""The decision for one route and one candidate: values come in, a state and the sentence for it leave.

Pure: the same Case gives the same Decision, so that each one kept with its inputs can be recomputed.

In this order, the first that holds:
- RETRAIN: the tuned small model that serves fell on a stratum where it was good, the inputs moved, and it is
  known that no larger model is needed.
- UPSIZE: a CONFIRMED drop below the bar; or an SLO (p95 latency, queue) missed on 3 of 5 business days; or,
  after a rest, the serving small model is shown worse by the margin and two points more.
- HOLD: within the rest after a move or the lock of a rejected candidate; the candidate is inferior, or fails
  on a stratum, or is too slow at the forecast peak; or saving or payback don't suffice.
- DOWNSIZE: the pairs accept the candidate, and everything else is known and fine.
- INSUFFICIENT_EVIDENCE otherwise, with what is missing. What is not known is never taken for fine.
"""

import math
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from collector.sizing.pairs import PairReading

REST_DAYS = 4 * 7  # after a move
LOCK_DAYS = 13 * 7  # after a candidate was rejected
LATE_DAYS = 3  # of the last 5 business days
LONGEST_PAYBACK_MONTHS = 3
DAYS_A_MONTH = 30


class State(StrEnum):
    DOWNSIZE = "downsize"
    UPSIZE = "upsize"
    HOLD = "hold"
    RETRAIN = "retrain"
    INSUFFICIENT_EVIDENCE = "insufficient evidence"


class SavingRange(NamedTuple):
    """Dollars a month; negative where the candidate costs more."""

    p10_usd: Decimal
    p50_usd: Decimal
    p90_usd: Decimal


class Tuning(NamedTuple):
    """What is known of a small model that was tuned for this route. None: not known."""

    fell_on: str = ""  # a stratum where it was good once
    inputs_moved: bool | None = None
    larger_needed: bool | None = None


class Case(NamedTuple):
    route: str
    incumbent: str  # the larger one
    candidate: str  # the smaller one
    pairs: PairReading
    margin: float = 0.03
    candidate_serves: bool = False  # the smaller one is in use, and shadowed by the larger
    pairs_a_day: float | None = None
    judge_validated: bool = True
    unvalidated_may_decide: bool = True
    saving: SavingRange | None = None
    migration_usd: Decimal | None = None  # 0 where there is none; None where nobody said
    latency_fine: bool | None = None  # of the candidate, at the forecast peak
    drop_confirmed: bool = False
    late_days: int = 0  # business days of the last five on which an SLO was missed
    tuning: Tuning | None = None
    days_since_move: int | None = None
    days_since_rejection: int | None = None


class Decision(NamedTuple):
    state: State
    sentence: str
    missing_pairs: int | None = None
    missing_days: int | None = None
    payback_days: int | None = None


def decide(case: Case) -> Decision:
    return retrain(case) or upsize(case) or hold(case) or downsize(case) or wait(case)


def retrain(case: Case) -> Decision | None:
    tuning = case.tuning
    if not case.candidate_serves or not tuning or not tuning.fell_on:
        return None
    if not tuning.inputs_moved or tuning.larger_needed is not False:
        return None
    return Decision(
        State.RETRAIN,
        f"route `{case.route}`: {case.candidate} fell on `{tuning.fell_on}`, where it was good; "
        "its inputs have moved and no larger model is needed: tune it anew.",
    )


def upsize(case: Case) -> Decision | None:
    why = ""
    if case.drop_confirmed:
        why = "a confirmed drop in quality"
    elif case.late_days >= LATE_DAYS:
        why = f"its SLO was missed on {case.late_days} of the last 5 business days"
    elif case.candidate_serves and case.pairs.much_worse and judge_counts(case) and not resting(case):
        why = f"{case.candidate} is shown worse than {case.incumbent} ({quality(case)})"
    if not why:
        return None
    target = f" to {case.incumbent}" if case.candidate_serves else ": a larger model or more replicas"
    return Decision(State.UPSIZE, f"route `{case.route}` should move up{target}: {why}.")


def hold(case: Case) -> Decision | None:
    why = resting(case) or locked(case) or refused(case)
    stays = case.candidate if case.candidate_serves else case.incumbent
    return Decision(State.HOLD, f"route `{case.route}` stays with {stays}: {why}.") if why else None


def resting(case: Case) -> str:
    if case.days_since_move is None or case.days_since_move >= REST_DAYS:
        return ""
    return f"it was moved {case.days_since_move} days ago, and rests {REST_DAYS} days"


def locked(case: Case) -> str:
    if case.days_since_rejection is None or case.days_since_rejection >= LOCK_DAYS:
        return ""
    left = LOCK_DAYS - case.days_since_rejection
    return (
        f"{case.candidate} was rejected {case.days_since_rejection} days ago; days of its lock left: {left}"
    )


def refused(case: Case) -> str:
    """Why not, as far as it is shown: one reason suffices, so dollars may end it before quality is known."""
    if case.candidate_serves:
        fine = case.pairs.accepted and judge_counts(case)
        return f"nothing speaks against it ({quality(case)})" if fine else ""
    if case.pairs.inferior and judge_counts(case):
        return f"{case.candidate} is worse by {points(case.margin)} or more ({quality(case)})"
    if case.pairs.failed_strata and judge_counts(case):
        failed = ", ".join(f"`{name}`" for name in case.pairs.failed_strata)
        return f"{case.candidate} is worse by more than {points(2 * case.margin)} on {failed}"
    if case.latency_fine is False:
        return f"{case.candidate} would be too slow at the forecast peak"
    if case.saving and case.saving.p10_usd <= 0:
        return f"moving to {case.candidate} may save nothing ({dollars(case.saving)} a month)"
    months = payback_months(case)
    if months is not None and months > LONGEST_PAYBACK_MONTHS:
        most = f"and {LONGEST_PAYBACK_MONTHS} is the most"
        return f"moving to {case.candidate} pays back in {months:.1f} months, {most}"
    return ""


def downsize(case: Case) -> Decision | None:
    if case.candidate_serves or not case.pairs.accepted or missing_facts(case):
        return None
    assert case.saving
    months = payback_months(case)
    assert months is not None
    days = math.ceil(months * DAYS_A_MONTH)
    back = "pays back at once" if days == 0 else f"pays back in {days} {'day' if days == 1 else 'days'}"
    return Decision(
        State.DOWNSIZE,
        f"route `{case.route}` can move from {case.incumbent} to {case.candidate}: quality within "
        f"{points(case.margin)} ({quality(case)}), saves {dollars(case.saving)} a month, {back}.",
        payback_days=days,
    )


def wait(case: Case) -> Decision:
    more = None if case.pairs.accepted else case.pairs.missing_pairs
    days = math.ceil(more / case.pairs_a_day) if more is not None and case.pairs_a_day else None
    missing = [] if case.pairs.accepted else [missing_evidence(case, more, days)]
    facts = missing_facts(case)
    missing += facts if not case.candidate_serves else facts[:1] * (not judge_counts(case))
    return Decision(
        State.INSUFFICIENT_EVIDENCE,
        f"route `{case.route}`, {case.incumbent} or {case.candidate}: {'; '.join(missing)} "
        f"({quality(case)}).",
        missing_pairs=more,
        missing_days=days,
    )


def missing_evidence(case: Case, more: int | None, days: int | None) -> str:
    if more is None:
        return "more pairs are needed, and how many can't be foreseen yet"
    return f"about {more:,} more pairs are needed" + (f", {days:,} days at this rate" if days else "")


def judge_counts(case: Case) -> bool:
    return case.judge_validated or case.unvalidated_may_decide


def missing_facts(case: Case) -> list[str]:
    facts = {
        "the judge has fewer than 50 labels and may not decide": judge_counts(case),
        "what it would save is not known": case.saving is not None,
        "what the move costs was not entered (0 if nothing)": case.migration_usd is not None,
        "its latency at the forecast peak is not known": case.latency_fine is not None,
    }
    return [text for text, known in facts.items() if not known]


def payback_months(case: Case) -> Decimal | None:
    if case.saving is None or case.migration_usd is None:
        return None
    if case.migration_usd == 0:
        return Decimal(0)
    return case.migration_usd / case.saving.p50_usd if case.saving.p50_usd > 0 else Decimal("Infinity")


def quality(case: Case) -> str:
    """ "difference -0.4, interval -1.6 to +0.9, 412 pairs", in points."""
    found = case.pairs
    judge = "" if case.judge_validated else ", by an unvalidated judge"
    if found.difference is None or found.low is None or found.high is None:
        return f"{found.pairs:,} pairs{judge}"
    difference, low, high = (f"{100 * one:+.1f}" for one in (found.difference, found.low, found.high))
    return f"difference {difference}, interval {low} to {high}, {found.pairs:,} pairs{judge}"


def points(share: float) -> str:
    return f"{100 * share:g} points"


def dollars(saving: SavingRange) -> str:
    ends = (saving.p10_usd, saving.p90_usd)
    low, high = (f"-${-one:,.0f}" if one < 0 else f"${one:,.0f}" for one in ends)
    return low if low == high else f"{low} to {high}"
