"""Shared by all tests: one embedded Postgres a session, a fresh ledger for each test; and what a skip may be.

REQUIRE_TOOLS=1 is the gate's switch: a test that is skipped because a tool is missing fails there. Only what
the account or the kernel doesn't allow may be skipped; its reason begins with one of ALLOWED.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from collector.store.embedded import EmbeddedPostgres, start_postgres
from collector.store.embedded import url_of as embedded_url
from collector.store.schema import migrate

ALLOWED = ("only root", "every port")
numbers = count(1)
# Nothing outlives a test here, so nothing need reach the disk.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    if os.environ.get("REQUIRE_TOOLS") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped, which REQUIRE_TOOLS=1 forbids: {reason}"
    return report


def make_open_dir() -> Path:
    """In memory where there is room: making a cluster waits for the disk a hundred times."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="sizewise-", dir=memory if roomy else None))
    folder.chmod(0o711)
    return folder


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A temporary folder that other accounts may pass through (pytest's own are closed to them)."""
    folder = make_open_dir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    folder = make_open_dir()
    server = start_postgres(folder / "data", settings=NOT_DURABLE)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database that nobody is connected to."""
    _administer(postgres, "CREATE DATABASE ledger_template")
    migrate(embedded_url(postgres.socket_dir, "ledger_template"), zone="UTC")
    return "ledger_template"


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    yield from _database(postgres, "template1")


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A fresh, migrated ledger in the zone UTC, without partitions."""
    yield from _database(postgres, template)


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection to `database_url`."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def _database(postgres: EmbeddedPostgres, source: str) -> Iterator[str]:
    name = f"test_{next(numbers)}"
    _administer(postgres, f"CREATE DATABASE {name} TEMPLATE {source}")
    yield embedded_url(postgres.socket_dir, name)
    _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(postgres: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(statement.encode())
