"""Where the embedded Postgres would live, for accounts and folders as they come."""

import os

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from collector.errors import StoreError
from collector.store.embedded import url_of
from collector.store.embedded.accounts import Account, closed_to
from collector.store.embedded.places import (
    SOCKET_PATH_BYTES,
    Home,
    Lock,
    digest,
    make_home,
    make_private_folder,
    make_socket_folder,
)  # fmt: skip

OURS = Account("me", os.getuid(), os.getgid())
STRANGER = Account("stranger", 54321, 54321)


def test_a_folder_is_closed_by_the_first_without_x(open_dir):
    (open_dir / "open").mkdir(mode=0o711)
    closed = open_dir / "open" / "closed"
    closed.mkdir(mode=0o700)
    (closed / "open").mkdir()
    assert closed_to(STRANGER, closed / "open" / "not yet") == closed
    assert closed_to(STRANGER, open_dir / "open" / "not yet") is None
    assert closed_to(OURS, closed / "open") is None
    closed.chmod(0o710)
    assert closed_to(STRANGER._replace(gid=closed.stat().st_gid), closed) is None
    assert closed_to(STRANGER, closed) == closed


@pytest.mark.parametrize("name", ["x" * 40, "x" * 90, "ü" * 50, "a,b"])
def test_a_socket_always_fits(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    home = Home(tmp_path / name, OURS)
    make_home(home)
    folder = make_socket_folder(home, None)
    assert len(os.fsencode(folder / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES
    assert "," not in str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert make_socket_folder(home, None) == folder
    folder.rmdir()


def test_a_private_folder_is_made_private_again(tmp_path):
    (tmp_path / "socket").mkdir(mode=0o755)
    make_private_folder(tmp_path / "socket", OURS)
    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("target", ["/tmp", "nowhere"])
def test_a_private_folder_is_never_a_link(tmp_path, target):
    (tmp_path / "socket").symlink_to(target)
    with pytest.raises(StoreError, match="is not a folder of me"):
        make_private_folder(tmp_path / "socket", OURS)


def test_one_holder_at_a_time(tmp_path):
    home = Home(tmp_path, OURS)
    first = Lock(home)
    with pytest.raises(StoreError, match=f"already run by process {os.getpid()}"):
        Lock(home)
    first.release()
    first.release()
    Lock(home).release()


def test_homes_differ(tmp_path):
    assert digest(tmp_path / "a") != digest(tmp_path / "b")


@pytest.mark.parametrize("name", ["plain", "with space", "ü%20?#&=+'\"", "@host:1/x"])
def test_libpq_and_sqlalchemy_read_the_url_alike(tmp_path, name):
    url = url_of(tmp_path / name)
    wanted = {"user": "sizewise", "dbname": "sizewise", "host": str(tmp_path / name), "port": "5432"}
    assert conninfo_to_dict(url) == wanted
    assert make_url(url).translate_connect_args(username="user", database="dbname") == {
        "user": "sizewise",
        "dbname": "sizewise",
    }
    assert dict(make_url(url).query) == {"host": str(tmp_path / name), "port": "5432"}
