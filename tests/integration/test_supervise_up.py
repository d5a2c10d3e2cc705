"""The real processes together, as `sizewise up --simulate` runs them, and the commands beside them."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.errors import SizewiseError
from collector.supervise import Status, read_status

ROOT = Path(__file__).parents[2]
SIZEWISE = [sys.executable, "-c", "from collector.cli import main; main()"]
GIVE_UP_S = 60.0


def environ(state_dir: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIZEWISE_")}
    return {**kept, "PYTHONPATH": str(ROOT), "SIZEWISE_STATE_DIR": str(state_dir), **more}


def sizewise(state_dir: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SIZEWISE, *arguments],
        env=environ(state_dir, **more),
        cwd=state_dir.parent,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
    )


def until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + GIVE_UP_S
    while True:
        try:
            if true():
                return
        except (SizewiseError, OSError, ValueError):
            pass
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def state_dir(open_dir: Path) -> Path:
    return open_dir / "state"


@pytest.fixture
def up(state_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    addresses = {f"SIZEWISE_{kind}__LISTEN": "127.0.0.1:0" for kind in ("RELAY", "WEB", "RECORD")}
    command = [*SIZEWISE, "up", "--simulate"]
    popen = subprocess.Popen(
        command,
        env=environ(state_dir, **addresses),
        cwd=state_dir.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield popen
    popen.send_signal(signal.SIGTERM)
    try:
        popen.communicate(timeout=GIVE_UP_S)
    finally:
        popen.kill()


def status(state_dir: Path) -> Status:
    return read_status(state_dir / "run/status.json")


def chat(address: str) -> dict[str, object]:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(
        f"http://{address}/v1/chat/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=GIVE_UP_S) as reply:
        return dict(json.load(reply))


def test_a_call_through_up_ends_in_the_report(up: "subprocess.Popen[str]", state_dir: Path) -> None:
    until(lambda: {process.kind for process in status(state_dir).processes} >= {"relay", "record", "web"})
    relay = status(state_dir).addresses["relay"]
    until(lambda: chat(relay))

    def report() -> list[dict[str, object]]:
        done = sizewise(state_dir, "report", "--format", "json", "--by", "model,environment")
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout)["rows"])

    until(lambda: [row for row in report() if row["environment"] == "simulated" and row["cost_usd"]])
    (journal,) = json.loads(sizewise(state_dir, "journal", "status", "--json").stdout)["journals"]
    assert journal["locked"]
    assert sizewise(state_dir, "reload").returncode == 0
    assert all(process.restarts == 0 for process in status(state_dir).processes)
    up.send_signal(signal.SIGINT)
    screen, _ = up.communicate(timeout=GIVE_UP_S)
    assert up.returncode == 0
    assert f"curl http://{relay}/v1/chat/completions" in screen
    assert status(state_dir).state == "stopped"
    assert report()  # from the embedded Postgres, started for this one command


def test_migrate_makes_a_ledger_that_a_report_can_read(empty_database_url: str, state_dir: Path) -> None:
    database = {"SIZEWISE_DATABASE_URL": empty_database_url}
    before = sizewise(state_dir, "report", **database)
    assert before.returncode == 1
    assert "run `sizewise migrate`" in before.stderr
    assert sizewise(state_dir, "migrate", **database).returncode == 0
    after = sizewise(state_dir, "report", "--month", "2026-02", **database)
    assert after.returncode == 0
    assert "No calls in this period." in after.stdout
    wrong = sizewise(state_dir, "report", "--month", "2026-13", **database)
    assert wrong.returncode == 1
    assert "2026-13" in wrong.stderr
    assert sizewise(state_dir, "report", "--format", "pdf", **database).returncode == 2
