"""The ways to kill: at any moment, and at the moments in which a careless design loses or doubles a call.

Each takes the stage and the dice, kills once, and returns when what died was replaced.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.harness.load import Load
from benchmarks.harness.product import Product, is_alive, wait_until

RECORD = "SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE application_name = 'sizewise record'"
WATCH_S = 20.0  # a record that was just killed waits before it comes back
COMMIT_S = 0.1


@dataclass
class Stage:
    product: Product
    log: Path  # the client's

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Right after a kill the database may still be coming back."""

        def attempt() -> "psycopg.Connection[tuple[object, ...]] | None":
            with suppress(psycopg.Error):
                return psycopg.connect(self.product.database_url, autocommit=True)
            return None

        found = wait_until("the database answers", attempt, pause_s=0.1)
        assert isinstance(found, psycopg.Connection)
        return found


Kill = Callable[[Stage, random.Random], None]


def kill_any_time(kind: str) -> Kill:
    def kill(stage: Stage, rng: random.Random) -> None:
        time.sleep(rng.random() * 0.4)
        stage.product.wait_for(kind, other_than=stage.product.kill(kind))

    return kill


def kill_relay_at_end(stage: Stage, rng: random.Random) -> None:
    """The client kills the worker as soon as it has read [DONE]."""
    before = stage.product.wait_for("relay")
    options = ("--calls", "1", "--kinds", "chat_stream", "--kill-at-end", str(stage.product.status_file))
    Load(stage.product.relay, stage.log, seed=rng.random(), clients=1, options=options).start().wait()
    stage.product.wait_for("relay", other_than=before)


def kill_relay_before_end(stage: Stage, rng: random.Random) -> None:
    """The upstream kills the worker just after it has sent [DONE]: while it is written down and passed on."""
    before = stage.product.wait_for("relay")
    options = ("--calls", "1", "--kinds", rng.choice(["chat_stream", "chat"]), "--model", "doomed")
    Load(stage.product.relay, stage.log, seed=rng.random(), clients=1, options=options).start().wait()
    stage.product.wait_for("relay", other_than=before)


@contextmanager
def record_between_copy_and_commit(stage: Stage) -> Iterator[None]:
    """Its rows are in, its rollups wait for a lock that we hold."""
    with stage.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE rollup_days IN SHARE MODE")
        with stage.connect() as watcher:
            wait_for_event(watcher, "Lock", "relation")
        yield
        with suppress(psycopg.OperationalError):  # it may be the database that was killed
            connection.execute("SELECT 1")


def kill_record_before_commit(stage: Stage, rng: random.Random) -> None:
    with record_between_copy_and_commit(stage):
        pid = stage.product.kill("record")
    stage.product.wait_for("record", other_than=pid)


def kill_database_before_commit(stage: Stage, rng: random.Random) -> None:
    with suppress(psycopg.OperationalError), record_between_copy_and_commit(stage):
        pid = stage.product.kill("database")
    stage.product.wait_for("database", other_than=pid)


@contextmanager
def slow_commits(stage: Stage) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """While record waits for its COMMIT to be answered there is time to do harm."""
    with stage.connect() as connection:
        connection.execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
            f"'BEGIN PERFORM pg_sleep({COMMIT_S}); RETURN NULL; END'"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER dawdle AFTER UPDATE ON cursors DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION dawdle()"
        )
        yield connection
    with stage.connect() as connection:
        connection.execute("DROP FUNCTION dawdle CASCADE")


def wait_for_event(connection: "psycopg.Connection[tuple[object, ...]]", *event: str) -> None:
    def look() -> bool:
        return event in connection.execute(RECORD).fetchall()

    wait_until(f"record waits for {event[1]}", look, WATCH_S, 0.002)


def kill_record_after_commit(stage: Stage, rng: random.Random) -> None:
    """It is committed, and record never reads the answer."""
    with slow_commits(stage) as connection:
        wait_for_event(connection, "Timeout", "PgSleep")
        pid = stage.product.wait_for("record")
        os.kill(pid, signal.SIGSTOP)
        wait_for_event(connection, "Client", "ClientRead")
        os.kill(pid, signal.SIGKILL)
    stage.product.wait_for("record", other_than=pid)


def kill_database_in_commit(stage: Stage, rng: random.Random) -> None:
    """Just before, in or just after the moment in which it becomes durable."""
    with slow_commits(stage) as connection:
        wait_for_event(connection, "Timeout", "PgSleep")
        time.sleep(COMMIT_S + rng.uniform(-0.01, 0.01))
        pid = stage.product.kill("database")
        wait_until("the database is gone", lambda: not is_alive(pid))
        stage.product.wait_for("database", other_than=pid)


def kill_supervisor(stage: Stage, rng: random.Random) -> None:
    """Everything goes with it, its sockets too; then it is started again over what was left."""
    product = stage.product
    pids = product.all_pids()
    with Load(product.relay, stage.log, seed=rng.random(), options=("--may-be-refused",)):
        time.sleep(0.3 + rng.random() * 0.4)
        product.kill_supervisor()
        wait_until(f"its children {pids} have ended", lambda: not any(map(is_alive, pids)))
    product.start()


KILLS: dict[str, Kill] = {
    "relay": kill_any_time("relay"),
    "relay, at [DONE]": kill_relay_at_end,
    "relay, before [DONE] is out": kill_relay_before_end,
    "record": kill_any_time("record"),
    "record, before its commit": kill_record_before_commit,
    "record, after its commit": kill_record_after_commit,
    "web": kill_any_time("web"),
    "database": kill_any_time("database"),
    "database, before a commit": kill_database_before_commit,
    "database, in a commit": kill_database_in_commit,
}


def stop_and_kill(pids: list[int]) -> None:
    """First silent, as a machine that hangs; then gone."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(1.0 if number == signal.SIGSTOP else 0)
