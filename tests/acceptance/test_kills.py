"""kill -9 of each process under load, at any moment and at the bad ones. The long version is a comparison.

The client is a process of its own; what it saw end must be in the ledger, exactly once.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.doomed import doomed_upstream, with_doomed
from benchmarks.harness.kills import KILLS, Stage
from benchmarks.harness.load import Load
from benchmarks.harness.product import Product, upstreams_config
from benchmarks.harness.verdict import judge

SEED = 20
TWICE = {"relay": 2, "record": 1, "database": 1, "web": 2}


@pytest.fixture
def stage(open_dir: Path, upstreams: str, client_log: Path) -> Iterator[Stage]:
    with doomed_upstream(open_dir / "state" / "run" / "status.json", SEED) as doomed:
        config = {**with_doomed(upstreams_config(upstreams), doomed), "relay": {"workers": 1}}
        with Product(open_dir, config) as product:
            yield Stage(product, client_log)


@pytest.mark.parametrize("process", ["relay", "record", "database", "web"])
def test_a_killed_process_loses_and_doubles_nothing(stage: Stage, truth: Path, process: str) -> None:
    rng = random.Random(f"{SEED} {process}")
    names = [name for name in KILLS if name.split(",")[0] == process] * TWICE[process]
    rng.shuffle(names)
    with Load(stage.product.relay, stage.log, seed=SEED, clients=4):
        for name in names:
            KILLS[name](stage, rng)
    verdict = judge(stage.product, stage.log, truth)
    assert verdict.is_good, (verdict, verdict.lost, verdict.doubled, verdict.wrong)
    assert verdict.ended > 20
    if process == "relay":
        assert verdict.interrupted
    else:
        assert not verdict.failed, "a client noticed that something behind the relay died"


def test_two_workers_are_replaced_each_in_its_place(
    open_dir: Path, upstreams: str, client_log: Path, truth: Path
) -> None:
    config = {**upstreams_config(upstreams), "relay": {"workers": 2}}
    with Product(open_dir, config) as product:
        with Load(product.relay, client_log, seed=SEED):
            for index in (0, 1, 1):
                product.wait_for("relay", other_than=product.kill("relay", index), index=index)
        verdict = judge(product, client_log, truth)
    assert verdict.is_good, (verdict, verdict.lost, verdict.doubled, verdict.wrong)
    assert verdict.ended
    assert verdict.failed, "the kills met no call at all"
