"""The reader: a position enters, the calls behind it leave, with the position to commit beside them.

Nothing here remembers how far the reading went: the ledger commits `Batch.end` in the same transaction
as the calls, and only then acknowledges. So a call is in the ledger exactly once whatever dies in between.

Invariants (with S1-S4 of segment.py):
R1  The segments are listed before any is read, so that one that isn't the last of the list is sealed.
R2  `end` enters the next segment only together with something that was read there, so that the segment
    with the last call is not deleted before a writer may need it (W1).
R3  Everything between the position and `end` is either among the calls or named in `bad`. Nothing
    is skipped silently, and nothing is named twice.
R4  What is missing (segments deleted by hand, bytes taken back by a power loss) is named in `bad`, and
    reading goes on with what there is. If every number lies below the position, an older state of the
    folder came back: it is read from its beginning, and the ledger's key refuses what it knows already.
"""

import os
import uuid
from contextlib import suppress
from pathlib import Path

import msgspec

from collector.call import Call
from collector.errors import JournalError
from collector.journal.folder import read_source_id
from collector.journal.record import BadFrame, decode, frame
from collector.journal.segment import RAW_LIMIT, Position, SegmentWalk, list_segments, segment_path


class _FolderChanged(Exception):  # noqa: N818
    """The list of segments was out of date."""


class BadFrameRecord(msgspec.Struct, frozen=True):
    """Something that should have been a call: where it stood, why it isn't one, and its first 64 KiB."""

    segment: int
    offset: int
    reason: str
    raw: bytes


class Batch(msgspec.Struct, frozen=True):
    calls: list[Call]
    end: Position
    bad: list[BadFrameRecord]


class Payloads(msgspec.Struct, frozen=True):
    """What a Batch is made of: payloads with the place where each stood, whatever their kind."""

    payloads: list[tuple[Position, bytes]]
    end: Position
    bad: list[BadFrameRecord]


class JournalReader:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.source_id = self._read_source_id()

    def read(self, position: Position | None, max_calls: int) -> Batch:
        """At most `max_calls` calls; neither a call nor a bad record means that nothing new is there."""
        found = self.read_payloads(position, max_calls)
        calls, bad = [], found.bad
        for place, payload in found.payloads:
            try:
                calls.append(decode(payload))
            except BadFrame as error:
                bad.append(
                    BadFrameRecord(place.segment, place.offset, str(error), frame(payload)[:RAW_LIMIT])
                )
        return Batch(calls, found.end, bad)

    def read_payloads(self, position: Position | None, limit: int) -> Payloads:
        if self._read_source_id() != self.source_id:
            raise JournalError(
                f"The journal in {self._directory} was replaced: it was {self.source_id}, now another one "
                "stands there. Open it anew; positions of the old one don't hold for it."
            )
        segments = list_segments(self._directory)  # R1
        found = Payloads([], position or Position(segments[0] if segments else 1, 0), [])
        if segments and segments[-1] < found.end.segment:  # R4
            reason = f"segment {found.end.segment} is gone and only older ones are left: reading them again"
            found.bad.append(BadFrameRecord(found.end.segment, found.end.offset, reason, b""))
            found = Payloads([], Position(segments[0], 0), found.bad)
        for number in segments:
            if number < found.end.segment:
                continue
            if len(found.payloads) + len(found.bad) >= limit:
                break
            try:
                found = self._read_segment(number, segments, found, limit)
            except (FileNotFoundError, _FolderChanged):
                break  # nothing was taken from this segment; the next call sees what is there then
        return found

    def _read_segment(self, number: int, segments: list[int], found: Payloads, limit: int) -> Payloads:
        payloads, end, bad = found.payloads, found.end, found.bad
        fd = os.open(segment_path(self._directory, number), os.O_RDONLY | os.O_CLOEXEC)
        try:
            start = end.offset if number == end.segment else 0
            size = os.fstat(fd).st_size
            if start > size:
                reason = f"the segment ends at {size}, before this place: what stood behind it may be lost"
                bad.append(BadFrameRecord(number, start, reason, b""))
                start, end = size, Position(number, size)
            walk = SegmentWalk(fd, start, sealed=number != segments[-1])
            for offset, content, problem in walk:
                if number != end.segment and (gap := self._find_gap(number, segments, end)):
                    bad.append(gap)
                if problem:
                    bad.append(BadFrameRecord(number, offset, problem, content))
                else:
                    payloads.append((Position(number, offset), content))
                end = Position(number, walk.end)
                if len(payloads) + len(bad) >= limit:
                    break
        finally:
            os.close(fd)
        return Payloads(payloads, end, bad)

    def _find_gap(self, number: int, segments: list[int], end: Position) -> BadFrameRecord | None:
        """What is missing between `end` and the segment that is entered now."""
        first, last = end.segment + (end.segment in segments), number - 1
        count = number - first - sum(first <= other < number for other in segments)
        if not count:
            return None
        # A folder that changes while it is listed may leave names out: only a second look is proof.
        again = list_segments(self._directory)
        if any(first <= other < number and other not in segments for other in again):
            raise _FolderChanged
        missing = f"segment {first} is" if first == last else f"{count} of segments {first} to {last} are"
        offset = end.offset if first == end.segment else 0
        return BadFrameRecord(first, offset, f"{missing} missing: what stood there is lost", b"")

    def acknowledge(self, position: Position) -> None:
        """Deletes the segments before the one of `position`, never the last: call it after the commit."""
        for number in list_segments(self._directory)[:-1]:
            if number < position.segment:
                with suppress(FileNotFoundError):
                    segment_path(self._directory, number).unlink()

    def lag_bytes(self, position: Position | None) -> int:
        """How many bytes stand behind the position."""
        return lag_bytes(self._directory, position)

    def _read_source_id(self) -> uuid.UUID:
        source_id = read_source_id(self._directory)
        if source_id is None:
            raise JournalError(
                f"{self._directory} holds no journal: its file source_id is missing or damaged. "
                "A relay makes one when it starts; check that journal_dir is the relay's."
            )
        return source_id


def lag_bytes(directory: Path, position: Position | None) -> int:
    lag = 0
    for number in list_segments(directory):
        with suppress(FileNotFoundError):
            size = segment_path(directory, number).stat().st_size
            if position is None or number > position.segment:
                lag += size
            elif number == position.segment:
                lag += max(0, size - position.offset)
    return lag
