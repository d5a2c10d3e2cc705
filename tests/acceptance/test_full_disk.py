"""The journal's disk is full: calls go on, what can't be kept is counted and shown, and it ends by itself."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.load import Load
from benchmarks.harness.product import Product, upstreams_config, wait_until
from benchmarks.harness.verdict import judge, read_log

SEED = 70
LOST = re.compile(r"^sizewise_journal_lost_calls_total(?:{[^}]*})? (\S+)$", re.MULTILINE)


@pytest.fixture
def small_disk(open_dir: Path) -> Iterator[Path]:
    folder = open_dir / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=100m,mode=0711", "sizewise-test", str(folder)]
    if os.geteuid() or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small disk, and only with the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def cramped(open_dir: Path, small_disk: Path, upstreams: str) -> Iterator[Product]:
    journal = {"dir": str(small_disk / "journal"), "segment_mb": 1}
    with Product(open_dir, {**upstreams_config(upstreams), "journal": journal}) as product:
        yield product


def fill(disk: Path) -> Path:
    """To the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def lost_calls(product: Product) -> int:
    return sum(int(float(value)) for value in LOST.findall(product.get("/metrics")))


def ended(log: Path) -> int:
    return sum(one["event"] == "ended" for one in read_log(log))


def test_calls_go_on_and_the_loss_is_told(
    cramped: Product, small_disk: Path, client_log: Path, truth: Path
) -> None:
    with Load(cramped.relay, client_log, seed=SEED):
        wait_until("calls end", lambda: ended(client_log) > 50)
        filler = fill(small_disk)
        wait_until("the loss is told", lambda: lost_calls(cramped), 15, 0.2)
        before = ended(client_log)
        wait_until("calls go on", lambda: ended(client_log) > before + 50)
        filler.unlink()
        told = -1

        def is_over() -> bool:
            nonlocal told
            told, last = lost_calls(cramped), told
            return told == last

        wait_until("nothing more is lost", is_over, 15, 1.5)
    verdict = judge(cramped, client_log, truth)
    assert not verdict.failed, "a client noticed that the journal's disk was full"
    assert not verdict.doubled
    missing = [text for text in verdict.lost if "the client saw end" in text]
    assert 0 < len(missing) == lost_calls(cramped)
    assert not [text for text in verdict.wrong if "nobody" in text or "in quarantine" in text]


def test_a_relay_worker_that_dies_meanwhile_is_replaced_and_serves(
    cramped: Product, small_disk: Path, client_log: Path
) -> None:
    fill(small_disk)
    for number in (signal.SIGKILL, signal.SIGTERM):
        pid = cramped.wait_for("relay")
        os.kill(pid, number)
        cramped.wait_for("relay", other_than=pid)
    Load(cramped.relay, client_log, seed=SEED, clients=12, options=("--calls", "20")).start().wait()
    assert ended(client_log) == 240
    assert cramped.status()["processes"][0]["restarts"] == 2, "it died of the full disk"
