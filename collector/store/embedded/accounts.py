"""As whom Postgres runs: as ourselves, or, since it refuses root, under root as an unprivileged account.

An existing cluster belongs to whoever made it, and Postgres runs as that account again: the same ledger
is found whether the product is started by its user or, later, by root.
"""

import os
import pwd
import stat
from pathlib import Path
from typing import Any, NamedTuple

from collector.errors import StoreError

USER_VARIABLE = "SIZEWISE_POSTGRES_USER"


class Account(NamedTuple):
    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """True when we are root and step down to this account."""
        return self.uid != os.geteuid()

    def popen_options(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_other else {}


def choose_account(cluster: Path) -> Account:
    """Ourselves; under root the one SIZEWISE_POSTGRES_USER names, else the cluster's owner, else nobody."""
    if os.geteuid() != 0:
        return named_account(str(os.geteuid()))
    wanted = os.environ.get(USER_VARIABLE, "")
    owner = cluster.stat().st_uid if cluster.exists() else 0
    account = named_account(wanted or (str(owner) if owner else "nobody"))
    if account.uid == 0:
        raise StoreError(f"{USER_VARIABLE}={wanted}: Postgres refuses to run as root; name another account")
    return account


def named_account(name: str) -> Account:
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    except KeyError:
        if name.isdigit():
            raise StoreError(
                f"user id {name} has no entry in /etc/passwd, which Postgres wants in order to make a "
                "database: give it one, run as another user, or set database.url"
            ) from None
        raise StoreError(
            f"{USER_VARIABLE}={name}: there is no such account; name an existing unprivileged one"
        ) from None


def closed_to(account: Account, path: Path) -> Path | None:
    """The first folder on the way to `path` that `account` may not enter, if any. Nothing is changed."""
    path = path.absolute()
    for folder in [*reversed(path.parents), path]:
        try:
            status = folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None  # we make it ourselves, or say that we can't
        except PermissionError:
            return folder
        if stat.S_ISDIR(status.st_mode) and not _may(account, status, 0o1):
            return folder
    return None


def may_run(account: Account, program: Path) -> bool:
    """Whether `account` may run `program` and read what lies in the folders beside it."""
    for needed in (program, program.parent.parent, program.parent.parent / "share"):
        if closed_to(account, needed if needed.is_dir() else needed.parent) is not None:
            return False
        if needed.exists() and not _may(account, needed.stat(), 0o5):
            return False
    return True


def _may(account: Account, status: os.stat_result, bits: int) -> bool:
    if status.st_uid == account.uid:
        shift = 6
    elif status.st_gid == account.gid:
        shift = 3
    else:
        shift = 0
    return (status.st_mode >> shift) & bits == bits
