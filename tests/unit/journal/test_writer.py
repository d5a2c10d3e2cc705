"""Writing: what append answered True to is there, whatever then happens to the process or the disk."""

import errno
import os
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.errors import JournalError
from collector.journal import Journal, JournalReader, Position, encode_call
from collector.journal import folder as folder_module
from collector.journal import writer as writer_module
from collector.journal.segment import list_segments, segment_path

OpenJournal = Callable[..., Journal]
ReadAll = Callable[..., tuple[list[int], list[str], Position]]


def fail(code: int) -> Callable[..., Any]:
    def raise_it(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    return raise_it


def forget_boot(folder: Path) -> None:
    """As if the machine had been started again since."""
    (folder / "boot_id").write_text("an earlier boot")


def leave_unclean(journal: Journal) -> None:
    """As a kill leaves it: the lock is free, nothing else is tidied up."""
    boot_id = (folder := journal._directory) / "boot_id"
    boot = boot_id.read_text()
    journal.close()
    (folder / "boot_id").write_text(boot)


def test_calls_are_written_and_counted(
    tmp_path: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any
) -> None:
    journal = open_journal()
    assert all(journal.append(make_call(number)) for number in range(50))
    assert (journal.written, journal.lost, journal.last_error) == (50, 0, "")
    assert journal.bytes_written == sum(len(encode_call(make_call(number))) for number in range(50))
    assert journal.position == Position(1, journal.bytes_written)
    assert read_all(tmp_path / "w0") == (list(range(50)), [], journal.position)


def test_only_the_owner_may_read(tmp_path: Path, open_journal: OpenJournal, make_call: Any) -> None:
    folder = tmp_path / "journals" / "w3"
    open_journal(folder).append(make_call(1))
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert {file.name for file in files} == {"source_id", "lock", "boot_id", "0000000000000001.journal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_segment_is_left_before_it_grows_too_large(
    tmp_path: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any
) -> None:
    journal = open_journal(segment_bytes=1000)
    for number in range(40):
        journal.append(make_call(number))
        assert segment_path(tmp_path / "w0", journal.segment).stat().st_size == journal.position.offset > 0
    sizes = [
        segment_path(tmp_path / "w0", number).stat().st_size for number in list_segments(tmp_path / "w0")
    ]
    assert len(sizes) == journal.segment > 3
    assert max(sizes) <= 1000
    assert read_all(tmp_path / "w0")[:2] == (list(range(40)), [])


def test_the_entry_of_a_segment_is_durable_before_the_next_is_made(
    open_journal: OpenJournal, make_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def sync(_: Path) -> None:
        done.append("sync")

    def create(directory: Path, number: int) -> int:
        done.append("create")
        return folder_module.create_segment(directory, number)

    monkeypatch.setattr(writer_module, "sync_folder", sync)
    monkeypatch.setattr(writer_module, "create_segment", create)
    journal = open_journal(segment_bytes=1, fsync_ms=3_600_000)
    for number in range(4):
        journal.append(make_call(number))
    assert done == ["sync", "create"] * 3


def test_a_frame_larger_than_a_segment_gets_one_of_its_own(
    tmp_path: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any
) -> None:
    journal = open_journal(segment_bytes=1)
    assert [journal.append(make_call(number)) for number in range(3)] == [True] * 3
    assert list_segments(tmp_path / "w0") == [1, 2, 3]
    assert read_all(tmp_path / "w0")[:2] == ([0, 1, 2], [])


def test_the_next_writer_goes_on_where_the_last_one_stopped(
    tmp_path: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any
) -> None:
    first = open_journal()
    assert first.last_call_id is None
    first.append(make_call(1))
    position, source_id = first.position, first.source_id
    leave_unclean(first)
    second = open_journal()
    assert (second.position, second.source_id) == (position, source_id)
    assert second.last_call_id == make_call(1).call_id
    second.append(make_call(2))
    assert read_all(tmp_path / "w0")[:2] == ([1, 2], [])


def test_a_torn_tail_is_cut_at_every_byte(
    tmp_path: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any
) -> None:
    journal = open_journal()
    journal.append(make_call(1))
    end = journal.position.offset
    leave_unclean(journal)
    path, tail = segment_path(tmp_path / "w0", 1), encode_call(make_call(2))
    whole = path.read_bytes()
    for torn in (*(tail[:cut] for cut in range(1, len(tail))), bytes(9000), tail[:-1] + b"?"):
        path.write_bytes(whole + torn)
        journal = open_journal()
        assert (journal.cut_bytes, journal.position) == (len(torn), Position(1, end))
        assert journal.last_call_id == make_call(1).call_id
        journal.append(make_call(3))
        leave_unclean(journal)
        assert read_all(tmp_path / "w0")[:2] == ([1, 3], [])
    assert whole == path.read_bytes()[:end]


def test_damage_that_whole_frames_follow_is_not_cut(
    tmp_path: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any
) -> None:
    journal = open_journal()
    for number in (1, 2, 3):
        journal.append(make_call(number))
    leave_unclean(journal)
    path = segment_path(tmp_path / "w0", 1)
    damaged = bytearray(path.read_bytes())
    damaged[len(encode_call(make_call(1))) + 20] ^= 1
    path.write_bytes(bytes(damaged))
    journal = open_journal()
    assert (journal.cut_bytes, journal.last_call_id) == (0, make_call(3).call_id)
    journal.append(make_call(4))
    assert read_all(tmp_path / "w0") == ([1, 3, 4], ["wrong checksum"], journal.position)


def test_an_empty_last_segment_does_not_hide_the_last_call(
    tmp_path: Path, open_journal: OpenJournal, make_call: Any
) -> None:
    journal = open_journal()
    journal.append(make_call(1))
    leave_unclean(journal)
    segment_path(tmp_path / "w0", 2).touch()
    journal = open_journal()
    assert (journal.last_call_id, journal.position) == (make_call(1).call_id, Position(2, 0))


def test_after_a_power_loss_no_place_is_used_that_a_reader_may_have_passed(
    tmp_path: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any
) -> None:
    journal = open_journal()
    for number in (1, 2):
        journal.append(make_call(number))
    _, _, passed = read_all(tmp_path / "w0")
    leave_unclean(journal)
    forget_boot(tmp_path / "w0")
    os.truncate(segment_path(tmp_path / "w0", 1), len(encode_call(make_call(1))) + 5)

    journal = open_journal()
    assert journal.position == Position(3, 0)  # 2 may have been begun, read, and lost with its entry
    for number in (3, 4, 5):
        journal.append(make_call(number))
    numbers, reasons, _ = read_all(tmp_path / "w0", passed)
    assert numbers == [3, 4, 5]
    assert len(reasons) == 1  # the file became shorter
    assert read_all(tmp_path / "w0", Position(2, 400))[0] == [3, 4, 5]
    assert read_all(tmp_path / "w0", Position(1, len(encode_call(make_call(1)))))[:2] == ([3, 4, 5], [])


def test_a_clean_end_is_continued_in_any_boot(
    tmp_path: Path, open_journal: OpenJournal, make_call: Any
) -> None:
    journal = open_journal()
    journal.append(make_call(1))
    position = journal.position
    journal.close()
    assert not (tmp_path / "w0" / "boot_id").exists()
    assert open_journal().position == position


def test_a_second_writer_is_refused(open_journal: OpenJournal) -> None:
    journal = open_journal()
    with pytest.raises(JournalError, match=rf"held by another process \(pid {os.getpid()}\)"):
        open_journal()
    journal.close()
    open_journal()


def test_what_is_not_a_folder_is_refused(tmp_path: Path, open_journal: OpenJournal) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "w0", tmp_path / "file" / "deeper" / "w0"):
        with pytest.raises(JournalError, match="not a folder"):
            open_journal(path)


@pytest.mark.parametrize("written", [0, 1, 100])
def test_a_short_write_is_taken_back(
    tmp_path: Path,
    open_journal: OpenJournal,
    read_all: ReadAll,
    make_call: Any,
    monkeypatch: pytest.MonkeyPatch,
    written: int,
) -> None:
    journal = open_journal()
    journal.append(make_call(1))
    true_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: true_write(fd, data[:written]))
    assert not journal.append(make_call(2))
    monkeypatch.undo()
    assert (journal.lost, journal.written) == (1, 1)
    assert "disk full?" in journal.last_error
    assert journal.append(make_call(3))
    assert read_all(tmp_path / "w0") == ([1, 3], [], journal.position)


