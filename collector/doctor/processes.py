"""What runs here: the supervisor's own account of it (status.json), held against what the system says."""

import os
from pathlib import Path
from typing import Any

import msgspec

from collector.doctor.finding import Finding, ok, problem, shown_seconds, warning
from collector.errors import SizewiseError
from collector.plan import Plan, read_plan
from collector.relay.counters import read_counters
from collector.supervise import KINDS, Status, read_status
from collector.supervise.lock import is_held
from collector.supervise.status import ProcessStatus, run_folder

MANY_RESTARTS = 3
CALM_S = 3600.0  # one that has lived so long has calmed down
CONSEQUENCES = {"relay": "Calls wait or are refused.", "record": "Calls wait in the journal."}


class RunFact(msgspec.Struct):
    """What runs for one state_dir; several supervisors, where each kind runs alone."""

    running: set[str] = msgspec.field(default_factory=set)  # kinds whose lock is held
    statuses: list[Status] = []
    plan: Plan | None = None  # what the relay goes by
    failures: list[str] = []  # what could not be read, and why
    lost: dict[str, int] = {}  # relay's journal -> calls that could not be written
    untracked: dict[str, int] = {}

    @property
    def addresses(self) -> dict[str, str]:
        return {kind: at for status in self.statuses for kind, at in status.addresses.items()}

    @property
    def pids(self) -> set[int]:
        return {status.pid for status in self.statuses} | {
            process.pid for status in self.statuses for process in status.processes if process.pid
        }

    @property
    def relay_pids(self) -> set[int]:
        return {p.pid for s in self.statuses for p in s.processes if p.kind == "relay" and p.pid}


def gather(state_dir: Path) -> RunFact:
    fact = RunFact(statuses=[], failures=[], lost={}, untracked={})
    for kind in sorted(KINDS):
        try:
            if is_held(state_dir, kind):
                fact.running.add(kind)
        except OSError as failure:
            fact.failures.append(f"{failure.filename}: {failure.strerror}")
    folders = {run_folder(state_dir, kinds, KINDS) for kinds in (KINDS, *map(_alone, sorted(fact.running)))}
    for folder in sorted(folders):
        _read_folder(folder, fact)
    for status in fact.statuses:
        for counters in sorted(Path(status.journal_dir).glob("*/counters") if status.journal_dir else ()):
            values = read_counters(counters)
            fact.lost[counters.parent.name] = values.get("journal_lost", 0)
            fact.untracked[counters.parent.name] = values.get("untracked", 0)
    return fact


def _alone(kind: str) -> frozenset[str]:
    return frozenset({kind})


def _read_folder(folder: Path, fact: RunFact) -> None:
    """A status that was left by a former run says nothing of now: its kinds must be running."""
    path = folder / "status.json"
    try:
        if not path.is_file():
            return
        status = read_status(path)
        if set(status.kinds) <= fact.running and is_alive(status.pid):
            fact.statuses.append(status)
            if "relay" in status.kinds:
                fact.plan = read_plan(folder / "plan.json")
    except (SizewiseError, OSError, msgspec.DecodeError, msgspec.ValidationError) as failure:
        fact.failures.append(str(failure))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def judge(fact: RunFact, *, version: str, now_s: float, config_changed_s: float | None) -> list[Finding]:
    """`config_changed_s`: when the configuration's file was last written."""
    why, remedy = "What runs can't be told from outside.", "run the doctor as the user that runs Sizewise"
    found = [warning("processes.unreadable", text, why, remedy) for text in fact.failures]
    for status in fact.statuses:
        found += [_judge_process(process, now_s) for process in status.processes]
        found += _judge_supervisor(status, version, config_changed_s)
    for name, count in fact.lost.items():
        if count:
            text = f"{count:,} calls could not be written since its worker started"
            why = "They passed unrecorded and are in no total: the journal's disk was full or refused writes."
            remedy = "see `disk` and `permissions` here"
            found.append(problem("processes.lost", text, why, remedy, name, lost=count))
    for name, count in fact.untracked.items():
        if count:
            text = f"{count:,} calls were under way without a slot in the table of open calls"
            why = "Had the worker been killed then, they would not be shown as interrupted."
            remedy = "raise `relay.workers`: each has a table of its own"
            found.append(warning("processes.untracked", text, why, remedy, name, untracked=count))
    if not fact.running and not fact.failures:
        found.append(ok("processes.none", "nothing runs here; `sizewise up` starts everything"))
    return found


def _judge_process(process: ProcessStatus, now_s: float) -> Finding:
    name = f"relay worker {process.index}" if process.kind == "relay" else process.kind
    values: dict[str, Any] = {"pid": process.pid, "restarts": process.restarts, "state": process.state}
    ended = f" (last end: {process.last_exit})" if process.last_exit else ""
    if process.state != "running":
        text = f"it is {process.state}, not running{ended}"
        why = CONSEQUENCES.get(process.kind, "There are no pages.")
        remedy = "it is started again by itself; the supervisor's log says why it ended"
        return problem("processes.not_running", text, why, remedy, name, **values)
    if process.restarts >= MANY_RESTARTS and now_s - process.since < CALM_S:
        text = f"it was started again {process.restarts} times{ended}"
        why = "Something ends it again and again; each time calls under way may be cut."
        remedy = "see the supervisor's log; `killed by SIGKILL` often means too little memory (dmesg)"
        return warning("processes.restarts", text, why, remedy, name, **values)
    text = f"runs as process {process.pid} for {shown_seconds(now_s - process.since)}{ended}"
    return ok("processes.running", text, name, **values)


def _judge_supervisor(status: Status, version: str, config_changed_s: float | None) -> list[Finding]:
    found = []
    if status.version != version:
        text = f"version {status.version} runs, version {version} is installed"
        why = "What was mended or added since is not in force yet."
        found.append(warning("processes.version", text, why, "stop and start `sizewise up`"))
    if status.reload.ok is False:
        text = f"the last reload was refused: {status.reload.text}"
        why = "What runs goes on with its former configuration."
        found.append(problem("processes.reload_refused", text, why, "mend it, then `sizewise reload`"))
    elif config_changed_s is not None and config_changed_s > max(status.since, status.reload.at):
        text = f"{status.config_file or 'the configuration'} was changed after it was last read"
        why = "What it says now is not in force yet."
        found.append(warning("processes.config_changed", text, why, "`sizewise reload`"))
    return found
