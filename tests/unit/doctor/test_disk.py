import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.doctor.disk import LEAST_INODES, DiskFact, days_left, gather, judge

GIB = 1024**3
Tmpfs = Callable[..., Path]


def fact(free: int, rate: float | None = None, keeps: int | None = None, held: float = 0) -> DiskFact:
    return DiskFact("database", "/d", free, 100 * GIB, 10**6, rate, keeps, held)


def test_a_full_disk(tmpfs: Tmpfs) -> None:
    folder = tmpfs("size=80m")
    filler = folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 60 * 1024**2)
    (found,) = judge(gather("journal", folder / "journal" / "w0"))
    assert (found.code, found.severity) == ("disk.full", "problem")
    assert "20.0 MiB of 80.0 MiB are free" in found.found
    assert "`journal.dir`" in found.remedy
    filler.unlink()
    (found,) = judge(gather("journal", folder))
    assert found.code == "disk.scarce"  # 80 MiB are not many either


def test_a_disk_without_inodes(tmpfs: Tmpfs) -> None:
    folder = tmpfs(f"size=2g,nr_inodes={LEAST_INODES // 2}")
    found = judge(gather("journal", folder))
    assert [(one.code, one.severity) for one in found] == [("disk.free", "ok"), ("disk.inodes", "problem")]
    roomy = tmpfs(f"size=2g,nr_inodes={LEAST_INODES * 3}")
    assert [one.code for one in judge(gather("journal", roomy))] == ["disk.free"]


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert gather("journal", tmp_path / "a" / "b").total_bytes == gather("journal", tmp_path).total_bytes


@pytest.mark.parametrize(
    ("free", "rate", "code"),
    [
        (50 * GIB, 1.0 * GIB, "disk.free"),
        (10 * GIB, 1.0 * GIB, "disk.scarce"),
        (10 * GIB, 6.0 * GIB, "disk.soon_full"),
        (10 * GIB, None, "disk.free"),
    ],
)
def test_how_long_it_lasts(free: int, rate: float | None, code: str) -> None:
    (found,) = judge(fact(free, rate, keeps=400))
    assert found.code == code
    assert found.values["days_left"] == (free / rate if rate else None)


def test_what_is_dropped_makes_room_for_what_comes() -> None:
    assert days_left(fact(10 * GIB, GIB, keeps=30, held=29)) is None
    assert days_left(fact(10 * GIB, GIB, keeps=30, held=3)) == 10


def test_the_remedy_of_a_database_that_grows_is_a_setting() -> None:
    (found,) = judge(fact(10 * GIB, 6.0 * GIB, keeps=400))
    assert "fewer days than 400 with `database.retention_days`" in found.remedy
    (mended,) = judge(fact(10 * GIB, 6.0 * GIB, keeps=1))
    assert mended.severity == "ok"
