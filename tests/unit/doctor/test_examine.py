"""All groups together, where the user may see nothing: each says so, and none breaks off."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from collector.doctor import examine
from collector.simulator.launch import Simulator


def test_a_state_of_another_user(
    open_dir: Path,
    simulator: Simulator,
    as_nobody: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make what others may not see")
    state, file = open_dir / "state", open_dir / "sizewise.yaml"
    for folder in ("journal/w0", "run", "postgres/cluster/base"):
        (state / folder).mkdir(parents=True)
    state.chmod(0o700)
    file.write_text(f"upstreams: {{only: {{url: '{simulator.url}'}}}}\n")
    file.chmod(0o644)
    monkeypatch.setenv("SIZEWISE_STATE_DIR", str(state))
    with as_nobody():
        found = {one.code: one for one in examine(file)}
    assert found["permissions.closed"].severity == "problem"
    assert found["journal.unreadable"].severity == "problem"
    assert found["processes.unreadable"].severity == "warning"
    assert found["upstreams.answers"].severity == "ok"
    assert str(state) in found["permissions.closed"].found
