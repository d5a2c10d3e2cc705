"""The journals of this host: whole, followed by record, and each in one writer's hands.

Every frame is read, up to a bound; a journal that holds more than that is far behind, which is said first.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from collector.doctor.finding import Finding, ok, problem, shown_bytes, shown_seconds, warning
from collector.journal import JournalVerdict, Position, status, verify

MOST_READ_BYTES = 2 * 1024**3
STALLED_AFTER_S = 60.0


class JournalFact(msgspec.Struct, frozen=True):
    name: str
    path: str
    bytes: int
    lag_bytes: int
    locked: bool
    writer_pid: int | None = None
    frames: int | None = None  # None: not read, there is too much
    bad_frames: int = 0
    first_bad: str = ""
    torn_tail_bytes: int = 0
    known: bool = True  # whether the database could be asked how far it has it
    idle_s: float | None = None  # since its cursor moved; None where it never did


class Cursor(msgspec.Struct, frozen=True):
    position: Position
    moved_at: datetime


def gather(folder: Path, cursors: Mapping[UUID, Cursor] | None, now: datetime) -> list[JournalFact]:
    """Raises OSError where the folder can't be read."""
    if not folder.is_dir():
        return []
    known = cursors or {}
    states = status(folder, {source: cursor.position for source, cursor in known.items()})
    read = sum(one.bytes for one in states) <= MOST_READ_BYTES
    verdicts: dict[str, JournalVerdict] = {one.path: one for one in verify(folder)} if read else {}
    facts = []
    for one in states:
        verdict = verdicts.get(one.path)
        cursor = known.get(UUID(one.source_id)) if one.source_id else None
        bad = verdict.bad[0] if verdict and verdict.bad else None
        facts.append(
            JournalFact(
                name=Path(one.path).name,
                path=one.path,
                bytes=one.bytes,
                lag_bytes=one.lag_bytes,
                locked=one.locked,
                writer_pid=_read_pid(Path(one.path) / "lock"),
                frames=verdict.frames if verdict else None,
                bad_frames=verdict.bad_frames if verdict else 0,
                first_bad=f"segment {bad.segment} at byte {bad.offset}: {bad.reason}" if bad else "",
                torn_tail_bytes=verdict.torn_tail_bytes if verdict and not one.locked else 0,
                known=cursors is not None,
                idle_s=(now - cursor.moved_at).total_seconds() if cursor else None,
            )
        )
    return facts


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def judge(
    facts: list[JournalFact], folder: str, *, relay_pids: set[int], record_runs: bool, quarantined: int | None
) -> list[Finding]:
    found = [finding for fact in facts for finding in _judge(fact, relay_pids, record_runs)]
    if quarantined:
        text = f"{quarantined:,} frames could not become a row; they lie in the database's `quarantine`"
        why = "Each is a call that is in no total."
        remedy = "see why: SELECT reason, count(*) FROM quarantine GROUP BY reason"
        found.append(warning("journal.quarantined", text, why, remedy, quarantined=quarantined))
    if not facts:
        found.append(ok("journal.none", f"no journal in {folder} yet; the first start of a relay makes one"))
    return found


def _judge(fact: JournalFact, relay_pids: set[int], record_runs: bool) -> list[Finding]:
    found = _judge_frames(fact)
    found += _judge_lag(fact, record_runs)
    strange = fact.locked and fact.writer_pid is not None and fact.writer_pid not in relay_pids
    if strange:
        text = f"it is held by process {fact.writer_pid}, which is no relay worker that runs here"
        why = "No other worker can write there: it would not start, or its calls would pass unrecorded."
        remedy = f"see what it is with `ps -p {fact.writer_pid}` and stop it, or set another `journal.dir`"
        found.append(problem("journal.held", text, why, remedy, fact.name, pid=fact.writer_pid))
    if not found:
        frames = f"{fact.frames:,} whole frames" if fact.frames is not None else "not read through"
        writer = f"written by process {fact.writer_pid}" if fact.locked else "not being written"
        lag = f"; {shown_bytes(fact.lag_bytes)} not in the database yet" if fact.known else ""
        text = f"{frames}, {shown_bytes(fact.bytes)}, {writer}{lag}"
        values = {"frames": fact.frames, "bytes": fact.bytes, "lag_bytes": fact.lag_bytes}
        found.append(ok("journal.whole", text, fact.name, **values))
    return found


def _judge_frames(fact: JournalFact) -> list[Finding]:
    found = []
    if fact.bad_frames:
        text = f"{fact.bad_frames} bad frames, the first in {fact.first_bad}"
        why = "Something changed the file after it was written: each bad frame is a call that is lost."
        remedy = "`sizewise journal verify` shows them; look for disk errors (dmesg)"
        found.append(problem("journal.bad_frames", text, why, remedy, fact.name, bad_frames=fact.bad_frames))
    if fact.torn_tail_bytes:
        text = f"it ends in {fact.torn_tail_bytes} bytes of an unfinished frame, and nobody writes it"
        why = "Its writer was killed in the midst of a write. That call is not whole; all before it are."
        remedy = "nothing: the next start of the relay cuts it off (`sizewise up`)"
        found.append(
            warning("journal.torn", text, why, remedy, fact.name, torn_tail_bytes=fact.torn_tail_bytes)
        )
    return found


def _judge_lag(fact: JournalFact, record_runs: bool) -> list[Finding]:
    waits = f"{shown_bytes(fact.lag_bytes)} are not in the database yet"
    values = {"lag_bytes": fact.lag_bytes}
    if not fact.lag_bytes or not fact.known:
        return []
    if not record_runs:
        text = f"{waits}, and no record runs here"
        why = "Nothing is lost: they wait here. But they are in no total, and the disk fills."
        remedy = "start `sizewise up` (or `sizewise record`)"
        return [warning("journal.waits", text, why, remedy, fact.name, **values)]
    if fact.idle_s is None or fact.idle_s > STALLED_AFTER_S:
        since = f"for {shown_seconds(fact.idle_s)}" if fact.idle_s is not None else "so far"
        text = f"{waits}, and record has not moved {since}"
        why = "Calls wait on disk and are in no total; budgets and pages show less than was spent."
        remedy = "see the log of record for why; often the database refuses writes (see below)"
        return [problem("journal.stalled", text, why, remedy, fact.name, **values)]
    return []
