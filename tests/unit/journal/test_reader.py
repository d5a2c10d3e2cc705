"""Reading: everything that is there once, everything that isn't named once, nothing in silence."""

import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.errors import JournalError
from collector.journal import Journal, JournalReader, Position, encode_call, list_journals, status, verify
from collector.journal import reader as reader_module
from collector.journal.record import PAYLOAD_LIMIT, frame
from collector.journal.segment import READ_BYTES, SegmentWalk, list_segments, segment_path

ReadAll = Callable[..., tuple[list[int], list[str], Position]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "w0"
    directory.mkdir()
    (directory / "source_id").write_text(str(uuid.uuid4()))
    return directory


def put(folder: Path, number: int, content: bytes) -> None:
    segment_path(folder, number).write_bytes(content)


def frames_of(make_call: Any, *numbers: int) -> bytes:
    return b"".join(encode_call(make_call(number)) for number in numbers)


def test_an_empty_folder_has_nothing_to_read(folder: Path, read_all: ReadAll) -> None:
    assert read_all(folder) == ([], [], Position(1, 0))


def test_one_batch_goes_over_several_segments(folder: Path, make_call: Any) -> None:
    for number in range(1, 5):
        put(folder, number, frames_of(make_call, number))
    batch = JournalReader(folder).read(None, 3)
    assert [call.call_id[-1] for call in batch.calls] == [1, 2, 3]
    assert batch.end == Position(3, segment_path(folder, 3).stat().st_size)
    rest = JournalReader(folder).read(batch.end, 100)
    assert [call.call_id[-1] for call in rest.calls] == [4]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=6), max_calls=st.integers(1, 9))
def test_any_cut_into_batches_and_segments_reads_all_once(
    folder: Path, make_call: Any, read_all: ReadAll, sizes: list[int], max_calls: int
) -> None:
    for path in folder.glob("*.journal"):
        path.unlink()
    count = 0
    for number, size in enumerate(sizes, 1):
        put(folder, number, frames_of(make_call, *range(count, count + size)))
        count += size
    assert read_all(folder, max_calls=max_calls)[:2] == (list(range(count)), [])


def test_the_last_segment_cut_at_every_byte_is_only_not_yet(
    folder: Path, make_call: Any, read_all: ReadAll
) -> None:
    first, second = frames_of(make_call, 1), frames_of(make_call, 2)
    for cut in range(len(second) + 1):
        put(folder, 1, first + second[:cut])
        numbers, reasons, end = read_all(folder)
        assert (numbers, reasons) == ([1, 2] if cut == len(second) else [1], [])
        put(folder, 1, first + second)
        assert read_all(folder, end)[:2] == ([] if cut == len(second) else [2], [])


def test_a_sealed_segment_cut_at_every_byte_names_its_torn_end_once(
    folder: Path, make_call: Any, read_all: ReadAll
) -> None:
    first, second = frames_of(make_call, 1), frames_of(make_call, 2)
    put(folder, 2, frames_of(make_call, 3))
    for cut in range(len(second) + 1):
        put(folder, 1, first + second[:cut])
        numbers, reasons, _ = read_all(folder)
        whole = cut in (0, len(second))
        assert numbers == ([1, 2, 3] if cut == len(second) else [1, 3])
        assert len(reasons) == (0 if whole else 1)


@pytest.mark.parametrize("sealed", [True, False])
def test_any_flipped_byte_costs_only_its_own_frame(
    folder: Path, make_call: Any, read_all: ReadAll, sealed: bool
) -> None:
    parts = [frames_of(make_call, number) for number in (1, 2, 3)]
    if sealed:
        put(folder, 2, frames_of(make_call, 4))
    begin, end = len(parts[0]), len(parts[0]) + len(parts[1])
    for place in range(begin, end):
        damaged = bytearray(b"".join(parts))
        damaged[place] ^= 0x55
        put(folder, 1, bytes(damaged))
        numbers, reasons, _ = read_all(folder, max_calls=1)
        assert numbers == ([1, 3, 4] if sealed else [1, 3])
        assert len(reasons) == 1


