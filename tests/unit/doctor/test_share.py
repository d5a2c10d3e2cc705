import random

import pytest

from collector.config import Upstream
from collector.config.effective import plan_upstream
from collector.doctor.finding import Finding
from collector.doctor.probe import Answer
from collector.doctor.proof import LedgerShare, judge, verdict
from collector.doctor.share import SIDES, RelaySide, Sample, check, keep, measure, summarise, turn
from collector.errors import SizewiseError


def answer(ms: float, *, status: int = 200, connected: bool = False) -> Answer:
    return Answer(status, {}, b"", ms / 2, ms * 0.9, ms, connected)


def sample(
    added_ms: float, *, upstream_ms: float = 412.0, noise_ms: float = 0.05, rounds: int = 200
) -> Sample:
    chance, made = random.Random(4), Sample("models", "openai")
    for _ in range(rounds):
        times = {side: upstream_ms + abs(chance.gauss(0, noise_ms)) for side in SIDES}
        times["through"] += added_ms
        keep(made, {side: answer(ms) for side, ms in times.items()})
    return made


def test_a_share_is_found_below_the_upstreams_own_time() -> None:
    share = summarise(sample(0.2))
    assert abs(share.added.value - 0.2) < 0.02
    assert share.added.low is not None
    assert share.added.high is not None
    assert share.added.low < 0.2 < share.added.high
    assert share.added_p99.high is None  # 200 pairs don't bound a 99th percentile
    found = verdict(share)
    assert found.severity == "ok"
    assert found.found.startswith("The sidecar adds 0.20 ms to a call (median of 200 pairs, 0.")
    assert found.found.endswith("the upstream takes 412 ms of the 412 ms.")


def test_unrest_is_not_taken_for_a_share() -> None:
    found = verdict(summarise(sample(0.0, noise_ms=30)))
    assert found.severity == "ok"
    assert found.found.startswith("No share of the sidecar can be told from the upstream's own unrest")


def test_a_share_that_is_felt_is_said() -> None:
    found = verdict(summarise(sample(50.0)))
    assert (found.code, found.severity) == ("prove.verdict", "warning")
    assert "`relay.workers`" in found.remedy


def test_rounds_with_a_new_connection_are_left_out() -> None:
    made = sample(0.2, rounds=10)
    keep(made, {"straight": answer(1), "through": answer(9, connected=True), "again": answer(1)})
    assert (made.rounds, made.left_out) == (10, 1)
    (shown, _, _) = judge([summarise(made)], None)
    assert "1 rounds left out" in shown.found


def test_each_side_stands_in_each_place() -> None:
    orders = [turn(number) for number in range(3)]
    assert all({order[place] for order in orders} == set(SIDES) for place in range(3))
    assert turn(-2) == turn(1)


def test_only_like_is_compared_with_like() -> None:
    same = {"straight": answer(1), "through": answer(1), "again": answer(1)}
    check(same, "openai")  # type: ignore[arg-type]
    with pytest.raises(SizewiseError, match="with status 200, through the relay with 401"):
        check(same | {"through": answer(1, status=401)}, "openai")  # type: ignore[arg-type]
    limited = {side: answer(1, status=429) for side in SIDES}
    with pytest.raises(SizewiseError, match="status 429: there is nothing"):
        check(limited, "openai")


def ledger_finding(ledger: LedgerShare | None) -> Finding:
    return judge([summarise(sample(0.2))], ledger)[1]


def test_the_ledgers_own_word() -> None:
    assert "worked 0.08 ms on a call" in ledger_finding(LedgerShare(1234, 0.08, 0.3, 412.0)).found
    assert "median of 1,234" in ledger_finding(LedgerShare(1234, 0.08, 0.3, 412.0)).found
    assert "no call of the last hour" in ledger_finding(LedgerShare(0)).found
    assert "can't be asked" in ledger_finding(None).found


def test_an_upstream_that_is_dead_can_not_be_measured() -> None:
    plan = plan_upstream("dead", Upstream(url="http://127.0.0.1:1"))
    with pytest.raises(SizewiseError, match="nothing listens there"):
        measure("models", plan, RelaySide("127.0.0.1:1"), 10, "", 5.0, lambda _: None)
