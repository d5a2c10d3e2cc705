"""The product as a user starts it, and upstreams in a process of their own. Nothing is imported into it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.product import Product, simulated_upstreams, upstreams_config, wait_until
from benchmarks.harness.verdict import read_log
from tests.conftest import make_open_dir

Record = dict[str, Any]


@pytest.fixture(scope="session")
def session_dir() -> Iterator[Path]:
    folder = make_open_dir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def session_truth(session_dir: Path) -> Path:
    """What the session's upstreams served."""
    return session_dir / "truth.jsonl"


@pytest.fixture(scope="session")
def session_upstreams(session_truth: Path) -> Iterator[str]:
    with simulated_upstreams(session_truth) as url:
        yield url


@pytest.fixture(scope="session")
def product(session_dir: Path, session_upstreams: str) -> Iterator[Product]:
    """One for all tests that break nothing."""
    with Product(session_dir, upstreams_config(session_upstreams)) as running:
        yield running


@pytest.fixture(scope="session")
def served(session_truth: Path) -> Callable[[str], Record]:
    """What the upstream knows of a reply, by the id in its body."""

    def find(reply_id: str) -> Record:
        return next(one for one in read_log(session_truth) if one["id"] == reply_id)

    return find


@pytest.fixture(scope="session")
def told(product: Product) -> Callable[[str], Record]:
    """What the ledger tells of a reply: by its id, through the API, as soon as it is there."""

    def look(reply_id: str) -> Record | None:
        found = product.query("SELECT call_id::text FROM calls WHERE response_id = %s", reply_id)
        assert len(found) <= 1
        calls = {call["call_id"]: call for call in product.get("/api/v1/calls?limit=50")["calls"]}
        return calls.get(found[0][0]) if found else None

    def tell(reply_id: str) -> Record:
        return dict(wait_until(f"{reply_id} is in the ledger", lambda: look(reply_id), 10, 0.1))

    return tell


@pytest.fixture
def truth(open_dir: Path) -> Path:
    return open_dir / "truth.jsonl"


@pytest.fixture
def upstreams(truth: Path) -> Iterator[str]:
    """Upstreams of this test alone."""
    with simulated_upstreams(truth) as url:
        yield url


@pytest.fixture
def client_log(open_dir: Path) -> Path:
    return open_dir / "client.jsonl"


@pytest.fixture
def fragile(open_dir: Path, upstreams: str) -> Iterator[Product]:
    """A product that may be broken."""
    with Product(open_dir, upstreams_config(upstreams)) as running:
        yield running
