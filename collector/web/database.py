"""The web's way into the ledger: a few read-only connections, lent out one snapshot at a time.

Invariants
- Everything one page shows comes from one snapshot (repeatable read), so that its tables sum alike.
- A connection is read-only and its statements are bounded in time: a page can't harm the recorder.
- Whatever goes wrong leaves as DatabaseDown with a text for people, never with an address or a password.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection, IsolationLevel

from collector.errors import StoreError

log = logging.getLogger(__name__)


class DatabaseDown(StoreError):  # noqa: N818  (a state of the world, and what the page then says)
    """The ledger can't be read now. `code` tells programs why, the text tells people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Database:
    def __init__(self, url: str, *, size: int = 4, wait_s: float = 5, statement_s: float = 10) -> None:
        self.url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self.wait_s = wait_s
        self.statement_ms = int(statement_s * 1000)
        self.free = threading.BoundedSemaphore(size)
        self.idle: list[Connection[Any]] = []  # a stack: the one used last is the likeliest to be alive
        self.lock = threading.Lock()
        self.closed = False

    @contextmanager
    def snapshot(self) -> Iterator[Connection[Any]]:
        if not self.free.acquire(timeout=self.wait_s):
            raise DatabaseDown("database_busy", "too many questions are waiting for the database: try again")
        try:
            connection = self.take()
            try:
                yield connection
                connection.rollback()
            except BaseException:
                connection.close()
                raise
            self.give(connection)
        except psycopg.errors.QueryCanceled:
            raise DatabaseDown(
                "took_too_long", "the question took too long: ask for a shorter time or fewer dimensions"
            ) from None
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as problem:
            log.warning("the schema does not fit: %s", type(problem).__name__)
            raise DatabaseDown(
                "schema_missing", "the database has no such tables yet: run `sizewise migrate`"
            ) from None
        except (psycopg.OperationalError, psycopg.InterfaceError) as problem:
            log.warning("the database can't be reached: %s", type(problem).__name__)
            raise DatabaseDown("database_down", "the ledger's database can't be reached") from None
        finally:
            self.free.release()

    def take(self) -> Connection[Any]:
        """An idle connection that still answers, else a new one."""
        while True:
            with self.lock:
                connection = self.idle.pop() if self.idle else None
            if connection is None:
                return self.connect()
            try:
                connection.execute("SELECT 1")
                connection.rollback()
            except psycopg.Error:
                connection.close()
            else:
                return connection

    def connect(self) -> Connection[Any]:
        if not self.url:
            raise DatabaseDown("database_down", "no database is configured: set database.url")
        connection = psycopg.connect(
            self.url,
            connect_timeout=3,
            tcp_user_timeout=5000,
            application_name="sizewise web",
            autocommit=True,
        )
        try:
            connection.execute(f"SET statement_timeout = {self.statement_ms:d}")
            connection.execute("SET timezone = 'UTC'")
            connection.autocommit = False
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.read_only = True
        except BaseException:
            connection.close()
            raise
        return connection

    def give(self, connection: Connection[Any]) -> None:
        with self.lock:
            if not self.closed:
                self.idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self.lock:
            self.closed = True
            left, self.idle = self.idle, []
        for connection in left:
            connection.close()
