"""Where the embedded Postgres lives: its home, the cluster and the socket folder in it, and its lock.

A home is ours (under root: root's), with a `cluster` and a `socket` folder inside that belong to the
account Postgres runs as, both 0700. So nothing that runs as that account can put a link where root writes.

Invariants
- Folders above a home are never changed. Where one is closed to the account, the home lies elsewhere.
- Whoever holds the home's lock is the only one to start or stop a Postgres in it; the lock ends with its
  process, however that ends.
"""

import fcntl
import hashlib
import logging
import os
import stat
from pathlib import Path
from typing import NamedTuple

from collector.errors import StoreError
from collector.store.embedded.accounts import Account, choose_account, closed_to

log = logging.getLogger(__name__)

SYSTEM_DIR = Path("/var/lib/sizewise")
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path, less its closing zero


class Home(NamedTuple):
    root: Path
    account: Account

    @property
    def cluster(self) -> Path:
        return self.root / "cluster"

    @property
    def log(self) -> Path:
        return self.root / "postgres.log"

    @property
    def tag(self) -> str:
        """Marks every process of this cluster, in its title."""
        return f"sizewise-{digest(self.root)}"


def digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def find_home(data_dir: Path, system_dir: Path = SYSTEM_DIR) -> Home:
    """`data_dir`; under root, where a folder on the way is closed to the account, one below `system_dir`."""
    data_dir = data_dir.expanduser().resolve()
    account = choose_account(data_dir / "cluster")
    if account.is_other and (closed := closed_to(account, data_dir)):
        other = system_dir / digest(data_dir)
        account = choose_account(other / "cluster")
        log.info("%s is closed to %s: the database of %s is in %s", closed, account.name, data_dir, other)
        return Home(other, account)
    return Home(data_dir, account)


def make_home(home: Home) -> None:
    try:
        if home.account.is_other:
            make_open_folder(home.root)
        else:
            home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"can't make the database's folder {home.root}: {error.strerror}; make it yourself, choose "
            "another one, or set database.url to a Postgres of your own"
        ) from error
    owner = home.cluster.stat().st_uid if home.cluster.exists() else home.account.uid
    if owner != home.account.uid:
        raise StoreError(
            f"{home.cluster} belongs to uid {owner}, but Postgres is to run as {home.account.name} "
            f"(uid {home.account.uid}): run Sizewise as its owner, or choose another folder"
        )


def make_open_folder(folder: Path) -> None:
    """With those above it that are missing, so that every account may pass through (not list nor write)."""
    if not folder.exists():
        make_open_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)


def make_private_folder(folder: Path, account: Account) -> None:
    """0700 and the account's own. A folder that someone else put there is refused."""
    made = not folder.is_symlink() and not folder.exists()
    if made:
        folder.mkdir(mode=0o700)
        os.chown(folder, account.uid, account.gid if account.is_other else -1)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid:
        raise StoreError(f"{folder} is not a folder of {account.name}: remove it, or choose another one")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def make_socket_folder(home: Home, wanted: Path | None, system_dir: Path = SYSTEM_DIR) -> Path:
    """In the home; where that makes too long a name for a socket, a short one. `wanted` has the last word."""
    if wanted is not None:
        wanted = wanted.absolute()
        if not _fits(wanted):
            raise StoreError(
                f"the socket folder {wanted} is too long: at most "
                f"{SOCKET_PATH_BYTES - len(SOCKET_NAME) - 1} bytes, and no comma"
            )
    folder = wanted or home.root / "socket"
    if not _fits(folder) or closed_to(home.account, folder.parent):
        folder = _short_folder(home, system_dir)
    make_private_folder(folder, home.account)
    return folder


def _fits(folder: Path) -> bool:
    """libpq takes a comma for the end of a host's name."""
    name = os.fsencode(folder / SOCKET_NAME)
    return len(name) <= SOCKET_PATH_BYTES and b"," not in name


def _short_folder(home: Home, system_dir: Path) -> Path:
    if home.account.is_other:
        make_open_folder(system_dir)
        return system_dir / f"socket-{digest(home.root)}"
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    short = runtime / home.tag
    if runtime.is_absolute() and runtime.is_dir() and _fits(short):
        return short
    return Path("/tmp") / f"{home.tag}-{home.account.uid}"  # noqa: S108 - checked to be ours, 0700


def open_in(home: Home, path: Path, flags: int) -> int:
    """A file of the home's owner, 0600. Root may run a user's home: it follows no link and leaves the file
    to that user, who could not start again otherwise."""
    file = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = home.root.stat()
        os.fchown(file, owner.st_uid, owner.st_gid)
    return file


class Lock:
    def __init__(self, home: Home) -> None:
        self._path = home.root / "lock"
        try:
            self._file = open_in(home, self._path, os.O_RDWR)
        except OSError as error:
            raise StoreError(f"can't open {self._path}: {error.strerror}; run as its owner") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise StoreError(
                f"the database in {home.root} is already run by process {holder}: stop that one, or give "
                "this one another folder or a database.url"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
