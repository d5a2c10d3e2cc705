"""From file and variables to a Config, or to all of what is wrong."""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from collector.config import Loaded, cap_rules, find_state_dir, load_config, make_plan
from collector.errors import ConfigError


def load(tmp_path: Path, text: str, **variables: str) -> Loaded:
    path = tmp_path / "sizewise.yaml"
    path.write_text(text)
    return load_config(path, environ={"SIZEWISE_STATE_DIR": str(tmp_path / "state"), **variables})


def refused(tmp_path: Path, text: str, **variables: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, text, **variables)
    return [line.strip() for line in str(refusal.value).splitlines()[1:]]


def test_runs_without_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(environ={}).config
    assert list(config.upstreams) == ["openai", "anthropic"]
    assert [(route.path, route.to) for route in config.routes] == [
        ("/v1/messages*", "anthropic"),
        ("", "openai"),
    ]
    assert config.relay.listen == "127.0.0.1:4000"
    assert config.database_url == ""
    assert config.journal.dir == config.state_dir / "journal"
    assert config.database.data_dir == config.state_dir / "postgres"


def test_finds_the_file_beside_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sizewise.yaml").write_text("environment: here")
    (tmp_path / "other.yaml").write_text("environment: there")
    monkeypatch.chdir(tmp_path)
    assert load_config(environ={}).config.environment == "here"
    assert load_config(environ={"SIZEWISE_CONFIG": "other.yaml"}).config.environment == "there"
    assert load_config(Path("sizewise.yaml"), {"SIZEWISE_CONFIG": "other.yaml"}).config.environment == "here"


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config names .*gone"):
        load_config(tmp_path / "gone", environ={})
    with pytest.raises(ConfigError, match=r"SIZEWISE_CONFIG names .*gone"):
        load_config(environ={"SIZEWISE_CONFIG": str(tmp_path / "gone")})


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, "relay: {listen: 127.0.0.1:1, workers: 3}", SIZEWISE_RELAY__LISTEN="127.0.0.1:2")
    assert loaded.config.relay.listen == "127.0.0.1:2"
    assert loaded.config.relay.workers == 3
    assert str(loaded.origin(("relay", "listen"))) == "SIZEWISE_RELAY__LISTEN"
    assert str(loaded.origin(("relay", "workers"))).endswith("sizewise.yaml:1")
    assert str(loaded.origin(("web", "listen"))) == "default"


