"""`sizewise doctor` as a person runs it: beside nothing, beside what is broken, beside the whole product."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.doctor.examine import GROUPS
from collector.errors import SizewiseError
from collector.simulator.launch import start_simulator
from collector.supervise import Status, read_status

ROOT = Path(__file__).parents[3]
SIZEWISE = [sys.executable, "-W", "error", "-c", "from collector.cli import main; main()"]
GIVE_UP_S = 60.0


def environ(state_dir: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIZEWISE_")}
    anywhere = {f"SIZEWISE_{kind}__LISTEN": "127.0.0.1:0" for kind in ("RELAY", "WEB", "RECORD")}
    return {**kept, "PYTHONPATH": str(ROOT), "SIZEWISE_STATE_DIR": str(state_dir), **anywhere, **more}


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


def doctor(state_dir: Path, *arguments: str, **more: str) -> tuple[int, list[dict[str, Any]]]:
    done = sizewise(state_dir, "doctor", "--json", *arguments, **more)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def bad(found: list[dict[str, Any]]) -> list[str]:
    return [one["code"] for one in found if one["severity"] != "ok"]


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
def up(state_dir: Path) -> Iterator[Status]:
    with running(state_dir, "--simulate") as status:
        yield status


@contextmanager
def running(state_dir: Path, *arguments: str, processes: int = 4, **more: str) -> Iterator[Status]:
    popen = subprocess.Popen(
        [*SIZEWISE, "up", *arguments],
        env=environ(state_dir, **more),
        cwd=state_dir.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path = state_dir / "run/status.json"

    def is_up() -> bool:
        status = read_status(path)
        return status.database.state == "ready" and len(status.processes) == processes

    try:
        until(is_up)
        yield read_status(path)
    finally:
        popen.send_signal(signal.SIGTERM)
        try:
            popen.wait(GIVE_UP_S)
        finally:
            popen.kill()
            popen.wait()


def chat(relay: str, model: str) -> None:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    request = urllib.request.Request(
        f"http://{relay}/v1/chat/completions", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=GIVE_UP_S) as reply:
        assert reply.status == 200


def one_upstream(folder: Path, url: str) -> dict[str, str]:
    file = folder / "sizewise.yaml"
    file.write_text(f"upstreams: {{only: {{url: '{url}'}}}}\n")
    return {"SIZEWISE_CONFIG": str(file)}


def test_beside_nothing(state_dir: Path) -> None:
    with start_simulator() as simulator:
        config = one_upstream(state_dir.parent, simulator.url)
        code, found = doctor(state_dir, **config)
        assert (code, bad(found)) == (0, [])
        groups = [one["code"].partition(".")[0] for one in found]
        assert groups == sorted(groups, key=GROUPS.index)
        assert "schema" not in groups  # there is no database to ask
    assert not state_dir.exists()  # looking makes nothing
    code, found = doctor(state_dir, **config)
    assert (code, bad(found)) == (1, ["upstreams.unreachable"])


def test_text_is_plain_where_nobody_watches(state_dir: Path) -> None:
    with start_simulator() as simulator:
        done = sizewise(state_dir, "doctor", **one_upstream(state_dir.parent, simulator.url))
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    assert re.search(r"\n0 problems, 0 warnings, \d+ ok\.\n$", done.stdout)


def test_a_refused_configuration_hides_nothing_else(state_dir: Path) -> None:
    file = state_dir.parent / "sizewise.yaml"
    file.write_text("relay: {listn: 1}\ntenant: 'a b'\n")
    code, found = doctor(state_dir, SIZEWISE_CONFIG=str(file))
    assert code == 1
    assert bad(found) == ["config.refused", "config.refused"]
    assert {"processes.none", "gpu.none", "telemetry.names"} & {one["code"] for one in found}


def test_a_database_that_is_down(state_dir: Path) -> None:
    with start_simulator() as simulator:
        config = one_upstream(state_dir.parent, simulator.url)
        url = "postgresql://u:s3cret@127.0.0.1:1/d"
        code, found = doctor(state_dir, SIZEWISE_DATABASE_URL=url, **config)
    assert (code, bad(found)) == (1, ["database.down"])
    assert "s3cret" not in json.dumps(found)


def test_there_is_nothing_to_prove_without_a_relay(state_dir: Path) -> None:
    done = sizewise(state_dir, "doctor", "--prove")
    assert done.returncode == 1
    assert done.stderr.startswith(f"sizewise: No relay runs for {state_dir}: there is nothing to measure.")


def test_beside_the_whole_product(up: Status, state_dir: Path) -> None:
    for model in ("gpt-4o-mini", "tiny-llama"):
        chat(up.addresses["relay"], model)

    def recorded() -> bool:
        return "prices.unpriced" in bad(doctor(state_dir)[1])

    until(recorded)
    code, found = doctor(state_dir, "--call")
    assert (code, bad(found)) == (0, ["prices.unpriced"])
    by_code = {one["code"]: one for one in found}
    assert by_code["prices.unpriced"]["about"] == "tiny-llama"
    assert by_code["journal.whole"]["values"]["frames"] >= 2
    assert by_code["schema.current"]["severity"] == "ok"
    assert by_code["ports.ours"]["severity"] == "ok"
    named = {one["about"] for one in found if one["code"] == "upstreams.usage"}
    assert named == {"simulated-openai", "simulated-anthropic", "simulated-vllm"}

    code, proof = doctor(state_dir, "--prove", "--rounds", "30", "--model", "gpt-4o-mini", "--calls", "8")
    assert code == 0
    assert [one["code"] for one in proof] == [
        "prove.models",
        "prove.completion",
        "prove.stream",
        "prove.ledger",
        "prove.verdict",
    ]
    assert proof[0]["values"]["rounds"] == 30
    assert proof[0]["values"]["added"]["low"] <= proof[0]["values"]["added"]["value"]
    assert proof[3]["values"]["calls"] >= 2
    assert proof[4]["found"].endswith(".")
    refused = sizewise(state_dir, "doctor", "--prove", "--upstream", "nobody")
    assert (refused.returncode, "the relay has no such upstream" in refused.stderr) == (1, True)


def test_a_process_that_ends_again_and_again(up: Status, state_dir: Path) -> None:
    path = state_dir / "run/status.json"

    def web() -> Any:
        return next(one for one in read_status(path).processes if one.kind == "web")

    for round_number in range(1, 4):
        os.kill(web().pid, signal.SIGKILL)
        until(lambda wanted=round_number: web().restarts >= wanted and web().state == "running")
    code, found = doctor(state_dir)
    (often,) = [one for one in found if one["code"] == "processes.restarts"]
    assert code == 0
    assert (often["about"], often["values"]["restarts"]) == ("web", 3)
    assert "killed by SIGKILL" in often["found"]


def test_a_relay_that_demands_keys_and_speaks_tls(state_dir: Path) -> None:
    folder = state_dir.parent
    if not shutil.which("openssl"):
        pytest.skip("makes a certificate with openssl")
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 90 -subj /CN=relay"
    subprocess.run(make.split(), check=True, capture_output=True, cwd=folder)
    (folder / "key.pem").chmod(0o600)
    with start_simulator(api_key="right") as simulator:
        (folder / "sizewise.yaml").write_text(
            "relay: {require_keys: true, tls: {cert: cert.pem, key: key.pem}}\n"
            f"upstreams: {{only: {{url: '{simulator.url}', key: right}}}}\n"
        )
        (folder / "sizewise.yaml").chmod(0o600)
        config = {"SIZEWISE_CONFIG": str(folder / "sizewise.yaml")}
        with running(state_dir, processes=3, **config):
            until(lambda: bad(doctor(state_dir, **config)[1]) == ["keys.none"])
            refused = sizewise(state_dir, "doctor", "--prove", **config)
            assert "The relay demands a Sizewise key." in refused.stderr
            made = sizewise(state_dir, "keys", "create", "--team", "doctor", **config)
            (folder / "key").write_text(made.stdout)
            until(lambda: bad(doctor(state_dir, **config)[1]) == [])

            def proved() -> bool:  # a new key works about a second later
                arguments = ("--prove", "--rounds", "8", "--key-file", str(folder / "key"))
                return sizewise(state_dir, "doctor", *arguments, **config).returncode == 0

            until(proved)
