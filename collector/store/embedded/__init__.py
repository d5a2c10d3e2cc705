"""The Postgres that comes along: a folder goes in, a running server and its URL come out.

Our own launcher over the programs of a wheel, or of Postgres on PATH. It listens on a unix socket in a 0700
folder and nowhere else, so that whoever may enter that folder needs no password. It ends with us, whatever
ends us, and whatever a former run left (a stale lock file, a server whose supervisor was killed, shared
memory) is cleared away before the next one starts.
"""

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import psycopg

from collector.errors import StoreError
from collector.store.embedded.binaries import Binaries, OtherMajorError, find_binaries, make_runnable
from collector.store.embedded.places import (
    SYSTEM_DIR,
    Home,
    Lock,
    find_home,
    make_home,
    make_private_folder,
    make_socket_folder,
    open_in,
)
from collector.store.embedded.processes import Postmaster, clean_environment, clear_leftovers, leftover_pids

__all__ = ["EmbeddedPostgres", "running_url", "start_postgres"]

log = logging.getLogger(__name__)

USER = DATABASE = "sizewise"
READY_TIMEOUT_S = 300.0  # recovery after a kill reads the whole write-ahead log
SHARED_MEMORY_PATIENCE_S = 15.0
LOG_BYTES = 4 * 1024 * 1024

# A sidecar's settings: small, one processor at a time, quiet. Errors are logged without the statement and
# without the rows it was about. synchronous_commit stays on: the recorder's cursor rests on it.
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class EmbeddedPostgres:
    """A running server. Once it is seen to have ended it gives up its home, which may be started again."""

    def __init__(
        self, home: Home, lock: Lock, socket_dir: Path, version: str, postmaster: Postmaster
    ) -> None:
        self._lock = lock
        self.home = home.root
        self.socket_dir = socket_dir
        self.version = version
        self.url = url_of(socket_dir)
        self._postmaster = postmaster

    @property
    def pid(self) -> int:
        return self._postmaster.pid

    def is_running(self) -> bool:
        if self._postmaster.is_running():
            return True
        self._lock.release()
        return False

    def stop(self) -> None:
        """Fast shutdown: statements under way are rolled back. Returns when it is gone; may be repeated."""
        self._postmaster.stop()
        self._lock.release()


def start_postgres(
    data_dir: Path,
    *,
    socket_dir: Path | None = None,
    settings: Mapping[str, str] | None = None,
    system_dir: Path = SYSTEM_DIR,
) -> EmbeddedPostgres:
    """Start the server of `data_dir`, made if need be, and wait until it takes connections.

    Under root, where `data_dir` is closed to the account Postgres runs as, it lies below `system_dir`.
    """
    home = find_home(data_dir, system_dir)
    make_home(home)
    lock = Lock(home)
    try:
        binaries = make_runnable(_fitting_binaries(home), home.account, system_dir)
        if left := clear_leftovers(home):
            log.warning("ended what a former run left in %s: processes %s", home.root, left)
        _make_cluster(home, binaries)
        (home.cluster / "postmaster.pid").unlink(missing_ok=True)  # nothing of this cluster is alive
        sockets = make_socket_folder(home, socket_dir, system_dir)
        postmaster = _launch(home, binaries, sockets, dict(settings or {}))
    except BaseException:
        lock.release()
        raise
    server = EmbeddedPostgres(home, lock, sockets, binaries.version, postmaster)
    try:
        _make_database(server.url)
    except BaseException:
        server.stop()
        raise
    log.info(
        "postgres %s runs in %s as %s, pid %d", binaries.version, home.root, home.account.name, server.pid
    )
    return server


def running_url(data_dir: Path, *, system_dir: Path = SYSTEM_DIR) -> str | None:
    """The URL of the server that another process runs for `data_dir`, if one does."""
    home = find_home(data_dir, system_dir)
    try:
        lines = (home.cluster / "postmaster.pid").read_text("utf-8").splitlines()
    except OSError:
        return None
    if len(lines) < 8 or int(lines[0]) not in leftover_pids(home)[0] or lines[7].strip() != "ready":
        return None
    return url_of(Path(lines[4]))


