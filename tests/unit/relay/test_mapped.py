"""Tables in mapped files: a disk without room costs the file, never the worker."""

import errno
import os
from pathlib import Path

import pytest

from collector.relay.counters import Counters, read_counters
from collector.relay.mapped import map_file
from collector.relay.open_calls import OpenCalls, read_left_open


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)


def test_its_room_is_taken_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"what an earlier one left")
    mapped = map_file(path, 100_000)
    assert mapped is not None
    assert path.stat().st_blocks * 512 >= 100_000
    assert path.read_bytes() == bytes(100_000)
    assert path.stat().st_mode & 0o777 == 0o600
    mapped[:3] = b"new"
    assert path.read_bytes().startswith(b"new")


@pytest.mark.usefixtures("full_disk")
def test_without_room_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"what an earlier one left")
    assert map_file(path, 100_000) is None
    assert not path.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert map_file(tmp_path / "nowhere" / "table", 4096) is None


@pytest.mark.usefixtures("full_disk")
def test_calls_that_cannot_be_tracked_are_counted(tmp_path: Path) -> None:
    table = OpenCalls(tmp_path / "open_calls", 8)
    slots = [table.open(bytes(16), 1, False, b"", b"", b"label") for _ in range(3)]
    for slot in slots:
        table.close(slot)
    assert (slots, table.untracked, len(table)) == ([-1, -1, -1], 3, 0)
    assert read_left_open(tmp_path / "open_calls", "default") == []


@pytest.mark.usefixtures("full_disk")
def test_counters_that_nobody_can_see_still_count(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "counters")
    counters.calls += 1
    counters.publish()
    assert read_counters(tmp_path / "counters") == {}
