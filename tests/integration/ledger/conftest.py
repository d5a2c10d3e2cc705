"""Calls as they come, a journal of them, and the ledger that they are written to."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.calls import make_calls
from collector.call import Call
from collector.journal import Journal
from collector.ledger.exporter import PostgresSpanExporter
from collector.ledger.prices import PriceList


@pytest.fixture
def prices() -> PriceList:
    return PriceList()


@pytest.fixture
def exporter(database_url: str, prices: PriceList) -> Iterator[PostgresSpanExporter]:
    exporter = PostgresSpanExporter(database_url, prices.versions)
    yield exporter
    exporter.shutdown()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "w0", segment_bytes=64 * 1024, fsync_ms=100)
    yield journal
    journal.close()


@pytest.fixture
def varied_calls() -> Any:
    def make(count: int, seed: int = 1, days: int = 3) -> list[Call]:
        return make_calls(count, random.Random(seed), now_ns=time.time_ns(), days=days)

    return make
