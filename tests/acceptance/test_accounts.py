"""As an ordinary user, with a home of its own: the product starts, serves, records and leaves nothing.

As root it runs in all other tests here when root runs them; there Postgres is somebody else's process.
"""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.load import Load
from benchmarks.harness.product import Product, is_alive, upstreams_config
from benchmarks.harness.verdict import judge

SEED = 80
CHECKOUT = Path(__file__).parents[2]
NEEDED = "import collector.cli, msgspec, psycopg, pydantic, sqlalchemy, uvloop"


@pytest.fixture
def nobody() -> pwd.struct_passwd:
    if os.geteuid():
        pytest.skip("only root can start it as somebody else; all other tests ran as this ordinary user")
    return pwd.getpwnam("nobody")


@pytest.fixture
def readable_checkout(open_dir: Path) -> Path:
    """What the product is made of, where everybody may read it."""
    copy = open_dir / "checkout"
    for name in ("collector", "migrations"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", copy)  # by which a checkout is known
    copy.chmod(0o755)
    return copy


@pytest.fixture
def their_environ(open_dir: Path, nobody: pwd.struct_passwd, readable_checkout: Path) -> dict[str, str]:
    home = open_dir / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    packages = (str(readable_checkout), sysconfig.get_path("purelib"))
    return {"HOME": str(home), "PYTHONPATH": os.pathsep.join(packages), "PATH": os.environ["PATH"]}


@pytest.fixture
def their_python(their_environ: dict[str, str], nobody: pwd.struct_passwd) -> str:
    """An interpreter of this version that they may run, and that finds what is installed here."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    usual = (f"{folder}/{version}" for folder in ("/usr/local/bin", "/usr/bin", "/opt/python/bin"))
    for python in (sys.executable, os.path.realpath(sys.executable), *usual):
        try:
            ran = subprocess.run(
                [python, "-c", NEEDED], env=their_environ, user=nobody.pw_uid, group=nobody.pw_gid,
                extra_groups=[], cwd="/", capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if not ran.returncode:
            return python
    pytest.skip(f"nobody can run no {version} here that finds the installed packages")


@pytest.fixture
def theirs(
    open_dir: Path,
    upstreams: str,
    their_environ: dict[str, str],
    their_python: str,
    nobody: pwd.struct_passwd,
) -> Iterator[Product]:
    folder = open_dir / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    command = (their_python, "-c", "import sys; from collector.cli import main; sys.exit(main())")
    ids = (nobody.pw_uid, nobody.pw_gid)
    config = upstreams_config(upstreams)
    with Product(folder, config, command=command, environ=their_environ, account=ids) as product:
        yield product


def test_an_ordinary_user_runs_all_of_it(
    theirs: Product, nobody: pwd.struct_passwd, open_dir: Path, client_log: Path, truth: Path
) -> None:
    pids = [*theirs.all_pids(), theirs.pid("supervisor")]
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids} == {nobody.pw_uid}
    with Load(theirs.relay, client_log, seed=SEED, clients=3):
        theirs.wait_for("relay", other_than=theirs.kill("relay"))
        theirs.wait_for("record", other_than=theirs.kill("record"))
    verdict = judge(theirs, client_log, truth)
    assert verdict.is_good, (verdict, verdict.lost, verdict.doubled, verdict.wrong)
    assert verdict.ended > 20
    report = theirs.run("report", "--format", "json")
    assert report.returncode == 0, report.stderr
    strange = {path for path in theirs.state_dir.rglob("*") if path.lstat().st_uid != nobody.pw_uid}
    assert not strange
    open_to_others = {path for path in theirs.state_dir.rglob("*") if path.lstat().st_mode & 0o022}
    assert not {path for path in open_to_others if not path.is_symlink() and not path.is_socket()}
    assert theirs.stop() == 0
    assert not any(pid and is_alive(pid) for pid in pids)
