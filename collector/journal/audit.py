"""The audit: what the journals of this host hold, for the command line. Reads only, deletes nothing.

`status` is cheap (names and sizes); `verify` reads every frame. Both may run beside writers and readers.
"""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec

from collector.journal.folder import is_locked, read_source_id
from collector.journal.reader import BadFrameRecord, lag_bytes
from collector.journal.record import BadFrame, decode
from collector.journal.segment import Position, SegmentWalk, list_journals, list_segments, segment_path

SHOWN_BAD = 20  # bad frames shown one by one; all are counted


class JournalStatus(msgspec.Struct, frozen=True):
    path: str
    source_id: str  # "" when it can't be read
    segments: int
    bytes: int
    locked: bool  # a writer has it open
    position: Position | None  # committed by the ledger; None when it knows nothing of this journal
    lag_bytes: int


class JournalVerdict(msgspec.Struct, frozen=True):
    path: str
    source_id: str
    segments: int
    frames: int
    bytes: int
    bad_frames: int
    bad: list[BadFrameRecord]  # the first of them, without their content
    torn_tail_bytes: int  # of the last segment; while it is locked that may be a frame being written
    locked: bool


def status(journal_dir: Path, positions: Mapping[uuid.UUID, Position]) -> list[JournalStatus]:
    return [_describe(directory, positions) for directory in list_journals(journal_dir)]


def verify(journal_dir: Path) -> list[JournalVerdict]:
    return [_verify(directory) for directory in list_journals(journal_dir)]


def _describe(directory: Path, positions: Mapping[uuid.UUID, Position]) -> JournalStatus:
    source_id = read_source_id(directory)
    position = positions.get(source_id) if source_id else None
    return JournalStatus(
        path=str(directory),
        source_id=str(source_id or ""),
        segments=len(list_segments(directory)),
        bytes=lag_bytes(directory, None),
        locked=is_locked(directory),
        position=position,
        lag_bytes=lag_bytes(directory, position),
    )


def _verify(directory: Path) -> JournalVerdict:
    frames = read_bytes = bad_frames = torn_tail_bytes = 0
    bad: list[BadFrameRecord] = []
    segments = list_segments(directory)
    for number in segments:
        try:
            fd = os.open(segment_path(directory, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # acknowledged in this moment
        try:
            walk = SegmentWalk(fd, sealed=number != segments[-1])
            for offset, content, problem in walk:
                reason = problem or _find_problem(content)
                frames += not problem
                bad_frames += bool(reason)
                if reason and len(bad) < SHOWN_BAD:
                    bad.append(BadFrameRecord(number, offset, reason, b""))
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        read_bytes += size
        torn_tail_bytes = size - walk.end
    source_id = str(read_source_id(directory) or "")
    return JournalVerdict(
        path=str(directory),
        source_id=source_id,
        segments=len(segments),
        frames=frames,
        bytes=read_bytes,
        bad_frames=bad_frames,
        bad=bad,
        torn_tail_bytes=torn_tail_bytes,
        locked=is_locked(directory),
    )


def _find_problem(payload: bytes) -> str:
    try:
        decode(payload)
    except BadFrame as error:
        return str(error)
    return ""