def test_when_even_taking_back_fails_the_next_segment_is_used(
    tmp_path: Path,
    open_journal: OpenJournal,
    read_all: ReadAll,
    make_call: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = open_journal()
    journal.append(make_call(1))
    true_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: true_write(fd, data[:50]))
    monkeypatch.setattr(os, "ftruncate", fail(errno.EIO))
    assert not journal.append(make_call(2))
    monkeypatch.undo()
    assert journal.append(make_call(3))
    assert journal.position.segment == 2
    numbers, reasons, _ = read_all(tmp_path / "w0")
    assert (numbers, len(reasons), journal.lost) == ([1, 3], 1, 1)


def test_when_nothing_works_the_folder_is_opened_again_and_its_tail_cut(
    tmp_path: Path,
    open_journal: OpenJournal,
    read_all: ReadAll,
    make_call: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = open_journal()
    journal.append(make_call(1))
    true_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: true_write(fd, data[:50]))
    monkeypatch.setattr(os, "ftruncate", fail(errno.EIO))
    monkeypatch.setattr(writer_module, "create_segment", fail(errno.ENOSPC))
    assert not journal.append(make_call(2))
    monkeypatch.undo()
    assert not journal.is_open
    assert journal.append(make_call(3))
    assert read_all(tmp_path / "w0") == ([1, 3], [], journal.position)


