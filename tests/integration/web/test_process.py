"""The web process as the supervisor starts it: an inherited socket, a config file, SIGTERM."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg


def test_it_serves_on_the_inherited_socket_and_leaves_cleanly(
    ledger: psycopg.Connection[Any], database_url: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"state_dir": str(tmp_path), "database": {"url": database_url}}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [
            sys.executable,
            "-m",
            "collector.web",
            "--config-file",
            str(config),
            "--fd",
            str(listener.fileno()),
        ]
        child = subprocess.Popen(command, pass_fds=[listener.fileno()], stderr=subprocess.PIPE)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            # The socket listens already, so the first request waits for the process instead of being refused.
            with httpx.Client(base_url=address, timeout=30) as client:
                found = client.get("/healthz")
                assert found.json() == {"status": "ok"}
                assert "server" not in found.headers
                assert client.get("/").status_code == 200
                assert client.head("/").content == b""
        finally:
            child.send_signal(signal.SIGTERM)
            _, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert errors == b""


def test_it_refuses_to_listen_to_the_network(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"state_dir": str(tmp_path), "web": {"listen": "0.0.0.0:0"}}))
    command = [sys.executable, "-m", "collector.web", "--config-file", str(config)]
    found = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert found.returncode == 1
    assert "there is no sign-in yet" in json.loads(found.stderr)["text"]


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"state_dir": str(tmp_path), "web": {"listen": "127.0.0.1:0"}}))
    parent = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], env=os.environ | {'SIZEWISE_PARENT_PID': str(os.getpid())})\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-m", "collector.web", "--config-file", str(config)]
    with subprocess.Popen(
        [sys.executable, "-c", parent, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as middle:
        assert middle.stdout
        pid = int(middle.stdout.readline())
        middle.kill()
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists() or "\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the web process outlived its parent")
