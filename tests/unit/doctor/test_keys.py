from pathlib import Path

import pytest

from collector.doctor.finding import Finding
from collector.doctor.keys import gather, judge
from collector.plan import Plan
from collector.policy import KeyEntry, Policy, write_policy

NOW_S = 1_800_000_000.0


def plan(path: Path, *, demanded: bool = True) -> Plan:
    return Plan(journal_dir="", upstreams=[], routes=[], require_keys=demanded, policy_file=str(path))


def examine(path: Path, *, demanded: bool = True) -> Finding:
    fact = gather(plan(path, demanded=demanded))
    assert fact is not None
    (found,) = judge(fact, NOW_S)
    return found


@pytest.mark.parametrize(("demanded", "severity"), [(True, "problem"), (False, "warning")])
def test_nothing_is_published(tmp_path: Path, demanded: bool, severity: str) -> None:
    found = examine(tmp_path / "policy", demanded=demanded)
    assert (found.code, found.severity) == ("keys.not_published", severity)
    (tmp_path / "policy").write_text("half of a fi")
    assert examine(tmp_path / "policy", demanded=demanded).code == "keys.not_published"


def test_no_key_was_made_yet_and_then_one_is(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    write_policy(Policy(made_at_s=NOW_S - 2), path)
    found = examine(path)
    assert (found.code, found.severity) == ("keys.none", "problem")
    assert found.remedy == "`sizewise keys create --team NAME`"
    assert examine(path, demanded=False).severity == "ok"
    write_policy(
        Policy(made_at_s=NOW_S - 2, keys_in_use=True, keys=[KeyEntry(key_id="k", key_hash="h")]), path
    )
    assert examine(path).code == "keys.published"


def test_a_policy_that_grows_old(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    write_policy(
        Policy(made_at_s=NOW_S - 7200, keys_in_use=True, keys=[KeyEntry(key_id="k", key_hash="h")]), path
    )
    found = examine(path, demanded=False)
    assert (found.code, found.severity) == ("keys.stale", "warning")
    assert "is 2 h old" in found.found


def test_a_relay_without_a_policy() -> None:
    assert gather(Plan(journal_dir="", upstreams=[], routes=[])) is None
