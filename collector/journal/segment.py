"""Segments: the numbered files of one journal, and the way through one of them.

A folder or an open file enters; numbers, positions and payloads leave. It knows nothing of calls but
where one can begin, so that another kind of journal can stand on it.

Invariants, on which writer and reader rely:
S1  Segments are numbered upwards; a writer appends only to the one with the highest number. Once a
    higher number exists a segment is *sealed*: it never changes again.
S2  Bytes before a whole frame never change: a writer cuts back only to the end of its last whole frame.
S3  A walk yields each whole frame once and in order. What is no frame is yielded as one bad stretch, up
    to the next frame, if a whole frame follows or the segment is sealed. Otherwise it is left alone: in a
    segment that isn't sealed it may be a frame that is just being written.
S4  A bad stretch of a segment that isn't sealed is looked at again after the frame behind it was seen:
    then it is settled (S2), and a view torn between two writes is not mistaken for damage.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from collector.journal.record import FRAME_LIMIT, Frames, find_frame

RAW_LIMIT: Final = 64 * 1024  # of a bad stretch; far more than a call, so a refused one can be replayed
READ_BYTES: Final = 256 * 1024
SCAN_BYTES: Final = 4 * FRAME_LIMIT

_SEGMENT_NAME = re.compile(r"(\d{16})\.journal")
_JOURNAL_NAME = re.compile(r"w(\d+)")


class Position(msgspec.Struct, frozen=True, order=True):
    """A place between two frames: in this segment, so many bytes from its beginning."""

    segment: int
    offset: int


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:016d}.journal"


def list_segments(directory: Path) -> list[int]:
    """The numbers in order; none when the folder isn't there."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - called at every poll
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for name in names if (match := _SEGMENT_NAME.fullmatch(name)))


def list_journals(journal_dir: Path) -> list[Path]:
    """The journals below a folder, one per relay worker, in the order of their numbers."""
    try:
        names = os.listdir(journal_dir)  # noqa: PTH208
    except FileNotFoundError:
        return []
    numbers = sorted(int(match[1]) for name in names if (match := _JOURNAL_NAME.fullmatch(name)))
    folders = (journal_dir / f"w{number}" for number in numbers)
    return [folder for folder in folders if (folder / "source_id").exists()]


class SegmentWalk:
    """Yields (offset, payload, "") for a frame, (offset, raw bytes, reason) for a bad stretch (S3).

    `end` stands behind what was yielded last; after the walk `rest` says why what stands there was left.
    """

    def __init__(self, fd: int, offset: int = 0, *, sealed: bool) -> None:
        self._fd = fd
        self._sealed = sealed
        self.end = offset
        self.rest = ""

    def __iter__(self) -> Iterator[tuple[int, bytes, str]]:
        wanted = READ_BYTES
        while True:
            base = self.end
            buffer = os.pread(self._fd, wanted, base)
            frames = Frames(buffer)
            for offset, payload in frames:
                self.end = base + frames.end
                yield base + offset, payload, ""
            full = len(buffer) == wanted
            if frames.ending == "clean" and not full:
                return
            if frames.ending != "bad" and full and wanted < FRAME_LIMIT and not frames.end:
                wanted = FRAME_LIMIT  # one frame larger than what is usually read at once
            elif frames.ending != "bad" and full and frames.end:
                wanted = READ_BYTES
            else:
                behind = self._behind(self.end)
                if behind is None:
                    self.rest = frames.reason
                    return
                if not self._is_frame(self.end, behind):
                    offset, self.end = self.end, behind
                    yield offset, self._raw(offset, behind), frames.reason

    def _behind(self, offset: int) -> int | None:
        """Where reading goes on behind the bad frame at `offset`; None while that can't be known."""
        base, wanted = offset + 1, READ_BYTES
        while True:
            view = os.pread(self._fd, wanted, base)
            found = find_frame(view)
            if found is not None:
                return base + found
            if len(view) < wanted:
                return os.fstat(self._fd).st_size if self._sealed else None
            base += max(0, len(view) - FRAME_LIMIT)  # a frame may begin in this view and end behind it
            wanted = SCAN_BYTES

    def _is_frame(self, offset: int, behind: int) -> bool:
        """The second look of S4."""
        return any(True for _ in Frames(os.pread(self._fd, min(behind - offset, FRAME_LIMIT), offset)))

    def _raw(self, offset: int, behind: int) -> bytes:
        return os.pread(self._fd, min(behind - offset, RAW_LIMIT), offset)
