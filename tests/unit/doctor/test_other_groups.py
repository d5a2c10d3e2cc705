"""The groups that are small: configuration, prices, GPU, telemetry."""

from datetime import date
from pathlib import Path

import pytest

from collector.doctor import configuration, gpu, prices, telemetry
from collector.doctor.database import ModelFact

PROVIDERS = {"": ["vllm-8b"], "openai": ["openai"]}


def test_every_problem_of_a_configuration_is_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "sizewise.yaml"
    file.write_text("relay: {listn: 1}\ntenant: 'a b'\nroutes: [{to: nobody}]\n")
    loaded, found = configuration.read_configuration(file, {})
    assert loaded is None
    assert [one.code for one in found] == ["config.refused"] * 3
    assert any("relay.listn" in one.found and "did you mean listen?" in one.found for one in found)
    file.write_text("relay: {listen: '127.0.0.1:4000'}\n")
    loaded, found = configuration.read_configuration(file, {})
    assert loaded is not None
    assert [one.code for one in found] == ["config.right"]


def test_a_configuration_that_is_not_there_or_is_no_yaml(tmp_path: Path) -> None:
    (found,) = configuration.read_configuration(tmp_path / "none.yaml", {})[1]
    assert (found.code, found.severity) == ("config.refused", "problem")
    (tmp_path / "bad.yaml").write_text("a: [")
    assert configuration.read_configuration(tmp_path / "bad.yaml", {})[1][0].severity == "problem"


def test_a_secret_that_others_can_read_is_doubtful(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("s3cret")
    secret.chmod(0o644)
    environ = {"SIZEWISE_UPSTREAMS__OPENAI__KEY_FILE": str(secret)}
    _, found = configuration.read_configuration(None, environ)
    assert [one.code for one in found] == ["config.right", "config.doubtful"]
    assert f"chmod 600 {secret}" in found[1].found
    secret.chmod(0o600)
    assert len(configuration.read_configuration(None, environ)[1]) == 1


def test_unpriced_models_and_unknown_usage() -> None:
    models = [
        ModelFact("openai", "gpt-4o", 100, 0, 1, 5000),
        ModelFact("openai", "gpt-next", 9, 9, 0, 400),
        ModelFact("", "llama", 8, 8, 4, 300),
    ]
    found = prices.judge_models(models, PROVIDERS)
    assert [(one.code, one.about) for one in found] == [
        ("prices.unpriced", "gpt-next"),
        ("prices.unpriced", "llama"),
        ("prices.unknown_usage", "llama"),
    ]
    assert "genai-prices" in found[0].remedy
    assert "`upstreams.vllm-8b.hosting`" in found[1].remedy
    assert found[1].values["unpriced"] == 8


def test_priced_models_and_none_at_all() -> None:
    (found,) = prices.judge_models([ModelFact("openai", "gpt-4o", 100, 0, 0, 5000)], PROVIDERS)
    assert (found.code, found.severity) == ("prices.complete", "ok")
    assert prices.judge_models([], {})[0].found == "no calls in the last 7 days"
    assert prices.judge_models(None, {}) == []


def test_price_books_of_ones_own(tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    book.write_text("prices: [{model: llama, provider: '', input: cheap, output: 0.4}]\n")
    (found,) = prices.judge_books([book])
    assert (found.code, found.severity, found.about) == ("prices.book_refused", "problem", str(book))
    assert "input" in found.found
    book.write_text("prices: [{model: llama, provider: '', input: 0.2, output: 0.4}]\n")
    (mended,) = prices.judge_books([book])
    assert (mended.code, mended.values["entries"]) == ("prices.book", 1)
    book.unlink()
    assert prices.judge_books([book])[0].code == "prices.book_refused"


def test_the_age_of_the_price_list() -> None:
    today = date(2026, 5, 1)
    assert prices.judge_list("1", date(2026, 4, 1), today)[0].severity == "ok"
    (old,) = prices.judge_list("1", date(2025, 4, 1), today)
    assert (old.code, old.severity) == ("prices.old", "warning")
    assert old.remedy.startswith("pip install --upgrade genai-prices")
    assert prices.judge_list("1", None, today)[0].severity == "ok"


def test_the_installed_list_has_dated_prices() -> None:
    newest = prices.newest_change(date(2100, 1, 1))
    assert newest is not None
    before = prices.newest_change(newest)
    assert before == newest
    assert prices.newest_change(date(1990, 1, 1)) is None


def test_no_gpu_is_said_once_and_is_no_problem(tmp_path: Path) -> None:
    found = gpu.judge(gpu.gather(tmp_path / "none", "libno-such-library.so.1"))
    assert [(one.code, one.severity) for one in found] == [("gpu.none", "ok")]


def test_a_driver_without_its_library(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("NVRM version")
    (found,) = gpu.judge(gpu.gather(tmp_path / "version", "libno-such-library.so.1"))
    assert (found.code, found.severity) == ("gpu.unreadable", "warning")
    assert "libno-such-library.so.1 is not installed" in found.found


def test_gpus_are_counted_by_name() -> None:
    (found,) = gpu.judge(gpu.GpuFact(names=["H200", "H200", "L4"], driver=True))
    assert found.found == "2 x H200, 1 x L4"


def test_a_call_survives_its_span() -> None:
    (found,) = telemetry.judge(telemetry.gather())
    assert (found.code, found.severity) == ("telemetry.names", "ok")


def test_names_that_no_longer_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    real = telemetry.read_attributes
    monkeypatch.setattr(telemetry, "read_attributes", lambda span: real(span)._replace(model="", status=0))
    (found,) = telemetry.judge(telemetry.gather())
    assert (found.severity, found.values["lost"]) == ("problem", ["model", "status"])

    def broken(span: object) -> None:
        raise AttributeError("no such field")

    monkeypatch.setattr(telemetry, "read_attributes", broken)
    assert "no such field" in telemetry.judge(telemetry.gather())[0].found
