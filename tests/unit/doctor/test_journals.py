import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.call import Call, new_call_id
from collector.doctor.finding import Finding
from collector.doctor.journals import Cursor, gather, judge
from collector.journal import Journal, Position
from collector.journal.folder import read_source_id

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "journal" / "w0", segment_bytes=1 << 20, fsync_ms=100)
    for number in range(3):
        journal.append(Call(call_id=new_call_id(number), started_at_ns=number, model="m" * 50))
    journal.close()
    return tmp_path / "journal"


def segment(folder: Path) -> Path:
    (found,) = (folder / "w0").glob("*.journal")
    return found


def examine(
    folder: Path,
    cursors: dict[uuid.UUID, Cursor] | None = None,
    *,
    relay_pids: set[int] | None = None,
    record_runs: bool = False,
    quarantined: int | None = None,
) -> list[Finding]:
    facts = gather(folder, cursors, NOW)
    return judge(
        facts,
        str(folder),
        relay_pids=relay_pids or set(),
        record_runs=record_runs,
        quarantined=quarantined,
    )


def codes(found: list[Finding]) -> list[str]:
    return [one.code for one in found]


def test_a_whole_one_and_none_at_all(folder: Path, tmp_path: Path) -> None:
    (found,) = examine(folder)
    assert (found.code, found.values["frames"]) == ("journal.whole", 3)
    assert codes(examine(tmp_path / "elsewhere")) == ["journal.none"]


def test_a_torn_one_is_mended_by_the_next_start(folder: Path) -> None:
    path = segment(folder)
    os.truncate(path, path.stat().st_size - 5)
    (found,) = examine(folder)
    assert (found.code, found.severity) == ("journal.torn", "warning")
    assert found.remedy.startswith("nothing: the next start of the relay cuts it off")
    Journal(folder / "w0", segment_bytes=1 << 20, fsync_ms=100).close()
    (mended,) = examine(folder)
    assert (mended.code, mended.values["frames"]) == ("journal.whole", 2)


def test_a_frame_that_was_changed(folder: Path) -> None:
    path = segment(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    (found,) = examine(folder)
    assert (found.code, found.severity) == ("journal.bad_frames", "problem")
    assert found.values["bad_frames"] == 1
    assert "segment 1 at byte" in found.found


def test_one_that_somebody_else_holds(folder: Path) -> None:
    journal = Journal(folder / "w0", segment_bytes=1 << 20, fsync_ms=100)
    try:
        (found,) = examine(folder)
        assert (found.code, found.values["pid"]) == ("journal.held", os.getpid())
        assert f"ps -p {os.getpid()}" in found.remedy
        assert codes(examine(folder, relay_pids={os.getpid()})) == ["journal.whole"]
    finally:
        journal.close()
    assert codes(examine(folder)) == ["journal.whole"]


def test_what_the_database_does_not_have_yet(folder: Path) -> None:
    source = read_source_id(folder / "w0")
    assert source is not None
    end = segment(folder).stat().st_size
    behind = {source: Cursor(Position(1, 0), NOW - timedelta(minutes=5))}
    assert codes(examine(folder, behind)) == ["journal.waits"]
    (stalled,) = examine(folder, behind, record_runs=True)
    assert (stalled.code, stalled.severity, stalled.values["lag_bytes"]) == (
        "journal.stalled",
        "problem",
        end,
    )
    assert "has not moved for 5 min" in stalled.found
    just_now = {source: Cursor(Position(1, 0), NOW - timedelta(seconds=2))}
    assert codes(examine(folder, just_now, record_runs=True)) == ["journal.whole"]
    assert codes(examine(folder, {source: Cursor(Position(1, end), NOW)})) == ["journal.whole"]


def test_frames_in_quarantine(folder: Path) -> None:
    found = examine(folder, quarantined=4)
    assert codes(found) == ["journal.whole", "journal.quarantined"]
    assert found[1].values == {"quarantined": 4}