def test_a_bad_record_keeps_what_stood_there(folder: Path, make_call: Any) -> None:
    first, third = frames_of(make_call, 1), frames_of(make_call, 3)
    put(folder, 1, first + b"not a frame" + third)
    (bad,) = JournalReader(folder).read(None, 10).bad
    assert (bad.segment, bad.offset, bad.raw) == (1, len(first), b"not a frame")
    assert "length" in bad.reason


def test_a_frame_of_an_unknown_kind_is_put_aside_whole(folder: Path, make_call: Any) -> None:
    strange = frame(b"\x07whatever comes")
    put(folder, 1, strange + frames_of(make_call, 1))
    batch = JournalReader(folder).read(None, 10)
    assert len(batch.calls) == 1
    assert batch.bad[0].raw == strange
    assert "unknown kind 7" in batch.bad[0].reason


def test_zeros_in_the_middle_are_passed_over_and_at_the_end_left_alone(
    folder: Path, make_call: Any, read_all: ReadAll
) -> None:
    put(folder, 1, frames_of(make_call, 1) + bytes(5000) + frames_of(make_call, 2) + bytes(5000))
    numbers, reasons, end = read_all(folder)
    assert (numbers, len(reasons)) == ([1, 2], 1)
    assert JournalReader(folder).lag_bytes(end) == 5000


