"""A seeded ledger, and the application that reads it, its clock standing still in mid-month."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from collector.config import Config
from collector.web.app import make_app

NOW = datetime(2026, 11, 21, 15, 42, tzinfo=UTC)
ZONE = "Asia/Kathmandu"  # its days begin at 18:15 UTC: whatever is aligned to UTC shows


@pytest.fixture(scope="session")
def seeding() -> ModuleType:
    spec = importlib.util.spec_from_file_location("web_seeding", Path(__file__).parent / "seeding.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[Callable[[str], TestClient]]:
    opened: list[TestClient] = []

    def make(url: str) -> TestClient:
        client = TestClient(app_for(url, tmp_path), base_url="http://127.0.0.1:4001")
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def app_for(url: str, state_dir: Path) -> FastAPI:
    journal = state_dir / "journal"
    journal.mkdir(exist_ok=True)
    config = Config.model_validate({"state_dir": state_dir, "database": {"url": url}})
    return make_app(config, clock=lambda: NOW)


@pytest.fixture
def ledger(database_url: str, seeding: ModuleType) -> Iterator[psycopg.Connection[Any]]:
    calls = seeding.make_calls(1200, datetime(2026, 10, 25, tzinfo=UTC), NOW)
    with psycopg.connect(database_url) as connection:
        seeding.insert_calls(connection, calls, zone=ZONE)
        yield connection


@pytest.fixture
def client(
    ledger: psycopg.Connection[tuple[object, ...]],
    database_url: str,
    make_client: Callable[[str], TestClient],
) -> TestClient:
    return make_client(database_url)
