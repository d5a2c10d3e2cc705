"""The one screen: what runs where, and a command that can be copied."""

import json
import shlex
from typing import Any

from collector.config import Config
from collector.supervise.screen import render_screen
from collector.supervise.status import DatabaseStatus

READY = DatabaseStatus(kind="embedded", state="ready")


def screen(raw: dict[str, Any], database: DatabaseStatus = READY) -> str:
    addresses = {"relay": "127.0.0.1:4000", "web": "127.0.0.1:4001"}
    config = Config.model_validate(raw)
    return render_screen(
        config, addresses, database, workers=2, config_file="", model="tiny", version="1.2.3"
    )


def command(text: str) -> list[str]:
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith("curl"))
    return shlex.split(lines[first].strip().removesuffix("\\") + lines[first + 1])


LOCAL = {"upstreams": {"a": {"url": "http://127.0.0.1:8000"}}, "routes": [{"to": "a"}]}
FAR = {"upstreams": {"a": {"url": "https://api.openai.com"}}, "routes": [{"to": "a"}]}
CLAUDE = {
    "upstreams": {"a": {"url": "https://api.anthropic.com", "api": "anthropic"}},
    "routes": [{"to": "a"}],
}


def test_shows_how_to_come_by_a_key_where_one_is_demanded() -> None:
    for raw in (LOCAL, FAR, CLAUDE):
        text = screen({**raw, "relay": {"require_keys": True}})
        assert "KEY=$(sizewise keys create --team YOURS)" in text
        assert "authorization: Bearer $KEY" in command(text)
        assert "_API_KEY" not in text


def test_says_what_runs_where() -> None:
    text = screen(LOCAL)
    for part in (
        "Sizewise 1.2.3",
        "http://127.0.0.1:4000  (2 workers)",
        "http://127.0.0.1:4001",
        "everything else",
    ):
        assert part in text
    assert 'OpenAI(base_url="http://127.0.0.1:4000/v1")' in text
    assert 'Anthropic(base_url="http://127.0.0.1:4000")' in text


def test_the_command_is_one_a_shell_can_read() -> None:
    words = command(screen(LOCAL))
    assert words[:2] == ["curl", "http://127.0.0.1:4000/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == "tiny"
    assert not any("API_KEY" in word for word in words)


def test_the_command_sends_a_key_where_the_client_must() -> None:
    assert "authorization: Bearer $OPENAI_API_KEY" in command(screen(FAR))
    words = command(screen(CLAUDE))
    assert "x-api-key: $ANTHROPIC_API_KEY" in words
    assert words[1].endswith("/v1/messages")
    assert json.loads(words[-1])["max_tokens"] == 64


def test_a_key_that_the_relay_holds_is_neither_asked_for_nor_shown() -> None:
    held = {"upstreams": {"a": {"url": "https://api.openai.com", "key": "s3cret"}}, "routes": [{"to": "a"}]}
    text = screen(held)
    assert "API_KEY" not in text
    assert "s3cret" not in text


def test_a_database_that_is_not_ready_is_told() -> None:
    text = screen(LOCAL, DatabaseStatus(kind="external", state="failed", problem="refused"))
    assert "NOT READY (refused). Calls go on and wait in the journal." in text
