"""The rules for Prometheus: they load, fire and end as told, and name only metrics that are shown."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = ROOT / "alerts" / "prometheus.rules.yml"
METRIC = re.compile(r"\bsizewise_\w+")


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if not found:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return found


def run(*words: str) -> str:
    done = subprocess.run(
        words, cwd=RULES.parent, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_they_load(promtool: str) -> None:
    assert "SUCCESS: 6 rules found" in run(promtool, "check", "rules", RULES.name)


def test_they_fire_and_end(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", "prometheus.rules.test.yml")


def test_every_metric_named_is_shown() -> None:
    sources = [*ROOT.glob("collector/web/*.py"), *ROOT.glob("collector/ledger/*.py")]
    shown = set(re.findall(r'"(sizewise_\w+)"', "\n".join(path.read_text() for path in sources)))
    text = re.sub(r"(?m)^\s*#.*$", "", RULES.read_text())
    named = {name.removesuffix("_total") for name in METRIC.findall(text)}
    assert len(named) >= 7
    assert named <= shown