def url_of(socket_dir: Path, database: str = DATABASE) -> str:
    return f"postgresql://{USER}@/{quote(database)}?host={quote(os.fsencode(socket_dir), safe='/')}&port=5432"


def _fitting_binaries(home: Home) -> Binaries:
    try:
        there = (home.cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return find_binaries()
    try:
        return find_binaries(int(there))
    except OtherMajorError as error:
        raise StoreError(
            f"the database in {home.cluster} was made by Postgres {there}, but here is "
            f"{' and '.join(error.versions)}: install Postgres {there} on PATH to run it as it is, or dump "
            f"it with pg_dump of {there}, move the folder away, and load the dump into a new one"
        ) from None


def _make_cluster(home: Home, binaries: Binaries) -> None:
    """Under another name until it is whole: a kill in the midst leaves nothing that looks like a cluster."""
    if home.cluster.exists():
        return
    new = home.root / "cluster.new"
    shutil.rmtree(new, ignore_errors=True)
    make_private_folder(new, home.account)
    command = [str(binaries.folder / "initdb"), "-D", str(new), "-U", USER, "-E", "UTF8", "--data-checksums"]
    command += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
    if binaries.major >= 17:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        command += ["--locale=C"]
    done = subprocess.run(
        command, capture_output=True, check=False, cwd="/", env=clean_environment(), umask=0o077,
        **home.account.popen_options(),
    )  # fmt: skip
    if done.returncode != 0:
        text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise StoreError(f"can't make a database in {home.root}: {text}")
    new.rename(home.cluster)


def _launch(home: Home, binaries: Binaries, sockets: Path, settings: dict[str, str]) -> Postmaster:
    """Start until it takes connections. A killed server's memory may stay in use for a moment: try again."""
    quoted = '"' + str(sockets).replace('"', '""') + '"'
    ours = SETTINGS | ({"io_method": "sync"} if binaries.major >= 18 else {}) | settings
    ours |= {"cluster_name": home.tag, "unix_socket_directories": quoted}
    command = [str(binaries.folder / "postgres"), "-D", str(home.cluster)]
    command += [word for name, value in ours.items() for word in ("-c", f"{name}={value}")]
    give_up_at = time.monotonic() + SHARED_MEMORY_PATIENCE_S
    while True:
        with _open_log(home) as output:
            begin = output.tell()
            postmaster = Postmaster(command, home.account, output)
        if _await_ready(home, postmaster):
            return postmaster
        said = _read_log(home.log, begin)
        if "shared memory block" not in said or time.monotonic() > give_up_at:
            raise StoreError(
                f"Postgres did not start in {home.root} (exit code {postmaster.exit_code}); its log "
                f"{home.log} ends with: {said[-2000:] or 'nothing'}"
            )
        time.sleep(0.2)


def _await_ready(home: Home, postmaster: Postmaster) -> bool:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            lines = (home.cluster / "postmaster.pid").read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
        if len(lines) >= 8 and lines[0] == b"%d" % postmaster.pid and lines[7].strip() == b"ready":
            return True
        if postmaster.wait(0.01):
            return False
    postmaster.stop()
    return False


def _open_log(home: Home) -> BinaryIO:
    if home.log.exists() and home.log.stat().st_size > LOG_BYTES:
        home.log.replace(home.log.with_suffix(".log.1"))
    return os.fdopen(open_in(home, home.log, os.O_WRONLY | os.O_APPEND), "ab")


def _read_log(path: Path, begin: int) -> str:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read().decode("utf-8", "replace").strip()


def _make_database(url: str) -> None:
    """initdb makes no database of our name. Asking for it also proves that it takes connections."""
    with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if known is None:
            connection.execute("CREATE DATABASE sizewise")