def test_overrides_replace_whole_sections(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("upstreams: {a: {url: http://a}}")
    upstreams = {"b": {"url": "http://b"}}
    loaded = load_config(tmp_path / "c.yaml", environ={}, overrides={"upstreams": upstreams})
    assert list(loaded.config.upstreams) == ["b"]
    assert str(loaded.origin(("upstreams", "b", "url"))) == "command line"


def test_an_empty_variable_counts_as_not_given(tmp_path: Path) -> None:
    assert load(tmp_path, "environment: prod", SIZEWISE_ENVIRONMENT="").config.environment == "prod"


def test_an_empty_section_counts_as_not_given(tmp_path: Path) -> None:
    assert load(tmp_path, "relay:\nweb:\n  listen:\n").config.web.listen == "127.0.0.1:4001"


def test_a_variable_adds_a_key_to_a_default_upstream() -> None:
    config = load_config(environ={"SIZEWISE_UPSTREAMS__OPENAI__KEY": "sk-1"}).config
    assert config.upstreams["openai"].key.get_secret_value() == "sk-1"
    assert config.upstreams["openai"].url == "https://api.openai.com"


def test_a_variable_reaches_an_upstream_with_a_dash_in_its_name(tmp_path: Path) -> None:
    text = "upstreams: {vllm-8b: {url: http://127.0.0.1:8000}}"
    config = load(tmp_path, text, SIZEWISE_UPSTREAMS__VLLM_8B__ZONE="on-prem").config
    assert config.upstreams["vllm-8b"].zone == "on-prem"


def test_lists_and_tables_come_as_json(tmp_path: Path) -> None:
    config = load(tmp_path, "", SIZEWISE_ROUTES='[{"to": "openai", "team": "search"}]').config
    assert [(route.to, route.team) for route in config.routes] == [("openai", "search")]


def test_short_aliases_of_the_database() -> None:
    for name in ("SIZEWISE_DATABASE_URL", "SIZEWISE_DATABASE__URL"):
        assert (
            load_config(environ={name: "postgresql://u:p@h/d"}).config.database_url == "postgresql://u:p@h/d"
        )


def test_a_url_for_sqlalchemy_becomes_one_for_everybody() -> None:
    config = load_config(environ={"SIZEWISE_DATABASE_URL": "postgresql+psycopg://h/d"}).config
    assert config.database_url == "postgresql://h/d"


@pytest.mark.parametrize("name", ["SIZEWISE_DATABASE_URL_FILE", "SIZEWISE_DATABASE__URL_FILE"])
def test_a_secret_comes_from_a_file(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:p@h/d\n")
    secret.chmod(0o600)
    loaded = load_config(environ={name: str(secret)})
    assert loaded.config.database_url == "postgresql://u:p@h/d"
    assert loaded.warnings == []


def test_a_secret_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    (tmp_path / "key").chmod(0o644)
    loaded = load(tmp_path, "upstreams: {a: {url: http://a, key_file: key}}")
    assert loaded.config.upstreams["a"].key.get_secret_value() == "sk-1"
    assert loaded.warnings == [
        f"{tmp_path}/key holds a secret and others can read it: chmod 600 {tmp_path}/key"
    ]


def test_a_secret_comes_from_a_variable_of_any_name(tmp_path: Path) -> None:
    text = "upstreams: {a: {url: http://a, headers: {Authorization: 'Bearer ${MY_KEY}'}}}"
    loaded = load(tmp_path, text, MY_KEY="sk-1")
    assert loaded.config.upstreams["a"].headers["Authorization"].get_secret_value() == "Bearer sk-1"


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "c.yaml").write_text("state_dir: state\njournal: {dir: j}")
    config = load_config(tmp_path / "c.yaml", environ={}).config
    assert config.state_dir == tmp_path / "state"
    assert config.journal.dir == tmp_path / "j"
    assert config.database.data_dir == tmp_path / "state/postgres"


def test_default_routes_send_anthropic_its_own_path(tmp_path: Path) -> None:
    text = (
        "upstreams: {big: {url: http://a}, claude: {url: http://b, api: anthropic}, small: {url: http://c}}"
    )
    routes = load(tmp_path, text).config.routes
    assert [(route.path, route.to) for route in routes] == [("/v1/messages*", "claude"), ("", "big")]


WRONG = {
    "relay: {listn: 127.0.0.1:1}": "relay.listn ({file}:1): no such key; did you mean listen?",
    "relay: {listen: '4000'}": "relay.listen = '4000' ({file}:1): allowed is HOST:PORT",
    "relay: {listen: '127.0.0.1:70000'}": "the port must be between 0 and 65535",
    "relay: {workers: 0}": "relay.workers = 0 ({file}:1): should be greater than or equal to 1",
    "relay: [1]": "relay ({file}:1): allowed is a mapping of settings",
    "routes: {}\nupstreams: 3": "upstreams ({file}:2): allowed is a mapping",
    "reporting: {timezone: Europe/Berln}": "did you mean Europe/Berlin?",
    "upstreams: {a: {}}": "upstreams.a.url ({file}:1): is required",
    "upstreams:\n  a: {url: 'ftp://a'}": "upstreams.a.url = 'ftp://a' ({file}:2): allowed is http://",
    "upstreams: {a: {url: 'http://a:99999'}}": "not a URL (Port out of range",
    "upstreams: {a: {url: http://a, api: opnai}}": "should be 'openai', 'anthropic', 'gemini'",
    "upstreams: {a: {url: http://a, zone: 'a b'}}": "upstreams.a.zone = 'a b' ({file}:1): a zone is a name",
    "upstreams: {a: {url: http://a, headers: {'a b': x}}}": "'a b' is no name of a header",
    "caps: [{team: a, usd_per_day: -1}]": "caps[0].usd_per_day = -1 ({file}:1): should be greater than",
    "caps: [{team: a, usd_per_day: .nan}]": "caps[0].usd_per_day = nan ({file}:1): should be a finite number",
    "caps: [{team: a, usd_per_day: 1, action: tell}]": "caps[0].action = 'tell' ({file}:1): should be",
    "caps: [{team: a, usd_per_week: 1}]": "caps[0].usd_per_week ({file}:1): no such key; did you mean",
    "caps:\n  - {team: a, key: b, usd_per_day: 1}": "caps[0] ({file}:2): a cap names one of key, team and",
    "caps: [{usd_per_day: 1}]": "a cap names one of key, team and project",
    "caps: [{team: a, usd_per_day: 1, usd_per_month: 2}]": "a cap has one of usd_per_day and usd_per_month",
    "caps: {team: a}": "caps ({file}:1): allowed is a list",
    "upstreams: {a: {url: http://a}}\nroutes: [{to: b}]": "routes[0].to = 'b' ({file}:2): no upstream has",
    "upstreams: {a: {url: http://a, key: '${GONE}'}}": "the variable GONE is not set",
    "upstreams: {a: {url: http://a, key_file: gone}}": "upstreams.a.key_file = gone ({file}:1): can't be",
    "database: {url: 'mysql://h/d'}": "allowed is postgresql://",
    "tenant: 'a b'": "tenant = 'a b' ({file}:1)",
    "tenant: a\ntenant: b": "tenant ({file}:2): given twice in one mapping (first in line 1)",
    "relay: {listen: [}": "not YAML",
    "- 1": "allowed is a mapping of sections",
    "x: &a [*a]": "an alias that contains itself",
    "tenant: !!python/name:os.system a": "not a value that YAML can hold without a tag",
}


@pytest.mark.parametrize("text", WRONG)
def test_says_what_is_wrong_and_where(tmp_path: Path, text: str) -> None:
    problems = refused(tmp_path, text)
    expected = WRONG[text].replace("{file}", str(tmp_path / "sizewise.yaml"))
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("SIZEWISE_STATE_DRI", "did you mean SIZEWISE_STATE_DIR?"),
        ("SIZEWISE_RELAY_LISTEN", "did you mean SIZEWISE_RELAY__LISTEN?"),
        ("SIZEWISE_RELAY__LISTN", "did you mean SIZEWISE_RELAY__LISTEN?"),
        ("SIZEWISE_RELAY__LISTEN__PORT", "no such setting"),
        ("SIZEWISE_XYZZY", "`sizewise config show` lists all settings"),
    ],
)
def test_a_mistyped_variable_is_refused(tmp_path: Path, variable: str, hint: str) -> None:
    (problem,) = refused(tmp_path, "", **{variable: "1"})
    assert problem.startswith(f"{variable}: no such setting")
    assert hint in problem


