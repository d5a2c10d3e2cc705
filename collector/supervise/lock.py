"""At most one supervisor runs a kind of process for a state_dir: two would fight over journals and sockets.

The lock is the kernel's (flock): it goes with the process that holds it, however that one ends.
"""

import fcntl
import os
from pathlib import Path

from collector.errors import SizewiseError


class Locks:
    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "run"
        self._state_dir = state_dir
        self._held: list[int] = []

    def take(self, name: str, command: str) -> None:
        holder = self._try(name, command)
        if holder:
            raise SizewiseError(
                f"{holder} is running already for {self._state_dir}, {name} included. Stop it first, or give "
                "this one a state of its own: SIZEWISE_STATE_DIR=/another/folder."
            )

    def is_free(self, name: str, command: str) -> bool:
        """Takes it when it is."""
        return not self._try(name, command)

    def release(self) -> None:
        while self._held:
            os.close(self._held.pop())

    def _try(self, name: str, command: str) -> str:
        """Empty when taken, else who holds it."""
        path = self._folder / f"{name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            return holder or "Another supervisor"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"`sizewise {command}` (pid {os.getpid()})\n".encode(), 0)
        self._held.append(descriptor)
        return ""


def is_held(state_dir: Path, name: str) -> bool:
    """Whether somebody runs this kind now. Takes the lock for a moment when nobody does."""
    try:
        descriptor = os.open(state_dir / "run" / f"{name}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def make_folder(path: Path, mode: int = 0o700) -> None:
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as problem:
        raise SizewiseError(
            f"{path} can't be made: {problem.strerror}. "
            "Choose another place with `state_dir` in sizewise.yaml or SIZEWISE_STATE_DIR=/a/folder."
        ) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise SizewiseError(f"{path} can't be written to by this user (uid {os.geteuid()}).")
