"""`sizewise capacity` as a person meets it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from collector.cli import capacity
from collector.errors import SizewiseError

Run = Callable[..., str]


@pytest.fixture
def sizewise() -> Run:
    app = typer.Typer()
    capacity.register(app)

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, arguments)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    return run


def test_an_instance_and_its_month(sizewise: Run) -> None:
    text = sizewise("--instance", "g5.xlarge")
    assert "1 x 730 hours x $1.006 = $734.38 a month" in text
    assert "us-east-1" in text
    assert json.loads(sizewise("--instance", "p4d.24xlarge", "--json"))["month_usd"] == "16029.08"
    assert json.loads(sizewise("--instance", "g5.xlarge", "--count", "3", "--json"))["month_usd"] == "2203.14"


def test_a_model_without_throughput_says_what_is_not_known(sizewise: Run) -> None:
    text = sizewise("--model", "70b", "--precision", "int4", "--tokens-per-day", "100M")
    assert "35 GB of weights" in text
    assert "How many copies carry the load is not known" in text
    assert "$12,000.00 to $18,000.00 a month" in text


def test_a_model_with_throughput_is_sized_by_the_peak(sizewise: Run) -> None:
    values = json.loads(
        sizewise(
            *("--model", "llama-3.1-8b", "--tokens-per-day", "86.4M", "--peak", "3"),
            *("--throughput", "1500", "--instance", "g5.xlarge", "--json"),
        )
    )
    assert (values["peak_tokens_s"], values["replicas"], values["fleet"]["instances"]) == ("3000", 3, 4)
    assert values["fleet"]["month_usd"] == "2937.52"
    twice = json.loads(
        sizewise(
            *("--model", "8b", "--instance", "g5.xlarge", "--regions", "2", "--redundancy", "2", "--json")
        )
    )
    assert (twice["fleet"]["instances"], twice["replicas"]) == (4, None)


def test_what_no_instance_holds_is_said(sizewise: Run) -> None:
    assert "--instance NAME says how many" in sizewise("--model", "2000b")
    values = json.loads(sizewise("--model", "2000b", "--instance", "p5.48xlarge", "--json"))
    assert values["fleet"]["instances_a_replica"] == 9


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--instance", "g5.xlarge", "--tokens-per-day", "1M"),
        ("--model", "8b", "--tokens-per-day", "1M", "--throughput", "0"),
        ("--model", "8b", "--peak", "nan"),
    ],
)
def test_wrong_use_exits_with_two(sizewise: Run, arguments: tuple[str, ...]) -> None:
    sizewise(*arguments, code=2)


def test_an_instance_or_model_that_is_unknown_is_refused(sizewise: Run, tmp_path: Path) -> None:
    with pytest.raises(SizewiseError, match=r"there are .*g5\.xlarge"):
        sizewise("--instance", "x9.huge")
    with pytest.raises(SizewiseError, match="how many parameters"):
        sizewise("--model", "gpt-4o")
    own = tmp_path / "own.yaml"
    own.write_text(
        "{source: ours, as_of: 2026-11-01, instances: "
        "{box: {gpu: L40S, gpus: 2, gpu_memory_gb: 48, hourly_usd: '0.5'}}}"
    )
    assert "= $365.00 a month" in sizewise("--instance", "box", "--catalog", str(own))
