"""The command line as a person meets it: texts and exit codes. Each run is a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from collector.cli.run import in_front_of, simulated
from collector.config import load_config, make_plan

ROOT = Path(__file__).parents[3]


def sizewise(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIZEWISE_")}
    environ = {**kept, "PYTHONPATH": str(ROOT), "SIZEWISE_STATE_DIR": str(folder / "state"), **variables}
    command = [sys.executable, "-W", "error", "-c", "from collector.cli import main; main()", *arguments]
    return subprocess.run(
        command, env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["config", "-h"], ["journal", "-h"]])
def test_help(tmp_path: Path, arguments: list[str]) -> None:
    done = sizewise(tmp_path, *arguments)
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, collector.cli; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "collector.cli" in loaded
    assert loaded.isdisjoint({"pydantic", "yaml", "asyncio", "psycopg", "sqlalchemy", "msgspec"})


def test_version(tmp_path: Path) -> None:
    done = sizewise(tmp_path, "--version")
    assert done.stdout.startswith("sizewise ")
    assert done.returncode == 0


@pytest.mark.parametrize(
    "arguments", [["watch"], ["up", "--upstrem", "x"], ["up", "--simulate", "--upstream", "x"]]
)
def test_wrong_use_is_2(tmp_path: Path, arguments: list[str]) -> None:
    done = sizewise(tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", ["up", "relay", "config check", "config show", "journal status"])
def test_a_refused_configuration_is_one_clear_text_and_1(tmp_path: Path, line: str) -> None:
    (tmp_path / "sizewise.yaml").write_text("relay: {listn: 1}\ntenant: 'a b'\n")
    done = sizewise(tmp_path, *line.split())
    assert done.returncode == 1
    assert done.stderr.startswith("sizewise: The configuration is refused: 2 problems.\n")
    assert "relay.listn (sizewise.yaml:1): no such key; did you mean listen?" in done.stderr
    assert "Traceback" not in done.stderr


def test_config_check(tmp_path: Path) -> None:
    done = sizewise(tmp_path, "config", "check")
    assert done.returncode == 0
    assert done.stdout == "The configuration is right (no file, defaults; 2 upstreams, 2 routes).\n"
    assert not (tmp_path / "state").exists()


def test_config_show_for_a_script(tmp_path: Path) -> None:
    secret = {"SIZEWISE_UPSTREAMS__OPENAI__KEY": "s3cret"}
    done = sizewise(tmp_path, "config", "show", "--json", **secret)
    assert "s3cret" not in done.stdout
    shown = json.loads(done.stdout)
    assert shown["relay.listen"] == {"value": "127.0.0.1:4000", "from": "default"}
    assert shown["upstreams.openai.key"]["from"] == "SIZEWISE_UPSTREAMS__OPENAI__KEY"
    assert shown["state_dir"]["from"] == "SIZEWISE_STATE_DIR"


def test_up_tells_a_port_that_is_taken(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = sizewise(tmp_path, "up", SIZEWISE_RELAY__LISTEN=address)
    assert done.returncode == 1
    assert f"The relay can't listen on {address}" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr


def test_up_refuses_a_bad_upstream(tmp_path: Path) -> None:
    done = sizewise(tmp_path, "up", "--upstream", "localhost:8000")
    assert done.returncode == 1
    assert "upstreams.upstream.url = 'localhost:8000' (command line): allowed is http://" in done.stderr


def test_reload_without_anything_running(tmp_path: Path) -> None:
    done = sizewise(tmp_path, "reload")
    assert done.returncode == 1
    assert "Nothing runs for" in done.stderr


def test_a_report_without_a_ledger(tmp_path: Path) -> None:
    done = sizewise(tmp_path, "report")
    assert done.returncode == 1
    assert "There is no ledger in" in done.stderr
    assert not (tmp_path / "state/postgres").exists()


def test_a_report_without_its_database(tmp_path: Path) -> None:
    done = sizewise(tmp_path, "report", SIZEWISE_DATABASE_URL="postgresql://u:s3cret@127.0.0.1:9/d")
    assert done.returncode == 1
    assert done.stderr.startswith("sizewise: The database can't be reached: ")
    assert "s3cret" not in done.stderr


def test_a_journal_that_is_not_there_yet(tmp_path: Path) -> None:
    for command in ("status", "verify"):
        done = sizewise(tmp_path, "journal", command)
        assert done.returncode == 0
        assert done.stdout.startswith("No journal in")


def test_a_bad_frame_makes_verify_fail(tmp_path: Path) -> None:
    from collector.call import Call
    from collector.journal.writer import Journal

    journal = Journal(tmp_path / "state/journal/w0", segment_bytes=1 << 20, fsync_ms=100)
    for number in range(3):
        journal.append(Call(call_id=bytes(16), started_at_ns=number))
    journal.close()
    assert sizewise(tmp_path, "journal", "verify").returncode == 0
    (segment,) = (tmp_path / "state/journal/w0").glob("*.journal")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0xFF
    segment.write_bytes(content)
    done = sizewise(tmp_path, "journal", "verify", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["journals"][0]["bad_frames"] >= 1


@pytest.mark.parametrize(
    ("url", "name", "api", "provider"),
    [
        ("http://127.0.0.1:8000", "upstream", "openai", ""),
        ("https://api.openai.com", "openai", "openai", "openai"),
        ("https://api.anthropic.com", "anthropic", "anthropic", "anthropic"),
    ],
)
def test_up_in_front_of_one_url(url: str, name: str, api: str, provider: str) -> None:
    plan = make_plan(load_config(environ={}, overrides=in_front_of(url)).config)
    (upstream,) = plan.upstreams
    assert (upstream.name, upstream.api, upstream.provider) == (name, api, provider)
    assert [route.to for route in plan.routes] == [name]


def test_simulated_calls_are_marked_as_such() -> None:
    plan = make_plan(load_config(environ={}, overrides=simulated(1234)).config)
    assert {upstream.port for upstream in plan.upstreams} == {1234}
    assert all(upstream.name.startswith("simulated-") for upstream in plan.upstreams)
    assert {route.environment for route in plan.routes} == {"simulated"}
    assert {upstream.provider for upstream in plan.upstreams} == {"openai", "anthropic", ""}
