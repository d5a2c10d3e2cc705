"""The month's page says where the month will end, once an hour anew, and lives without it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from collector.web.outlooks import Outlooks

NOW = datetime(2026, 11, 21, 15, 42, tzinfo=UTC)


def test_this_month_has_an_outlook_and_a_past_one_has_none(client: TestClient) -> None:
    shown = client.get("/").text
    assert "By 30 Nov about" in shown
    assert "four times out of five between" in shown
    assert "without calls that have no cost" in shown
    assert "four times out of five" not in client.get("/?month=2026-10").text


def test_an_outlook_that_fails_leaves_the_page(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.spend.outlook.project", fail)
    shown = client.get("/")
    assert shown.status_code == 200
    assert "Spent so far" in shown.text
    assert "four times out of five" not in shown.text


def fail(*_: object) -> None:
    raise ValueError("no such matrix")


def test_it_is_made_once_an_hour(
    ledger: psycopg.Connection[Any], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlooks = Outlooks()
    with psycopg.connect(database_url) as connection:
        first = outlooks.of(connection, "default", "UTC", NOW)
        assert first is not None
        assert outlooks.of(connection, "default", "UTC", NOW + timedelta(minutes=17)) is first
        assert outlooks.of(connection, "default", "UTC", NOW + timedelta(minutes=18)) is not first
        assert outlooks.of(connection, "others", "UTC", NOW) is not first
