"""What runs, as one small JSON file kept current: for `doctor`, `reload`, the pages and tests. No secrets."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector.errors import SizewiseError


class ProcessStatus(msgspec.Struct, kw_only=True):
    kind: str
    index: int
    pid: int | None
    state: str
    since: float  # seconds since 1970, as all times here
    restarts: int
    last_exit: str = ""


class DatabaseStatus(msgspec.Struct, kw_only=True):
    kind: str = "none"  # embedded, shared (another supervisor's embedded one), external, none
    state: str = "none"  # starting, ready, failed, stopped, none
    problem: str = ""
    since: float = 0.0
    pid: int | None = None


class ReloadStatus(msgspec.Struct, kw_only=True):
    count: int = 0  # how many reloads were asked for; `sizewise reload` waits until it grows
    ok: bool | None = None
    text: str = ""
    at: float = 0.0


class Status(msgspec.Struct, kw_only=True):
    version: str
    pid: int
    kinds: list[str]
    state: str  # starting, running, stopping
    since: float
    config_file: str = ""
    addresses: dict[str, str] = {}  # as they are, also where port 0 was asked for
    journal_dir: str = ""
    database: DatabaseStatus = msgspec.field(default_factory=DatabaseStatus)
    processes: list[ProcessStatus] = []
    reload: ReloadStatus = msgspec.field(default_factory=ReloadStatus)


def write_status(status: Status, path: Path) -> None:
    """Atomically, so that a reader never sees half of it."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(status), indent=2) + b"\n")
    temporary.replace(path)


def read_status(path: Path) -> Status:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except OSError as problem:
        raise SizewiseError(f"No status at {path} ({problem.strerror}): nothing runs there.") from None
    except msgspec.DecodeError as problem:
        raise SizewiseError(f"{path} is no status of this version of Sizewise: {problem}") from None


def run_folder(state_dir: Path, kinds: frozenset[str], every_kind: frozenset[str]) -> Path:
    """`up` keeps its files in run/; a kind that runs alone has a folder of its own below it."""
    return state_dir / "run" if kinds == every_kind else state_dir / "run" / "+".join(sorted(kinds))


def find_run_folder(
    state_dir: Path, every_kind: frozenset[str], is_running: Callable[[str], bool]
) -> Path | None:
    """The folder of what runs: of `up`, else of a kind that runs alone; None when nothing does."""
    running = sorted(kind for kind in every_kind if is_running(kind))
    sets = [every_kind] if len(running) == len(every_kind) else [frozenset({kind}) for kind in running]
    folders = [run_folder(state_dir, kinds, every_kind) for kinds in sets]
    return next((folder for folder in folders if (folder / "status.json").is_file()), None)