def test_a_bad_variable_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path, "", SIZEWISE_RELAY__WORKERS="many")[0].startswith(
        "relay.workers = 'many' (SIZEWISE_RELAY__WORKERS)"
    )


def test_lists_all_problems_at_once(tmp_path: Path) -> None:
    text = "relay: {listn: 1}\nreporting: {timezone: Mars}\nroutes: [{to: gone}]\ntenant: x\ntenant: x"
    problems = refused(tmp_path, text, SIZEWISE_FOO="1")
    keys = {problem.split(" ")[0].rstrip(":") for problem in problems}
    assert keys == {"relay.listn", "reporting.timezone", "routes[0].to", "tenant", "SIZEWISE_FOO"}


HOLDERS = ["key: sk-1", "headers: {Authorization: x}", "headers: {X-Api-Key: x}"]


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_relay_with_upstream_keys_demands_its_own_beyond_loopback(tmp_path: Path, holder: str) -> None:
    text = "upstreams: {a: {url: http://a, %s}}\nrelay: {listen: '%s'}"
    for loopback in ("127.0.0.1:4000", "[::1]:4000", "localhost:4000"):
        assert not make_plan(load(tmp_path, text % (holder, loopback)).config).require_keys
    for exposed in ("0.0.0.0:4000", "[::]:4000", "10.0.0.1:4000"):
        assert make_plan(load(tmp_path, text % (holder, exposed)).config).require_keys


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("no", ["false", "no", "0", "-0.0", "'off'"])
def test_a_relay_that_demands_no_keys_stays_on_loopback(tmp_path: Path, holder: str, no: str) -> None:
    text = "upstreams: {a: {url: http://a, %s}}\nrelay: {listen: '%s', require_keys: %s}"
    assert not make_plan(load(tmp_path, text % (holder, "127.0.0.1:4000", no)).config).require_keys
    (problem,) = refused(tmp_path, text % (holder, "0.0.0.0:4000", no))
    assert problem.startswith("relay.require_keys = ")
    assert "the relay holds a key for a" in problem


