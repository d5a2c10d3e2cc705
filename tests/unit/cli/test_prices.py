"""`sizewise prices` as a person meets it, without a ledger."""

import json

import pytest
from typer.testing import CliRunner

from collector.cli import config, prices
from collector.errors import SizewiseError

OWN = """prices:
  - {provider: openai, model: gpt-4o, input: 2, output: 8}
  - {model: x, provider: '', free: true}
"""


@pytest.fixture
def sizewise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIZEWISE_CONFIG", raising=False)
    monkeypatch.setenv("SIZEWISE_STATE_DIR", str(tmp_path / "state"))

    def run(*arguments, code=0):
        done = CliRunner().invoke(prices.app, arguments)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    return run


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    return str(path)


def test_an_imported_book_is_asked_before_the_public_list(sizewise, own):
    before = json.loads(sizewise("show", "gpt-4o", "--provider", "openai", "--on", "2026-11-01", "--json"))
    assert {line["unit"]: line["usd"] for line in before}["input_mtok"] == "2.5"
    sizewise("import", own)
    after = json.loads(sizewise("show", "gpt-4o", "--provider", "openai", "--on", "2026-11-01", "--json"))
    assert {line["unit"]: line["usd"] for line in after} == {"input_mtok": "2", "output_mtok": "8"}
    assert after[0]["origin"] == "own.yaml"
    assert "free" in sizewise("show", "x")
    listed = json.loads(sizewise("list", "--json"))
    assert [entry["at"].rpartition(":")[2] for entry in listed["entries"]] == ["2", "3"]
    assert "(own server) / x: free" in sizewise("list")


def test_a_diff_says_what_an_import_would_do_and_does_nothing(sizewise, own):
    changes = json.loads(sizewise("diff", own, "--json"))
    told = {(one["model"], one["unit"]): (one["old_usd"], one["new_usd"], one["percent"]) for one in changes}
    assert told["gpt-4o", "input_mtok"] == ("2.5", "2", "-20.0")
    assert told["gpt-4o", "cache_read_mtok"] == ("1.25", None, None)
    assert "openai / gpt-4o  output_mtok: 10 -> 8 (-20.0 %)" in sizewise("diff", own)
    assert json.loads(sizewise("list", "--json"))["entries"] == []
    sizewise("import", own)
    assert sizewise("diff", own) == "No rate would change.\n"


def test_a_discount_shows_on_every_model_it_is_for(sizewise, tmp_path):
    path = tmp_path / "less.yaml"
    path.write_text("discounts: [{provider: anthropic, model: claude-sonnet-4-*, percent: 10}]")
    changes = json.loads(sizewise("diff", str(path), "--json"))
    assert {one["percent"] for one in changes} == {"-10.0"}
    assert len({one["model"] for one in changes}) > 1


def test_what_no_list_knows_is_said_and_what_to_do(sizewise):
    with pytest.raises(SizewiseError, match=r"nix has no price on 2026-11-01.*unpriced.*prices import"):
        sizewise("show", "nix", "--on", "2026-11-01")
    assert "YYYY-MM-DD" in sizewise("show", "gpt-4o", "--on", "yesterday", code=2)


def test_a_refused_book_is_not_imported(sizewise, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("model,input\nm,a lot\n")
    with pytest.raises(SizewiseError, match=r"bad.csv:2"):
        sizewise("import", str(path))
    assert json.loads(sizewise("list", "--json"))["books"] == []


def test_repricing_for_good_wants_a_reason(sizewise):
    told = sizewise("reprice", "--from", "2026-11-01", "--to", "2026-12-01", code=2)
    assert "--why" in told
    assert "--dry-run" in told


def test_config_check_looks_into_the_price_books(sizewise, tmp_path):
    (tmp_path / "sizewise.yaml").write_text("prices: {books: [mine.yaml]}")
    (tmp_path / "mine.yaml").write_text("prices: [{model: m, input: lots}]")
    done = CliRunner().invoke(config.app, ["check"])
    assert isinstance(done.exception, SizewiseError)
    assert "mine.yaml:1" in str(done.exception)
    (tmp_path / "mine.yaml").write_text("prices: [{model: m, input: 1}]")
    assert CliRunner().invoke(config.app, ["check"]).exit_code == 0
