"""The disks under the journal and the database: how much is free, and for how many days that will do.

The rate is what was written, not what was promised: the size of the last days' calls in the database. The
journal is emptied as record follows, so it has no rate of its own.
"""

import os
from pathlib import Path

import msgspec

from collector.doctor.finding import Finding, ok, problem, shown_bytes, warning

LEAST_FREE_BYTES = 64 * 1024**2
SCARCE_BYTES = 1024**3
LEAST_INODES = 1000
LEAST_DAYS, SCARCE_DAYS = 2.0, 14.0
SETTINGS = {"journal": "journal.dir", "database": "database.data_dir"}


class DiskFact(msgspec.Struct, frozen=True):
    holds: str  # "journal" or "database"
    path: str
    free_bytes: int
    total_bytes: int
    free_inodes: int | None = None  # None where the file system doesn't count them
    bytes_a_day: float | None = None  # what comes to it; None where that is not known
    keeps_days: int | None = None  # after so many days as much is dropped as comes
    held_days: float = 0.0  # how many days lie there already


def gather(holds: str, path: Path) -> DiskFact:
    """Of a folder that isn't there yet: the disk where it will be."""
    there = next(folder for folder in (path, *path.parents) if _is_folder(folder))
    disk = os.statvfs(there)
    return DiskFact(
        holds=holds,
        path=str(path),
        free_bytes=disk.f_bavail * disk.f_frsize,
        total_bytes=disk.f_blocks * disk.f_frsize,
        free_inodes=disk.f_favail if disk.f_files else None,
    )


def with_growth(fact: DiskFact, bytes_a_day: float | None, keeps_days: int, held_days: float) -> DiskFact:
    return msgspec.structs.replace(fact, bytes_a_day=bytes_a_day, keeps_days=keeps_days, held_days=held_days)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def days_left(fact: DiskFact) -> float | None:
    """None: for ever, or not known. Beyond what is kept nothing more is added."""
    if not fact.bytes_a_day:
        return None
    days = fact.free_bytes / fact.bytes_a_day
    if fact.keeps_days is not None and fact.held_days + days >= fact.keeps_days:
        return None
    return days


def judge(fact: DiskFact) -> list[Finding]:
    found = [_judge_bytes(fact)]
    if fact.free_inodes is not None and fact.free_inodes < LEAST_INODES:
        text = f"only {fact.free_inodes:,} files more can be made where {fact.path} lies (inodes)"
        why = f"The {fact.holds} makes new files; without inodes it can't, however much space is free."
        remedy = f"delete small files there (`df -i {fact.path}`), or move it: `{SETTINGS[fact.holds]}`"
        found.append(problem("disk.inodes", text, why, remedy, fact.holds, free_inodes=fact.free_inodes))
    return found


def _judge_bytes(fact: DiskFact) -> Finding:
    days = days_left(fact)
    free, total = shown_bytes(fact.free_bytes), shown_bytes(fact.total_bytes)
    text = f"{free} of {total} are free where {fact.path} lies"
    if days is not None:
        rate = f"{shown_bytes(fact.bytes_a_day or 0)} a day"
        text += f"; at {rate} they last about {days:,.0f} days"
    about, values = fact.holds, {"path": fact.path, "free_bytes": fact.free_bytes, "days_left": days}
    why = {
        "journal": "A full journal stops no call, but calls pass unrecorded.",
        "database": "A full database takes no more calls; they wait in the journal.",
    }[fact.holds]
    remedy = f"free some space there, or move it to a larger disk with `{SETTINGS[fact.holds]}`"
    if fact.holds == "database" and days is not None:
        remedy += f", or keep fewer days than {fact.keeps_days} with `database.retention_days`"
    if fact.free_bytes < LEAST_FREE_BYTES:
        return problem("disk.full", text, why, remedy, about, **values)
    if days is not None and days < LEAST_DAYS:
        return problem("disk.soon_full", text, why, remedy, about, **values)
    if fact.free_bytes < SCARCE_BYTES or (days is not None and days < SCARCE_DAYS):
        return warning("disk.scarce", text, why, remedy, about, **values)
    return ok("disk.free", text, about, **values)
