from decimal import Decimal
from typing import Any

import pytest

from collector.sizing.decide import Case, SavingRange, State, Tuning, decide
from collector.sizing.pairs import PairReading

OPEN = PairReading(200, -0.01, -0.05, 0.03, False, False, False, "a", -0.02, (), 450)
FINE = PairReading(412, -0.004, -0.016, 0.009, True, False, False, "a", -0.02, (), 0)
WORSE = PairReading(412, -0.07, -0.09, -0.05, False, True, True, "a", -0.1, (), None)
SAVING = SavingRange(Decimal(9800), Decimal(10500), Decimal(11200))


def case(pairs: PairReading = FINE, **changes: Any) -> Case:
    known: dict[str, Any] = {
        "saving": SAVING, "migration_usd": Decimal(3100), "latency_fine": True, "pairs_a_day": 50.0
    }  # fmt: skip
    return Case("classify", "Llama 70B", "8B INT4", pairs, **(known | changes))


def test_the_sentence_that_users_pay_for() -> None:
    decision = decide(case())
    assert decision.state == State.DOWNSIZE
    assert decision.sentence == (
        "route `classify` can move from Llama 70B to 8B INT4: quality within 3 points (difference -0.4, "
        "interval -1.6 to +0.9, 412 pairs), saves $9,800 to $11,200 a month, pays back in 9 days."
    )
    assert decision.payback_days == 9


@pytest.mark.parametrize(
    ("changes", "state", "said"),
    [
        ({"drop_confirmed": True}, State.UPSIZE, "confirmed drop"),
        ({"late_days": 3}, State.UPSIZE, "3 of the last 5"),
        ({"late_days": 2}, State.DOWNSIZE, "can move"),
        ({"days_since_move": 27}, State.HOLD, "rests 28 days"),
        ({"days_since_move": 28}, State.DOWNSIZE, "can move"),
        ({"days_since_move": 3, "drop_confirmed": True}, State.UPSIZE, "confirmed drop"),
        ({"days_since_rejection": 90}, State.HOLD, "lock left: 1"),
        ({"days_since_rejection": 91}, State.DOWNSIZE, "can move"),
        ({"pairs": WORSE}, State.HOLD, "worse by 3 points"),
        ({"pairs": FINE._replace(failed_strata=("german",))}, State.HOLD, "6 points on `german`"),
        ({"latency_fine": False}, State.HOLD, "too slow"),
        ({"saving": SavingRange(Decimal(0), Decimal(50), Decimal(90))}, State.HOLD, "may save nothing"),
        ({"saving": SavingRange(Decimal(-40), Decimal(50), Decimal(90))}, State.HOLD, "-$40 to $90"),
        ({"migration_usd": Decimal(31501)}, State.HOLD, "pays back in 3.0 months"),
        ({"migration_usd": Decimal(31500)}, State.DOWNSIZE, "pays back in 90 days"),
        ({"migration_usd": Decimal(0)}, State.DOWNSIZE, "pays back at once"),
        ({"judge_validated": False}, State.DOWNSIZE, "by an unvalidated judge"),
        (
            {"judge_validated": False, "unvalidated_may_decide": False},
            State.INSUFFICIENT_EVIDENCE,
            "fewer than 50 labels",
        ),
        (
            {"judge_validated": False, "unvalidated_may_decide": False, "pairs": WORSE},
            State.INSUFFICIENT_EVIDENCE,
            "fewer than 50 labels",
        ),
        ({"saving": None}, State.INSUFFICIENT_EVIDENCE, "save is not known"),
        ({"migration_usd": None}, State.INSUFFICIENT_EVIDENCE, "was not entered"),
        ({"latency_fine": None}, State.INSUFFICIENT_EVIDENCE, "latency at the forecast peak"),
        ({"pairs": OPEN}, State.INSUFFICIENT_EVIDENCE, "about 450 more pairs are needed, 9 days"),
        ({"pairs": OPEN, "pairs_a_day": None}, State.INSUFFICIENT_EVIDENCE, "450 more pairs"),
        ({"pairs": OPEN._replace(missing_pairs=None)}, State.INSUFFICIENT_EVIDENCE, "can't be foreseen"),
    ],
)  # fmt: skip
def test_each_rule(changes: dict[str, Any], state: State, said: str) -> None:
    decision = decide(case(**changes))
    assert decision.state == state
    assert said in decision.sentence


@pytest.mark.parametrize(
    ("changes", "state", "said"),
    [
        ({"pairs": WORSE}, State.UPSIZE, "move up to Llama 70B: 8B INT4 is shown worse"),
        ({"pairs": WORSE, "days_since_move": 7}, State.HOLD, "stays with 8B INT4"),
        ({"pairs": WORSE._replace(much_worse=False)}, State.INSUFFICIENT_EVIDENCE, "can't be foreseen"),
        ({"pairs": FINE}, State.HOLD, "nothing speaks against it"),
        ({"pairs": OPEN}, State.INSUFFICIENT_EVIDENCE, "450 more pairs"),
        ({"tuning": Tuning("de", True, False)}, State.RETRAIN, "tune it anew"),
        ({"tuning": Tuning("de", True, False), "drop_confirmed": True}, State.RETRAIN, "fell on `de`"),
        ({"tuning": Tuning("de", True, None), "drop_confirmed": True}, State.UPSIZE, "confirmed drop"),
        ({"tuning": Tuning("de", None, False)}, State.HOLD, "nothing speaks against it"),
        ({"pairs": WORSE, "judge_validated": False, "unvalidated_may_decide": False},
         State.INSUFFICIENT_EVIDENCE, "fewer than 50 labels"),
    ],
)  # fmt: skip
def test_when_the_small_one_serves(changes: dict[str, Any], state: State, said: str) -> None:
    decision = decide(case(candidate_serves=True, **changes))
    assert decision.state == state
    assert said in decision.sentence


def test_the_same_case_gives_the_same_decision() -> None:
    assert decide(case()) == decide(case())
