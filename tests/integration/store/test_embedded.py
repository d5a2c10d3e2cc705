"""The embedded Postgres: how it starts, ends, and comes back after whatever may befall it or us."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from collector.errors import StoreError
from collector.store.embedded import running_url, start_postgres
from collector.store.embedded.places import find_home
from collector.store.embedded.processes import leftover_pids

CHILD = """
import sys, threading, time
from pathlib import Path
from collector.store.embedded import start_postgres
def run():
    global server
    server = start_postgres(Path(sys.argv[1]))
thread = threading.Thread(target=run)  # a thread that ends: the server must not end with it
thread.start()
thread.join()
time.sleep(0.2)
print(server.pid if server.is_running() else 0, flush=True)
if sys.argv[2] == "wait":
    time.sleep(600)
server.stop()
print("gone" if not server.is_running() else "there")
"""


@pytest.fixture
def data_dir(open_dir):
    yield open_dir / "data"
    end_all(open_dir / "data")


def end_all(data_dir):
    """Whatever a test left alive."""
    for pids in leftover_pids(find_home(data_dir)):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def ask(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement).fetchone()


def until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def start_child(data_dir, what="wait", **options):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data_dir), what],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3], **options,
    )  # fmt: skip


def test_what_was_written_is_there_after_a_stop(data_dir):
    first = start_postgres(data_dir)
    with psycopg.connect(first.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'Ünïcode ✓' AS x")
    assert first.is_running()
    assert not gone(first.pid)
    first.stop()
    assert not first.is_running()
    assert gone(first.pid)
    first.stop()
    second = start_postgres(data_dir)
    assert ask(second.url, "SELECT x, lower('ÄÖ') FROM kept") == ("Ünïcode ✓", "äö")
    second.stop()


def test_only_its_owner_gets_in(postgres):
    home = postgres.home
    assert (home / "cluster").stat().st_mode & 0o777 == 0o700
    assert postgres.socket_dir.stat().st_mode & 0o777 == 0o700
    assert (home / "postgres.log").stat().st_mode & 0o077 == 0
    assert psutil.Process(postgres.pid).net_connections("inet") == []
    assert psutil.Process(postgres.pid).uids().effective != 0


def test_it_does_not_see_our_environment(data_dir, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("PGPORT", "7")
    monkeypatch.setenv("PGDATA", "/nowhere")
    server = start_postgres(data_dir)
    assert "OPENAI_API_KEY" not in psutil.Process(server.pid).environ()
    assert ask(server.url, "SELECT 1") == (1,)
    server.stop()


def test_it_is_durable_and_keeps_statements_out_of_its_log(data_dir):
    server = start_postgres(data_dir)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute(f"SHOW {name}").fetchone() == ("on",)
        connection.execute("CREATE TABLE t (x text PRIMARY KEY)")
        connection.execute("INSERT INTO t VALUES ('a prompt')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO t VALUES ('a prompt')")
    server.stop()
    said = (server.home / "postgres.log").read_text()
    assert "duplicate key" in said
    assert "a prompt" not in said


def test_a_second_start_is_refused_and_harms_nothing(data_dir):
    server = start_postgres(data_dir)
    with pytest.raises(StoreError, match=rf"already run by process {os.getpid()}: stop that one"):
        start_postgres(data_dir)
    assert ask(server.url, "SELECT 1") == (1,)
    assert running_url(data_dir) == server.url
    server.stop()
    assert running_url(data_dir) is None


def test_it_outlives_the_thread_that_started_it_and_ends_when_asked(data_dir):
    child = start_child(data_dir, "stop")
    pid, told = child.communicate(timeout=60)[0].split()
    assert int(pid) > 0
    assert told == "gone"
    assert gone(int(pid))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_when_we_are_killed(data_dir, number):
    child = start_child(data_dir)
    pid = int(child.stdout.readline())
    assert pid > 0
    child.send_signal(number)
    child.communicate(timeout=10)
    until(lambda: gone(pid))
    server = start_postgres(data_dir)
    server.stop()


def test_the_next_start_waits_for_what_a_killed_supervisor_left(data_dir):
    """The postmaster gets no word of its parent's end here (the kernel's wish is undone by a stop signal)."""
    child = start_child(data_dir)
    pid = int(child.stdout.readline())
    os.kill(pid, signal.SIGSTOP)
    child.kill()
    child.communicate(timeout=10)
    assert not gone(pid)
    resume = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -CONT {pid}"])
    server = start_postgres(data_dir)
    assert gone(pid)
    assert ask(server.url, "SELECT 1") == (1,)
    server.stop()
    resume.wait()


def test_after_kill_9_of_the_postmaster_it_starts_again_in_place(data_dir):
    server = start_postgres(data_dir)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS x")
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.is_running())
    again = start_postgres(data_dir)
    assert ask(again.url, "SELECT x FROM kept") == (7,)
    again.stop()


def test_a_child_that_outlives_a_killed_postmaster_is_cleared_away(data_dir):
    """A stopped child keeps the shared memory in use, and so would keep the next server from starting."""
    server = start_postgres(data_dir)
    checkpointer = next(
        process for process in psutil.Process(server.pid).children() if "checkpointer" in process.cmdline()[0]
    )
    checkpointer.suspend()
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.is_running())
    resume = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -CONT {checkpointer.pid}"])
    again = start_postgres(data_dir)
    assert gone(checkpointer.pid)
    assert ask(again.url, "SELECT 1") == (1,)
    again.stop()
    resume.wait()


@pytest.mark.parametrize("whose", ["ours", "a zombie's", "another's"])
def test_a_stale_lock_file_stops_nothing(data_dir, whose):
    server = start_postgres(data_dir)
    lock = server.home / "cluster" / "postmaster.pid"
    text = lock.read_text()
    server.stop()
    ended = subprocess.Popen(["/bin/true"])
    other = subprocess.Popen(["/bin/sleep", "60"])
    until(lambda: gone(ended.pid))
    pid = {"ours": os.getpid(), "a zombie's": ended.pid, "another's": other.pid}[whose]
    lock.write_text(re.sub(r"\A\d+", str(pid), text))
    assert running_url(data_dir) is None
    again = start_postgres(data_dir)
    assert ask(again.url, "SELECT 1") == (1,)
    again.stop()
    ended.wait()
    assert other.poll() is None, "a process that is none of ours was ended"
    other.kill()
    other.wait()


def test_a_half_made_cluster_is_made_anew(data_dir):
    half = data_dir / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    data_dir.chmod(0o711)
    server = start_postgres(data_dir)
    assert ask(server.url, "SELECT 1") == (1,)
    assert not half.exists()
    server.stop()


def test_a_cluster_of_another_major_version_is_left_alone(data_dir):
    server = start_postgres(data_dir)
    server.stop()
    version = server.home / "cluster" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(StoreError, match=r"made by Postgres 17, but here is 18\.\d+.*pg_dump of 17"):
        start_postgres(data_dir)
    version.write_text("18\n")
    start_postgres(data_dir).stop()


def test_a_cluster_that_will_not_start_tells_what_the_log_says(data_dir):
    start_postgres(data_dir).stop()
    with pytest.raises(StoreError, match=r"did not start.*invalid value for parameter"):
        start_postgres(data_dir, settings={"shared_buffers": "much"})
    start_postgres(data_dir).stop()


@pytest.mark.parametrize(
    "name", ["with space", "Ünï-čødé-数据", 'quote\'s "and" %20 # ? & \\ back', "comma,comma", "long" * 40]
)
def test_any_folder_name_will_do(open_dir, name):
    data_dir = open_dir / name
    server = start_postgres(data_dir, system_dir=open_dir / "system")
    assert ask(server.url, "SELECT current_user, current_database()") == ("sizewise", "sizewise")
    assert running_url(data_dir) == server.url
    server.stop()


def test_a_socket_folder_that_is_too_long_is_refused(open_dir):
    with pytest.raises(StoreError, match="too long: at most 93 bytes"):
        start_postgres(open_dir / "data", socket_dir=open_dir / ("x" * 120))


def test_a_socket_folder_of_ones_own(data_dir, open_dir):
    server = start_postgres(data_dir, socket_dir=open_dir / "elsewhere")
    assert server.socket_dir == open_dir / "elsewhere"
    assert ask(server.url, "SELECT 1") == (1,)
    server.stop()
