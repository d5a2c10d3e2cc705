"""A real browser looks at the real pages. Without chromium the tests are skipped, unless REQUIRE_TOOLS=1."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import uvicorn

from collector.config import Config
from collector.web.app import make_app

NOW = datetime(2026, 11, 21, 15, 42, tzinfo=UTC)
SEEDING = Path(__file__).parents[1] / "integration" / "web" / "seeding.py"
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)

Browse = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    if os.environ.get("REQUIRE_TOOLS") == "1":
        pytest.fail("chromium is required and not installed")
    pytest.skip("chromium is not installed")


@pytest.fixture
def browse(chromium: str) -> Browse:
    def run(url: str, *options: str) -> "subprocess.CompletedProcess[str]":
        with tempfile.TemporaryDirectory(prefix="sizewise-chromium-", ignore_cleanup_errors=True) as profile:
            command = [chromium, *QUIET, f"--user-data-dir={profile}", *options, url]
            return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)

    return run


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The address of the pages over a seeded ledger, served as they are in use."""
    spec = importlib.util.spec_from_file_location("browser_seeding", SEEDING)
    assert spec
    assert spec.loader
    seeding = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = seeding
    spec.loader.exec_module(seeding)
    with psycopg.connect(database_url) as connection:
        seeding.insert_calls(connection, seeding.make_calls(800, datetime(2026, 10, 25, tzinfo=UTC), NOW))
    config = Config.model_validate({"state_dir": tmp_path, "database": {"url": database_url}})
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(config, clock=lambda: NOW), http="httptools", log_config=None, access_log=False
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=20)
    assert not thread.is_alive()