def test_a_segment_that_can_not_be_left_grows_on(
    tmp_path: Path,
    open_journal: OpenJournal,
    read_all: ReadAll,
    make_call: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = open_journal(segment_bytes=300)
    monkeypatch.setattr(writer_module, "create_segment", fail(errno.ENOSPC))
    assert all(journal.append(make_call(number)) for number in range(4))
    monkeypatch.undo()
    assert journal.position.segment == 1
    assert "No space" in journal.last_error
    journal._retry_at = 0.0
    journal.append(make_call(4))
    assert journal.position.segment == 2
    assert read_all(tmp_path / "w0")[:2] == ([0, 1, 2, 3, 4], [])


def test_a_folder_that_can_not_be_made_yet_does_not_stop_the_relay(
    tmp_path: Path,
    open_journal: OpenJournal,
    read_all: ReadAll,
    make_call: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder_module, "create_segment", fail(errno.EROFS))
    journal = open_journal()
    assert [journal.append(make_call(number)) for number in range(3)] == [False] * 3
    assert (journal.lost, journal.is_open) == (3, False)
    assert "Read-only" in journal.last_error
    with pytest.raises(JournalError, match="no id yet"):
        _ = journal.source_id
    monkeypatch.undo()
    assert not journal.append(make_call(3))  # within the second
    journal._retry_at = 0.0
    assert journal.append(make_call(4))
    assert read_all(tmp_path / "w0")[0] == [4]
    assert journal.source_id == JournalReader(tmp_path / "w0").source_id


@pytest.mark.parametrize("also_the_folder", [True, False])
def test_a_journal_deleted_under_the_writer_is_begun_again(
    tmp_path: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any, also_the_folder: bool
) -> None:
    journal = open_journal(fsync_ms=3_600_000)
    source_id = journal.source_id
    journal.append(make_call(1))
    for file in (tmp_path / "w0").iterdir():
        if also_the_folder or file.suffix == ".journal":
            file.unlink()
    if also_the_folder:
        (tmp_path / "w0").rmdir()
    assert journal.append(make_call(2))  # not noticed yet
    journal._sync()
    assert journal.append(make_call(3))
    assert journal.lost == 2
    assert "deleted" in journal.last_error
    assert journal.source_id == source_id == JournalReader(tmp_path / "w0").source_id
    assert journal.position.segment == 2  # numbers are not used twice under one source_id
    numbers, reasons, _ = read_all(tmp_path / "w0", Position(1, 10))
    assert (numbers, len(reasons)) == ([3], 1)


def test_a_folder_whose_segments_were_deleted_is_another_journal(
    tmp_path: Path, open_journal: OpenJournal, make_call: Any
) -> None:
    journal = open_journal()
    journal.append(make_call(1))
    source_id = journal.source_id
    leave_unclean(journal)
    segment_path(tmp_path / "w0", 1).unlink()
    assert open_journal().source_id != source_id


def test_a_damaged_source_id_is_replaced(tmp_path: Path, open_journal: OpenJournal) -> None:
    open_journal().close()
    (tmp_path / "w0" / "source_id").write_text("?")
    assert open_journal().source_id == uuid.UUID((tmp_path / "w0" / "source_id").read_text())


def test_what_can_not_be_encoded_is_lost_not_raised(open_journal: OpenJournal, make_call: Any) -> None:
    journal = open_journal()
    assert not journal.append(object())  # type: ignore[arg-type]
    assert (journal.lost, journal.written) == (1, 0)
    assert "encoded" in journal.last_error
    assert journal.append(make_call(1))


def test_appending_after_the_end_is_counted_as_lost(open_journal: OpenJournal, make_call: Any) -> None:
    journal = open_journal()
    journal.append(make_call(1))
    journal.close()
    journal.close()
    assert not journal.append(make_call(2))
    assert (journal.written, journal.lost, journal.last_error) == (1, 1, "the journal is closed")


def test_what_was_written_is_made_durable_and_nothing_else_is_done(
    open_journal: OpenJournal, make_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Semaphore(0)
    true_sync = os.fdatasync

    def count(fd: int) -> None:
        true_sync(fd)
        synced.release()

    monkeypatch.setattr(os, "fdatasync", count)
    journal = open_journal(fsync_ms=1)
    assert synced.acquire(timeout=10)  # the new segment
    journal.append(make_call(1))
    assert synced.acquire(timeout=10)
    assert not synced.acquire(timeout=0.05)  # idle
    monkeypatch.setattr(os, "fdatasync", fail(errno.EIO))
    journal.append(make_call(2))
    journal.close()
    assert journal.sync_failures > 0
    assert "not made durable" in journal.last_error


WRITER = """
import os, sys
from pathlib import Path
from collector.call import Call
from collector.journal import Journal
journal = Journal(Path(sys.argv[1]), segment_bytes=int(sys.argv[2]), fsync_ms=1)
number = int(sys.argv[3])
while True:
    call = Call(call_id=number.to_bytes(16, "big"), started_at_ns=number, model="m" * (number % 300))
    answer = b"+" if journal.append(call) else b"-"
    os.write(1, answer)
    number += 1
"""


def test_no_call_is_lost_or_doubled_by_kills(tmp_path: Path, read_all: ReadAll) -> None:
    """A process writes as fast as it can and says so call by call; it is killed again and again."""
    folder = tmp_path / "w0"
    acknowledged: set[int] = set()
    for kill in range(8):
        first = kill * 1_000_000
        command = [sys.executable, "-c", WRITER, str(folder), "3000", str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            said = writer.stdout.read(200 + 37 * kill)
            writer.kill()
            said += writer.stdout.read()
        assert set(said) == {ord("+")}
        acknowledged |= set(range(first, first + len(said)))
    numbers, reasons, _ = read_all(folder, max_calls=500)
    assert reasons == []
    assert len(numbers) == len(set(numbers))
    assert acknowledged <= set(numbers)
    assert len(numbers) - len(acknowledged) <= 8  # written, but killed before it could say so


LIMITED = """
import resource, sys
from pathlib import Path
from collector.call import Call
from collector.journal import Journal
journal = Journal(Path(sys.argv[1]), segment_bytes=1 << 20, fsync_ms=1)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
answers = []
for number in range(300):
    if number in (100, 200):
        room = journal.position.offset + 50 if number == 100 else hard
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    answers.append(journal.append(Call(call_id=number.to_bytes(16, "big"), started_at_ns=number)))
assert answers == [True] * 100 + [False] * 100 + [True] * 100, answers
assert (journal.written, journal.lost) == (200, 100)
journal.close()
"""


def test_a_full_disk_costs_the_calls_of_that_time_and_no_others(tmp_path: Path, read_all: ReadAll) -> None:
    subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "w0")], check=True, timeout=60)
    assert read_all(tmp_path / "w0")[:2] == ([*range(100), *range(200, 300)], [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk_and_back(
    small_disk: Path, open_journal: OpenJournal, read_all: ReadAll, make_call: Any
) -> None:
    folder = small_disk / "w0"
    journal = open_journal(folder, segment_bytes=30_000)
    answers = [journal.append(make_call(number)) for number in range(1500)]
    assert 0 < answers.count(False) == journal.lost
    numbers, reasons, end = read_all(folder)
    assert numbers == [number for number, answer in enumerate(answers) if answer]
    assert reasons == []
    JournalReader(folder).acknowledge(end)
    journal._sync()  # lets go of deleted segments
    assert journal.append(make_call(5000))
    assert read_all(folder, end)[:2] == ([5000], [])
