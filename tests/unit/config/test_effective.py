"""What child processes get: the whole, or the plan."""

import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.config import (
    Config,
    load_config,
    make_plan,
    read_effective,
    render_settings,
    with_hash_secret,
    write_effective,
)
from collector.config.effective import guess_provider
from collector.config.model import LimitsSection
from collector.errors import ConfigError
from collector.plan import Limits, Plan, read_plan, write_plan


def plan_of(upstream: dict[str, Any]) -> Plan:
    return make_plan(Config.model_validate({"upstreams": {"a": upstream}, "routes": [{"to": "a"}]}))


def test_survives_the_file(tmp_path: Path) -> None:
    environ = {"SIZEWISE_DATABASE_URL": "postgresql://u:p@h/d", "SIZEWISE_UPSTREAMS__OPENAI__KEY": "sk-1"}
    hosting = {"b": {"url": "http://b", "hosting": {"usd_per_hour": 1.006, "count": 2}}}
    config = load_config(environ=environ, overrides={}).config
    config = config.model_copy(update={"upstreams": Config.model_validate({"upstreams": hosting}).upstreams})
    path = tmp_path / "config.json"
    write_effective(config, path)
    read = read_effective(path)
    assert read == config
    assert read.database_url == "postgresql://u:p@h/d"
    assert read.upstreams["b"].hosting is not None
    assert read.upstreams["b"].hosting.usd_per_hour == Decimal("1.006")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_repr_and_a_dump_hide_secrets() -> None:
    raw = {
        "hash_secret": "s3cret-h",
        "database": {"url": "postgresql://u:s3cret@h/d"},
        "upstreams": {"a": {"url": "http://a", "key": "s3cret-k", "headers": {"x": "s3cret-x"}}},
    }
    config = Config.model_validate(raw)
    for text in (repr(config), str(config), config.model_dump_json(), str(config.model_dump())):
        assert "s3cret" not in text


def test_show_masks_secrets_and_names_origins() -> None:
    variables = {
        "SIZEWISE_UPSTREAMS__OPENAI__KEY": "s3cret",
        "SIZEWISE_DATABASE_URL": "postgresql://u:s3cret@h/d",
    }
    text = render_settings(load_config(environ=variables))
    assert "s3cret" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("upstreams.openai.key")]
    assert line.endswith("# SIZEWISE_UPSTREAMS__OPENAI__KEY")
    assert "**" in line


def test_limits_are_those_of_the_plan() -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(Limits)}
    assert set(LimitsSection.model_fields) == set(fields)
    assert Limits(**LimitsSection().model_dump()) == Limits()
    assert {name: type(value) for name, value in LimitsSection().model_dump().items()} == fields


def test_the_plan_of_an_upstream() -> None:
    (upstream,) = plan_of({"url": "https://Proxy.example:8443/api/v1/", "ca_file": "/ca.pem"}).upstreams
    assert (upstream.host, upstream.port, upstream.tls) == ("proxy.example", 8443, True)
    assert (upstream.base_path, upstream.host_header) == ("/api/v1", "proxy.example:8443")
    assert upstream.ca_file == "/ca.pem"


@pytest.mark.parametrize(
    ("url", "port", "host_header"),
    [
        ("http://a", 80, "a"),
        ("https://a/", 443, "a"),
        ("http://a:443", 443, "a:443"),
        ("http://[::1]:8000", 8000, "[::1]:8000"),
        ("https://[::1]", 443, "[::1]"),
    ],
)
def test_host_header_leaves_the_usual_port_out(url: str, port: int, host_header: str) -> None:
    (upstream,) = plan_of({"url": url}).upstreams
    assert (upstream.port, upstream.host_header, upstream.base_path) == (port, host_header, "")


def test_a_key_goes_where_the_api_wants_it() -> None:
    assert plan_of({"url": "http://a", "key": "k"}).upstreams[0].headers == {"authorization": "Bearer k"}
    anthropic = {"url": "http://a", "api": "anthropic", "key": "k"}
    assert plan_of(anthropic).upstreams[0].headers == {"x-api-key": "k"}
    gemini = {"url": "http://a", "api": "gemini", "key": "k"}
    assert plan_of(gemini).upstreams[0].headers == {"x-goog-api-key": "k"}
    both = {"url": "http://a", "key": "k", "headers": {"Authorization": "Basic x", "X-Y": "z"}}
    assert plan_of(both).upstreams[0].headers == {"authorization": "Basic x", "x-y": "z"}


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("API.Anthropic.com.", "anthropic"),
        ("generativelanguage.googleapis.com", "google"),
        ("us-central1-aiplatform.googleapis.com", "google"),
        ("me.openai.azure.com", "azure"),
        ("notapi.openai.com.evil.example", ""),
        ("fakeapi.openai.com", ""),
        ("127.0.0.1", ""),
    ],
)
def test_the_provider_is_guessed_only_where_it_is_known(host: str, provider: str) -> None:
    assert guess_provider(host) == provider


def test_the_plan_survives_its_file(tmp_path: Path) -> None:
    plan = plan_of({"url": "http://a", "key": "k"})
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan
    assert stat.S_IMODE((tmp_path / "plan.json").stat().st_mode) == 0o600


def test_the_hash_secret_is_made_once(tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path)
    first = with_hash_secret(config).hash_secret.get_secret_value()
    assert len(bytes.fromhex(first)) == 32
    assert with_hash_secret(config).hash_secret.get_secret_value() == first
    assert stat.S_IMODE((tmp_path / "hash_secret").stat().st_mode) == 0o600
    assert make_plan(with_hash_secret(config)).hash_secret == first


def test_a_given_hash_secret_is_kept(tmp_path: Path) -> None:
    config = Config.model_validate({"state_dir": tmp_path, "hash_secret": "any text"})
    assert with_hash_secret(config) == config
    assert list(tmp_path.iterdir()) == []
    assert len(bytes.fromhex(make_plan(config).hash_secret)) == 32


def test_an_emptied_hash_secret_is_not_replaced_in_silence(tmp_path: Path) -> None:
    (tmp_path / "hash_secret").write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        with_hash_secret(Config(state_dir=tmp_path))
