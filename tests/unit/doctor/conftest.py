import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from collector.simulator.launch import Simulator, start_simulator

NOBODY = 65534
Tmpfs = Callable[..., Path]


@contextmanager
def unprivileged() -> Iterator[None]:
    """For root, who may do everything: as somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def as_nobody() -> Callable[[], AbstractContextManager[None]]:
    return unprivileged


@pytest.fixture
def tmpfs(open_dir: Path) -> Iterator[Tmpfs]:
    """A small disk of its own, which a test may fill."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = open_dir / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a disk, and not in every container")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(seed=3) as running:
        yield running
