import os
from pathlib import Path

from collector.config import make_plan
from collector.config.load import load_config
from collector.doctor.processes import RunFact, gather, judge
from collector.plan import write_plan
from collector.supervise.lock import Locks
from collector.supervise.status import ProcessStatus, ReloadStatus, Status, run_folder, write_status
from collector.supervise.supervisor import KINDS

NOW_S = 1_800_000_000.0


def process(kind: str = "relay", **fields: object) -> ProcessStatus:
    plain: dict[str, object] = {"index": 0, "pid": 7, "state": "running", "since": NOW_S - 60, "restarts": 0}
    return ProcessStatus(kind=kind, **(plain | fields))  # type: ignore[arg-type]


def status(*processes: ProcessStatus, **fields: object) -> Status:
    plain: dict[str, object] = {
        "version": "1",
        "pid": os.getpid(),
        "kinds": sorted(KINDS),
        "state": "running",
        "since": NOW_S - 100,
        "addresses": {"relay": "127.0.0.1:4000"},
    }
    return Status(processes=list(processes), **(plain | fields))  # type: ignore[arg-type]


def codes(fact: RunFact, config_changed_s: float | None = None) -> dict[str, str]:
    found = judge(fact, version="1", now_s=NOW_S, config_changed_s=config_changed_s)
    return {f"{one.code} {one.about}".strip(): one.severity for one in found}


def run(*statuses: Status, **fields: object) -> RunFact:
    return RunFact(running=set(KINDS), statuses=list(statuses), **fields)  # type: ignore[arg-type]


def test_all_is_well() -> None:
    assert codes(run(status(process(), process("web")))) == {
        "processes.running relay worker 0": "ok",
        "processes.running web": "ok",
    }
    assert codes(RunFact()) == {"processes.none": "ok"}


def test_one_that_ends_again_and_again() -> None:
    down = process("record", state="waiting", pid=None, restarts=9, last_exit="exit 1")
    often = process(restarts=3, last_exit="killed by SIGKILL")
    found = judge(run(status(down, often)), version="1", now_s=NOW_S, config_changed_s=None)
    assert [(one.code, one.severity) for one in found] == [
        ("processes.not_running", "problem"),
        ("processes.restarts", "warning"),
    ]
    assert found[0].found == "it is waiting, not running (last end: exit 1)"
    assert "Calls wait in the journal." in found[0].why
    assert "killed by SIGKILL" in found[1].found
    calmed = process(restarts=3, since=NOW_S - 7200)
    assert codes(run(status(calmed))) == {"processes.running relay worker 0": "ok"}


def test_a_configuration_that_is_not_in_force() -> None:
    assert codes(run(status()), NOW_S - 200) == {}
    assert codes(run(status()), NOW_S - 50) == {"processes.config_changed": "warning"}
    reloaded = status(reload=ReloadStatus(count=1, ok=True, at=NOW_S - 10))
    assert codes(run(reloaded), NOW_S - 50) == {}
    refused = status(reload=ReloadStatus(count=1, ok=False, text="web.lissen: no such key", at=NOW_S - 10))
    assert codes(run(refused), NOW_S - 50) == {"processes.reload_refused": "problem"}


def test_another_version_runs() -> None:
    assert codes(run(status(version="0.9"))) == {"processes.version": "warning"}


def test_calls_that_were_lost_or_not_tracked() -> None:
    assert codes(run(lost={"w0": 3, "w1": 0}, untracked={"w0": 2})) == {
        "processes.lost w0": "problem",
        "processes.untracked w0": "warning",
    }


def test_only_what_runs_is_believed(tmp_path: Path) -> None:
    config = load_config(None, {"SIZEWISE_STATE_DIR": str(tmp_path)}).config
    folder = run_folder(tmp_path, KINDS, KINDS)
    folder.mkdir()
    write_status(status(process()), folder / "status.json")
    write_plan(make_plan(config), folder / "plan.json")
    assert gather(tmp_path) == RunFact()
    locks = Locks(tmp_path)
    for kind in KINDS:
        locks.take(kind, "up")
    try:
        fact = gather(tmp_path)
        assert fact.running == KINDS
        assert fact.addresses == {"relay": "127.0.0.1:4000"}
        assert fact.relay_pids == {7}
        assert fact.plan == make_plan(config)
        (folder / "status.json").write_text("{}")
        assert gather(tmp_path).failures != []
        assert "processes.unreadable" in codes(gather(tmp_path))
    finally:
        locks.release()


def test_a_kind_that_runs_alone(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, frozenset({"record"}), KINDS)
    folder.mkdir(parents=True)
    write_status(status(process("record"), kinds=["record"], addresses={}), folder / "status.json")
    locks = Locks(tmp_path)
    locks.take("record", "record")
    try:
        fact = gather(tmp_path)
        assert (fact.running, len(fact.statuses), fact.plan) == ({"record"}, 1, None)
    finally:
        locks.release()
