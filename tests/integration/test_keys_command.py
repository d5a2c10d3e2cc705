"""`sizewise keys` over a real ledger, as a person and as a script meet it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
Keys = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def keys(tmp_path: Path, database_url: str) -> Keys:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIZEWISE_")}
    (tmp_path / "state").mkdir()

    def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        own = {"SIZEWISE_STATE_DIR": str(tmp_path / "state"), "SIZEWISE_DATABASE_URL": database_url}
        command = [
            sys.executable,
            "-W",
            "error",
            "-c",
            "from collector.cli import main; main()",
            "keys",
            *words,
        ]
        return subprocess.run(
            command,
            env={**kept, "PYTHONPATH": str(ROOT), **own, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_the_key_is_all_that_goes_to_stdout(keys: Keys, database_url: str) -> None:
    done = keys("create", "--team", "search", "--environment", "prod", "--name", "ci")
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert re.fullmatch(r"sw-[A-Za-z0-9_-]{43}", key)
    assert re.match(r"key-[0-9a-f]{10} for team search, environment prod\. .*this once", done.stderr)
    with psycopg.connect(database_url) as connection:
        ((row,),) = connection.execute("SELECT keys::text FROM keys").fetchall()
    assert key[3:-4] not in row
    shown = keys("list")
    assert f"...{key[-4:]}  good        team search, environment prod 'ci'" in shown.stdout
    assert key not in shown.stdout


def test_every_key_is_another(keys: Keys) -> None:
    made = [json.loads(keys("create", "--team", "a", "--json").stdout) for _ in range(2)]
    assert made[0]["key"] != made[1]["key"]
    assert made[0]["key_id"] != made[1]["key_id"]
    listed = json.loads(keys("list", "--json").stdout)["keys"]
    assert [{**one, "key": ""} for one in made] == [{**one, "key": ""} for one in listed]


def test_revoking_is_said_once_and_again(keys: Keys) -> None:
    key_id = json.loads(keys("create", "--team", "a", "--json").stdout)["key_id"]
    for _ in range(2):
        done = keys("revoke", key_id)
        assert (done.returncode, "is revoked" in done.stdout) == (0, True)
    assert "revoked" in keys("list").stdout
    unknown = keys("revoke", "key-none")
    assert unknown.returncode == 1
    assert "There is no key 'key-none'" in unknown.stderr


def test_nothing_to_list(keys: Keys) -> None:
    assert keys("list").stdout == "No key was made yet: `sizewise keys create --team NAME`.\n"


@pytest.mark.parametrize(
    "words",
    [["create"], ["create", "--team", " "], ["create", "--team", "a\nb"], ["create", "--team", "a" * 121]],
)
def test_wrong_use_is_2(keys: Keys, words: list[str]) -> None:
    done = keys(*words)
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_key_that_no_relay_would_know_is_not_made(keys: Keys) -> None:
    made = json.loads(keys("create", "--team", "a", "--json").stdout)
    elsewhere = {"SIZEWISE_HASH_SECRET": "ab" * 32}
    refused = keys("create", "--team", "a", **elsewhere)
    assert refused.returncode == 1
    assert "hashed with another secret" in refused.stderr
    assert refused.stdout == ""
    assert json.loads(keys("list", "--json", **elsewhere).stdout)["keys"][0]["state"] == "foreign"
    assert keys("revoke", made["key_id"], **elsewhere).returncode == 0
    assert keys("create", "--team", "a", **elsewhere).returncode == 0


def test_a_ledger_without_a_place_for_keys(keys: Keys, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TABLE keys")
    for words in (["list"], ["create", "--team", "a"]):
        done = keys(*words)
        assert done.returncode == 1
        assert "run `sizewise migrate` or `sizewise up`" in done.stderr
        assert done.stdout == ""
