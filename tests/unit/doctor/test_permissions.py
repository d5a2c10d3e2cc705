import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from collector.config import load_config
from collector.doctor.finding import Finding
from collector.doctor.permissions import gather, judge

AsNobody = Callable[[], AbstractContextManager[None]]


def examine(state: Path, file: Path | None = None) -> list[Finding]:
    loaded = load_config(file, {"SIZEWISE_STATE_DIR": str(state)})
    return judge(gather(loaded), os.geteuid())


def test_a_closed_folder(open_dir: Path, as_nobody: AsNobody) -> None:
    state = open_dir / "closed" / "state"
    state.parent.mkdir(mode=0o500)
    with as_nobody():
        (found, *_) = examine(state)
        uid = os.geteuid()
    assert (found.code, found.severity) == ("permissions.closed", "problem")
    assert found.remedy.startswith(f"chown {uid} {state.parent}, or")
    os.chown(state.parent, uid, -1)
    state.parent.chmod(0o700)
    with as_nobody():
        assert [one.severity for one in examine(state)] == ["ok"]


def test_a_folder_of_somebody_else(open_dir: Path, as_nobody: AsNobody) -> None:
    state = open_dir / "state"
    (state / "journal").mkdir(parents=True, mode=0o700)
    state.chmod(0o555)
    (state / "journal").chmod(0o500)
    with as_nobody():
        found = examine(state)
    assert {one.about for one in found if one.code == "permissions.closed"} == {"state_dir", "journal.dir"}
    assert "Calls would pass unrecorded." in {one.why for one in found}


def test_a_file_where_a_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    (found, *_) = examine(tmp_path / "state")
    assert (found.code, found.remedy.split(",")[0]) == (
        "permissions.closed",
        f"mv {tmp_path}/state {tmp_path}/state.old",
    )


def test_a_journal_that_others_may_read(tmp_path: Path) -> None:
    journal = tmp_path / "state" / "journal"
    journal.mkdir(parents=True, mode=0o700)
    journal.chmod(0o755)
    journal.parent.chmod(0o711)
    (found,) = examine(journal.parent)
    assert (found.code, found.values["mode"]) == ("permissions.journal_open", "0755")
    assert found.remedy == f"chmod 700 {journal}"
    journal.chmod(0o700)
    assert [one.code for one in examine(journal.parent)] == ["permissions.right"]


@pytest.mark.parametrize("name", ["hash_secret", "run/config.json", "run/record/plan.json"])
def test_secrets_that_others_may_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "state" / name
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_text("secret")
    path.chmod(0o640)
    (found,) = [one for one in examine(tmp_path / "state") if one.severity != "ok"]
    assert (found.code, found.severity) == ("permissions.secret_open", "problem")
    path.chmod(0o600)
    assert [one.severity for one in examine(tmp_path / "state")] == ["ok"]


def test_a_key_written_into_an_open_configuration(tmp_path: Path) -> None:
    file = tmp_path / "sizewise.yaml"
    file.write_text("upstreams: {a: {url: 'http://127.0.0.1:9', key: s3cret}}\n")
    file.chmod(0o644)
    (found,) = [one for one in examine(tmp_path / "state", file) if one.severity != "ok"]
    assert found.remedy == f"chmod 600 {file}"
    assert "s3cret" not in repr(found)
    file.write_text("upstreams: {a: {url: 'http://127.0.0.1:9'}}\n")
    assert [one.severity for one in examine(tmp_path / "state", file)] == ["ok"]


def test_a_state_that_others_may_change(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    (found,) = examine(tmp_path / "state")
    assert (found.code, found.remedy) == ("permissions.state_open", f"chmod 700 {tmp_path}/state")
