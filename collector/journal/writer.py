"""The writer: a Call enters, and when `append` returns True a kill of any process can't lose it any more.

One `os.write` of one frame, from one thread (the relay's event loop), never an exception: a call must not
fail because its record can't be kept. A second thread makes durable what was written, and sleeps while
nothing is.

Invariants (with S1-S4 of segment.py and O1-O4 of folder.py):
W1  The last call written is the last frame of the last segment that has any: rotation comes before the
    write that would not fit. So after a kill at most one call can be both written and still marked
    open, and it is `last_call_id`.
W2  After a write that failed or came short the segment is cut back to its last whole frame. If even that
    fails, writing goes on in the next segment, and the torn one is sealed as it is.
W3  A call is counted exactly once, as written or as lost. (Calls of the last moments before somebody deleted
    the segment under the writer are the exception: they were written, and are counted as lost as well.)
W4  Every segment but the highest has a durable folder entry, so that after a power loss at most one
    number that was used is missing (O2).
W5  File descriptors are closed by the syncing thread alone (or after its end), so that it never syncs
    one that was reused.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from collector.call import Call
from collector.errors import JournalError
from collector.journal.folder import close_cleanly, create_segment, open_folder, sync_folder
from collector.journal.record import About, BadFrame, decode, encode_call, encode_parts
from collector.journal.segment import Position

RETRY_S = 1.0
_CLOSED = -1  # as a limit: no frame fits, so the next append looks for a segment first


class Journal:
    """`written`, `lost`, `bytes_written`, `last_error`: what happened since it was opened here.

    A folder that can't be made or written now is tried again every second; until then calls are counted
    as lost. Raises JournalError only when another process holds it, or the path is not a folder.
    """

    def __init__(self, directory: Path, *, segment_bytes: int, fsync_ms: int) -> None:
        self.written = self.lost = self.bytes_written = 0
        self.sync_failures = 0
        self.cut_bytes = 0  # the torn tail that was found, and cut, when it was opened
        self.last_error = ""
        self.last_call_id: bytes | None = None
        self.segment = 0
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._fsync_s = fsync_ms / 1000
        self._source_id: uuid.UUID | None = None
        self._lock = self._fd = -1
        self._offset = 0
        self._limit = _CLOSED
        self._retry_at = 0.0
        self._checked = 0  # of the calls written, how many were there when the folder was last looked at
        self._durable_segment = 0  # the highest number whose entry in the folder is durable
        self._retired: list[int] = []
        self._dirty = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        try:
            self._open(attempts=10)
        except OSError as error:
            self._postpone(error)
        self._syncing = threading.Thread(target=self._sync_forever, name="journal-sync", daemon=True)
        self._syncing.start()

    @property
    def source_id(self) -> uuid.UUID:
        """The name of this journal in the ledger. Raises JournalError while the folder was never there."""
        if self._source_id is None:
            raise JournalError(f"The journal in {self._directory} has no id yet: {self.last_error}")
        return self._source_id

    @property
    def position(self) -> Position:
        return Position(self.segment, self._offset)

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def append(self, call: Call) -> bool:
        try:
            frame = encode_call(call)
        except Exception as error:  # whatever it is, the call itself must go on
            return self._lose(f"a call could not be encoded: {type(error).__name__}")
        return self.append_frame(frame)

    def append_parts(self, about: About, varying: msgspec.Struct) -> bool:
        """One call, of which `about` was encoded before."""
        try:
            frame = encode_parts(about, varying)
        except Exception as error:  # whatever it is, the call itself must go on
            return self._lose(f"a call could not be encoded: {type(error).__name__}")
        return self.append_frame(frame)

    def append_frame(self, frame: bytes) -> bool:
        size = len(frame)
        if self._offset + size > self._limit:
            self._make_room(size)
        try:
            done = os.write(self._fd, frame)
        except OSError as error:
            if self._fd < 0:
                return self._lose(self.last_error)
            return self._undo(f"{error.strerror} ({self._directory})")
        if done != size:
            return self._undo(f"only {done} of {size} bytes were written: disk full? ({self._directory})")
        self._offset += size
        self.bytes_written += size
        self.written += 1
        if not self._dirty:
            self._mark_dirty()
        return True

    def close(self) -> None:
        """Syncs and lets go; whatever is appended afterwards is counted as lost."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        self._syncing.join()
        failures = self.sync_failures
        was_open = self.is_open
        self._sync()
        if was_open and self.sync_failures == failures == 0:
            close_cleanly(self._directory)
        self._retire()
        self._sync_retired()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # where the next frame goes

    def _open(self, attempts: int = 1) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        mine = (self._source_id, self.segment) if self._source_id else None
        opened = open_folder(self._directory, mine=mine, attempts=attempts)
        if mine is None:
            self.cut_bytes = opened.cut_bytes
            with suppress(BadFrame):
                self.last_call_id = decode(opened.last_payload).call_id
        self._lock, self._source_id = opened.lock, opened.source_id
        self._use(opened.fd, opened.segment, opened.offset)

    def _use(self, fd: int, segment: int, offset: int) -> None:
        self._fd, self.segment, self._offset = fd, segment, offset
        self._limit = self._segment_bytes
        self._mark_dirty()

    def _make_room(self, size: int) -> None:
        """Rotates, or opens the folder again. Failing that a full segment grows on: large beats lost."""
        if self._stopping.is_set():
            self.last_error = "the journal is closed"
            return
        if self._limit == _CLOSED and self._fd >= 0:
            self._leave_if_deleted()
        now = time.monotonic()
        if now < self._retry_at:
            return
        try:
            if self._fd < 0:
                self._open()
            elif self._offset and self._offset + size > self._segment_bytes:
                self._rotate()
        except (OSError, JournalError) as error:
            self._postpone(error)

    def _rotate(self) -> None:
        if self._durable_segment < self.segment:  # W4; rare, as the thread does it within fsync_ms
            self._sync_entries()
        fd = create_segment(self._directory, self.segment + 1)
        self._retire()
        self._use(fd, self.segment + 1, 0)

    def _leave_if_deleted(self) -> None:
        if os.fstat(self._fd).st_nlink:
            self._limit = self._segment_bytes
            return
        self.lost += self.written - self._checked
        self._checked = self.written
        self.last_error = f"the segment was deleted while it was written ({self._directory})"
        self._retire()

    def _retire(self) -> None:
        if self._fd >= 0:
            self._retired.append(self._fd)
        self._fd, self._limit = -1, _CLOSED
        self._mark_dirty()

    def _postpone(self, error: Exception) -> None:
        text = error.strerror if isinstance(error, OSError) else str(error)
        self.last_error = f"{text or type(error).__name__} ({self._directory})"
        self._retry_at = time.monotonic() + RETRY_S

    # what can't be written

    def _lose(self, reason: str) -> bool:
        self.lost += 1
        self.last_error = reason
        return False

    def _undo(self, reason: str) -> bool:
        try:
            os.ftruncate(self._fd, self._offset)
        except OSError:
            try:
                self._rotate()
            except OSError:
                self._retire()  # the folder is opened again, and the tail cut then, when that is possible
        return self._lose(reason)

    # the thread

    def _mark_dirty(self) -> None:
        self._dirty = True
        self._wake.set()

    def _sync_forever(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._stopping.wait(self._fsync_s)
            self._sync()

    def _sync(self) -> None:
        self._wake.clear()  # before _dirty: a write after this line wakes again, one before it is synced now
        self._dirty = False
        self._sync_retired()
        if self._durable_segment < self.segment:
            self._sync_entries()
        fd, written = self._fd, self.written
        if fd >= 0:
            self._try(os.fdatasync, fd)
            if os.fstat(fd).st_nlink:
                self._checked = written
            else:
                self._limit = _CLOSED

    def _sync_entries(self) -> None:
        segment = self.segment  # read first: a segment made meanwhile may not be covered
        if self._try(sync_folder, self._directory):
            self._durable_segment = segment

    def _sync_retired(self) -> None:
        while self._retired:
            fd = self._retired.pop()
            self._try(os.fdatasync, fd)
            os.close(fd)

    def _try(self, sync: Callable[..., object], what: object) -> bool:
        try:
            sync(what)
        except OSError as error:
            self.sync_failures += 1
            self.last_error = f"not made durable: {error.strerror} ({self._directory})"
            return False
        return True
