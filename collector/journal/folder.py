"""The folder of one journal: who may write there, what it is called, and where writing goes on.

A path enters; an `Opened` leaves: the lock held, the torn tail cut, a segment open for appending. The
writer asks for it when it starts, and again when the folder was gone or could not be written.

    source_id   a UUID: the name under which the ledger knows the journal; written once
    lock        flock held by the writer, with its process id inside
    boot_id     the boot of the machine under which the journal was last open; removed by a clean close
    %016d.journal

Invariants:
O1  One writer per folder.
O2  A segment is continued only in the boot that wrote it (or after a clean close). The page cache
    survives a killed process, but a power loss may take back bytes that a reader has already read and
    committed a position for; frames written in their place would never be read. So after one, writing
    goes on two numbers higher: the last number that is durable may have had one successor that is not
    (see the writer), and the number between is left as an empty segment.
O3  A folder without segments gets a new source_id, unless its writer is still the same: numbers begin
    again at 1 there, and positions of the old journal must not be applied to them.
O4  What is cut from the last segment is only what no whole frame follows.
"""

import errno
import fcntl
import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collector.errors import JournalError
from collector.journal.segment import SegmentWalk, list_segments, segment_path

_LOCK_PAUSE_S = 0.02
_CREATE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(slots=True)
class Opened:
    lock: int  # file descriptors
    fd: int
    source_id: uuid.UUID
    segment: int
    offset: int
    last_payload: bytes  # of the last whole frame, b"" when there is none
    cut_bytes: int


def open_folder(directory: Path, *, mine: tuple[uuid.UUID, int] | None = None, attempts: int = 1) -> Opened:
    """`mine` is what this writer called the journal and its last segment, when it had it open before."""
    _make_folder(directory)
    lock = _take_lock(directory, attempts)
    try:
        segments = list_segments(directory)
        source_id = _settle_source_id(directory, mine[0] if mine else None, fresh=not segments)
        last_payload, end, cut_bytes = _recover(directory, segments)
        used = max([mine[1] if mine else 0, *segments])
        boot_id, same_boot = _read_boot_id(), _is_same_boot(directory)
        if end is not None and used == segments[-1] and same_boot:
            fd = os.open(segment_path(directory, used), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            segment, offset = used, end
        else:
            if segments and not same_boot:
                used += 1
                os.close(create_segment(directory, used))
            segment, offset = used + 1, 0
            fd = create_segment(directory, segment)
        try:
            if _read_text(directory / "boot_id") != boot_id:
                _write_durably(directory / "boot_id", boot_id)
        except OSError:
            os.close(fd)
            raise
        return Opened(lock, fd, source_id, segment, offset, last_payload, cut_bytes)
    except BaseException:
        os.close(lock)
        raise


def create_segment(directory: Path, number: int) -> int:
    return os.open(segment_path(directory, number), _CREATE, 0o600)


def close_cleanly(directory: Path) -> None:
    """Only after everything was synced: the next writer may go on in the same segment, in any boot."""
    with suppress(OSError):
        (directory / "boot_id").unlink()
        sync_folder(directory)


def sync_folder(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_source_id(directory: Path) -> uuid.UUID | None:
    try:
        return uuid.UUID(_read_text(directory / "source_id") or "")
    except ValueError:
        return None


def is_locked(directory: Path) -> bool:
    """Whether a writer has the journal open. A shared lock is held for a moment; writers wait that long."""
    try:
        fd = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _make_folder(directory: Path) -> None:
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise JournalError(
            f"The journal can't be kept in {directory}: it, or a folder above it, is not a folder. "
            "Name a folder that exists or can be made."
        ) from None


def _take_lock(directory: Path, attempts: int) -> int:
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for left in reversed(range(attempts)):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(_LOCK_PAUSE_S)
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise JournalError(
            f"The journal in {directory} is held by another process (pid {holder}). Two writers would mix "
            "their calls: stop that process, or give this one another number or another journal folder."
        ) from None
    except OSError:
        os.close(fd)
        raise
    return fd


def _settle_source_id(directory: Path, mine: uuid.UUID | None, *, fresh: bool) -> uuid.UUID:
    # An id that can't be read (damaged by hand: it was written atomically) is replaced as well. The
    # segments are then read again under the new one: calls counted twice can be found, lost ones not.
    known = read_source_id(directory)
    wanted = mine or (None if fresh else known) or uuid.uuid4()
    if wanted != known:
        _write_durably(directory / "source_id", str(wanted))
    return wanted


def _recover(directory: Path, segments: list[int]) -> tuple[bytes, int | None, int]:
    """The last payload, the end of the last segment (None: don't continue there), the bytes cut from it.

    An empty segment says nothing of the last call: then the one before it is asked.
    """
    last_payload, end, cut_bytes = b"", None, 0
    for number in reversed(segments):
        try:
            fd = os.open(segment_path(directory, number), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            break  # acknowledged and deleted in this moment
        try:
            walk = SegmentWalk(fd, sealed=False)
            for _, payload, reason in walk:
                if not reason:
                    last_payload = payload
            if number == segments[-1]:
                end, cut_bytes = _cut(fd, walk.end)
        finally:
            os.close(fd)
        if last_payload:
            break
    return last_payload, end, cut_bytes


def _cut(fd: int, end: int) -> tuple[int | None, int]:
    torn = os.fstat(fd).st_size - end
    if torn:
        try:
            os.ftruncate(fd, end)
            os.fdatasync(fd)
        except OSError:
            return None, 0  # the torn tail stays, as the end of a sealed segment
    return end, torn


def _is_same_boot(directory: Path) -> bool:
    return _read_text(directory / "boot_id") in (None, _read_boot_id())


def _read_boot_id() -> str:
    return _read_text(Path("/proc/sys/kernel/random/boot_id")) or "unknown"


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EACCES):
            return None
        raise


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        content = text.encode("ascii")
        if os.write(fd, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    sync_folder(path.parent)