def test_a_variable_takes_the_demand_away_as_little(tmp_path: Path) -> None:
    text = "upstreams: {a: {url: http://a, key: x}}\nrelay: {listen: '0.0.0.0:4000'}"
    (problem,) = refused(tmp_path, text, SIZEWISE_RELAY__REQUIRE_KEYS="False")
    assert "relay.require_keys = 'False' (SIZEWISE_RELAY__REQUIRE_KEYS): 0.0.0.0:4000" in problem


def test_keys_may_be_demanded_on_loopback_too(tmp_path: Path) -> None:
    assert make_plan(load(tmp_path, "relay: {require_keys: true}").config).require_keys


def test_caps_become_rules(tmp_path: Path) -> None:
    text = """
caps:
  - {team: search, usd_per_day: 12.5}
  - {project: index, usd_per_month: "300.01", action: refuse}
  - {key: batch, usd_per_month: 0}
"""
    found = [
        (rule.kind, rule.name, rule.per, rule.limit_usd) for rule in cap_rules(load(tmp_path, text).config)
    ]
    assert found == [
        ("team", "search", "day", Decimal("12.5")),
        ("project", "index", "month", Decimal("300.01")),
        ("key", "batch", "month", Decimal(0)),
    ]


def test_a_month_of_a_project_needs_its_calls_for_a_month(tmp_path: Path) -> None:
    text = "database: {retention_days: %d}\ncaps: [{%s: a, usd_per_month: 1}, {key: a, usd_per_day: 1}]"
    load(tmp_path, text % (20, "team"))
    load(tmp_path, text % (32, "project"))
    (problem,) = refused(tmp_path, text % (31, "project"))
    assert problem.startswith("caps[0].usd_per_month (")
    assert "database.retention_days 32" in problem


@pytest.mark.parametrize("days", ["²", "1" * 5000, "-3", "x"])
def test_days_that_are_no_number_are_the_models_to_refuse(tmp_path: Path, days: str) -> None:
    text = f"database: {{retention_days: '{days}'}}\ncaps: [{{project: a, usd_per_month: 1}}]"
    (problem,) = refused(tmp_path, text)
    assert problem.startswith("database.retention_days = ")


def test_a_relay_without_keys_may_listen_anywhere(tmp_path: Path) -> None:
    assert load(tmp_path, "relay: {listen: '0.0.0.0:4000'}").config.relay.listen == "0.0.0.0:4000"


SECRETS = [
    ("upstreams: {a: {url: http://a, key: 's3cr\u00e9t'}}", {}),
    ("upstreams: {a: {url: 'http://me:s3cr\u00e9t@a'}}", {}),
    ("upstreams: {a: {url: http://a, headers: {x: 's3cr\u00e9t'}}}", {}),
    ("upstreams: {a: {url: http://a, kee: 's3cr\u00e9t'}}", {}),
    ("", {"SIZEWISE_DATABASE_URL": "mysql://u:s3cr\u00e9t@h"}),
    ("", {"SIZEWISE_UPSTREAMS": '{"a": {"key": "s3cr\u00e9t"'}),
    ("hash_secret: ['s3cr\u00e9t']", {}),
]


@pytest.mark.parametrize(("text", "variables"), SECRETS)
def test_an_error_never_shows_a_secret(tmp_path: Path, text: str, variables: dict[str, str]) -> None:
    assert "s3cr" not in "".join(refused(tmp_path, text, **variables))


def test_the_state_dir_is_found_in_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("state_dir: here\nupstreams: {a: {key: '${GONE}'}}")
    assert find_state_dir(tmp_path / "c.yaml", {}) == tmp_path / "here"
    assert find_state_dir(tmp_path / "c.yaml", {"SIZEWISE_STATE_DIR": "/there"}) == Path("/there")
    (tmp_path / "c.yaml").write_text("state_dir: [1]\nx: [")
    assert find_state_dir(tmp_path / "c.yaml", {}) == load_config(environ={}).config.state_dir


def test_default_state_dir_of_an_ordinary_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert load_config(environ={}).config.state_dir == tmp_path / "sizewise"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config(environ={}).config.state_dir == tmp_path / ".local/state/sizewise"


def test_price_books_are_found_beside_the_file_that_names_them(tmp_path):
    path = tmp_path / "sizewise.yaml"
    path.write_text("prices: {books: [acme.yaml, /etc/prices.csv], aliases: {prod-chat: gpt-4o}}")
    prices = load_config(path, {}).config.prices
    assert [str(book) for book in prices.books] == [str(tmp_path / "acme.yaml"), "/etc/prices.csv"]
    assert prices.aliases == {"prod-chat": "gpt-4o"}