def test_frames_larger_than_one_read_and_stretches_larger_than_one_scan(folder: Path, make_call: Any) -> None:
    large = frame(b"\x07" + bytes(PAYLOAD_LIMIT - 1))
    garbage = os.urandom(1 << 16) * 100
    call = frames_of(make_call, 1)
    put(folder, 1, call * (READ_BYTES // len(call)) + large + call + garbage + call)
    batch = JournalReader(folder).read(None, 100_000)
    assert len(batch.calls) == READ_BYTES // len(call) + 2
    assert len(batch.bad) == 2


def test_a_view_torn_between_two_writes_is_not_called_bad(
    folder: Path, make_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [frames_of(make_call, number) for number in (1, 2, 3)]
    put(folder, 1, b"".join(parts))
    true_pread = os.pread
    views = iter([parts[0] + bytes(len(parts[1])) + parts[2]])
    monkeypatch.setattr(os, "pread", lambda fd, size, at: next(views, None) or true_pread(fd, size, at))
    fd = os.open(segment_path(folder, 1), os.O_RDONLY)
    found = list(SegmentWalk(fd, sealed=False))
    os.close(fd)
    assert [reason for _, _, reason in found] == ["", "", ""]


def test_deleted_segments_are_named_and_reading_goes_on(
    folder: Path, make_call: Any, read_all: ReadAll
) -> None:
    for number in (1, 2, 5):
        put(folder, number, frames_of(make_call, number))
    numbers, reasons, _ = read_all(folder)
    assert numbers == [1, 2, 5]
    assert reasons == ["2 of segments 3 to 4 are missing: what stood there is lost"]


def test_a_listing_that_leaves_a_new_segment_out_skips_nothing(
    folder: Path, make_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        put(folder, number, frames_of(make_call, number))
    reader = JournalReader(folder)
    listings = iter([[1, 3]])
    monkeypatch.setattr(reader_module, "list_segments", lambda at: next(listings, None) or list_segments(at))
    first = reader.read(None, 10)
    assert ([call.call_id[-1] for call in first.calls], first.bad, first.end.segment) == ([1], [], 1)
    second = reader.read(first.end, 10)
    assert [call.call_id[-1] for call in second.calls] == [2, 3]


def test_the_segment_of_the_position_was_deleted(folder: Path, make_call: Any) -> None:
    put(folder, 4, frames_of(make_call, 4))
    batch = JournalReader(folder).read(Position(3, 77), 10)
    assert len(batch.calls) == 1
    assert [(bad.segment, bad.offset) for bad in batch.bad] == [(3, 77)]


def test_the_file_is_shorter_than_the_position(folder: Path, make_call: Any, read_all: ReadAll) -> None:
    put(folder, 1, frames_of(make_call, 1))
    put(folder, 2, frames_of(make_call, 2))
    numbers, reasons, _ = read_all(folder, Position(1, 10_000))
    assert (numbers, len(reasons)) == ([2], 1)
    assert "ends at" in reasons[0]


def test_an_older_state_of_the_folder_is_read_again(folder: Path, make_call: Any, read_all: ReadAll) -> None:
    put(folder, 1, frames_of(make_call, 1))
    numbers, reasons, _ = read_all(folder, Position(9, 5))
    assert (numbers, len(reasons)) == ([1], 1)


def test_empty_sealed_segments_are_passed_without_a_word(
    folder: Path, make_call: Any, read_all: ReadAll
) -> None:
    put(folder, 1, frames_of(make_call, 1))
    put(folder, 2, b"")
    _, _, end = read_all(folder)
    assert end.segment == 1
    put(folder, 3, frames_of(make_call, 3))
    assert read_all(folder, end)[:2] == ([3], [])


def test_acknowledge_deletes_what_lies_before_and_never_the_last(folder: Path, make_call: Any) -> None:
    for number in (1, 2, 3):
        put(folder, number, frames_of(make_call, number))
    reader = JournalReader(folder)
    reader.acknowledge(Position(2, 10))
    assert list_segments(folder) == [2, 3]
    reader.acknowledge(Position(99, 0))
    assert list_segments(folder) == [3]


def test_lag_counts_what_is_behind_the_position(folder: Path) -> None:
    put(folder, 1, b"x" * 100)
    put(folder, 2, b"x" * 50)
    reader = JournalReader(folder)
    assert reader.lag_bytes(None) == 150
    assert reader.lag_bytes(Position(1, 30)) == 120
    assert reader.lag_bytes(Position(2, 50)) == 0


def test_a_replaced_journal_is_not_read_with_old_positions(folder: Path) -> None:
    reader = JournalReader(folder)
    (folder / "source_id").write_text(str(uuid.uuid4()))
    with pytest.raises(JournalError, match="was replaced"):
        reader.read(None, 10)


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="holds no journal"):
        JournalReader(tmp_path)


def test_journals_are_listed_by_number(tmp_path: Path) -> None:
    for name in ("w10", "w2", "w1.old", "other", "w3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "source_id").touch()
    (tmp_path / "w4").mkdir()
    assert [path.name for path in list_journals(tmp_path)] == ["w2", "w3", "w10"]
    assert list_journals(tmp_path / "absent") == []


def test_a_reader_follows_a_live_writer(tmp_path: Path, make_call: Any) -> None:
    count = 4000
    journal = Journal(tmp_path / "w0", segment_bytes=20_000, fsync_ms=1)
    reader = JournalReader(tmp_path / "w0")

    def write() -> None:
        for number in range(count):
            journal.append(make_call(number))

    writing = threading.Thread(target=write)
    writing.start()
    numbers: list[int] = []
    position = None
    while True:
        finished = not writing.is_alive()
        batch = reader.read(position, 100)
        assert batch.bad == []
        numbers += [int.from_bytes(call.call_id, "big") for call in batch.calls]
        position = batch.end
        reader.acknowledge(position)
        if finished and not batch.calls:
            break
    writing.join()
    journal.close()
    assert numbers == list(range(count))
    assert journal.lost == 0
    assert len(list_segments(tmp_path / "w0")) == 1


def test_status_and_verify_say_what_is_there(tmp_path: Path, make_call: Any) -> None:
    journal = Journal(tmp_path / "w0", segment_bytes=1000, fsync_ms=1)
    for number in range(10):
        journal.append(make_call(number))
    (state,) = status(tmp_path, {journal.source_id: journal.position})
    assert (state.locked, state.lag_bytes, state.bytes) == (True, 0, journal.bytes_written)
    assert status(tmp_path, {})[0].lag_bytes == journal.bytes_written
    journal.close()

    last = list_segments(journal_folder := tmp_path / "w0")[-1]
    with segment_path(journal_folder, 1).open("r+b") as damaged:
        damaged.write(b"\xff")
    with segment_path(journal_folder, last).open("ab") as torn:
        torn.write(b"\x10\x00\x00")
    (verdict,) = verify(tmp_path)
    assert (verdict.segments, verdict.frames, verdict.bad_frames) == (last, 9, 1)
    assert (verdict.torn_tail_bytes, verdict.locked) == (3, False)
    assert verdict.bytes == journal.bytes_written + 3
    assert [(bad.segment, bad.offset) for bad in verdict.bad] == [(1, 0)]
    assert verdict.source_id == str(journal.source_id)
