"""A file mapped into memory, whole and with room on the disk. Enters: a path and a size. Leaves: the mapping.

Storing into a mapped page for which the disk has no room kills the process (SIGBUS), and no call may end for
that. So the room is taken before; where there is none, the caller hears of it and goes on without the file.
"""

import mmap
import os
from contextlib import suppress
from pathlib import Path


def map_file(path: Path, size: int) -> mmap.mmap | None:
    """Of zeros; a former file of that name is gone in any case. None: the disk won't have it."""
    try:
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        os.posix_fallocate(fd, 0, size)
        return mmap.mmap(fd, size)
    except OSError:
        with suppress(OSError):
            path.unlink()
        return None
    finally:
        os.close(fd)
