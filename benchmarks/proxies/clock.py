"""CPU and memory of processes that are not ours: a process id enters, seconds or megabytes leave."""

import os
import time
from pathlib import Path

_IDLE_S = 0.003  # of CPU in a tenth of a second
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of all their threads, to the nanosecond where the kernel tells (schedstat)."""
    return sum(_thread_seconds(task) for pid in pids for task in _tasks(pid))


def memory_mb(pid: int) -> float:
    """Resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for task in _tasks(pid):
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def wait_until_idle(pids: list[int], patience_s: float = 10.0) -> None:
    """So that one phase is not charged for another."""
    give_up_s = time.monotonic() + patience_s
    while time.monotonic() < give_up_s:
        before = cpu_seconds(pids)
        time.sleep(0.1)
        if cpu_seconds(pids) - before < _IDLE_S:
            return


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return []


def _thread_seconds(task: Path) -> float:
    try:
        ran_ns = int((task / "schedstat").read_text().split()[0])
        if ran_ns:
            return ran_ns / 1e9
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
