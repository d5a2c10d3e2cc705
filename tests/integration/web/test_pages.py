import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

Ledger = psycopg.Connection[Any]
PAGES = ["/", "/?month=2026-10", "/?month=2025-01", "/calls", "/calls?outcome=error&team=search", "/nothing"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_script_no_inline_style_and_a_strict_policy(client: TestClient, path: str) -> None:
    found = client.get(path)
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert "unsafe" not in found.headers["content-security-policy"]
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", found.text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', found.text)
    assert '<html lang="en">' in found.text
    assert found.text.count("<main") == found.text.count("<h1") == 1


def test_names_from_outside_are_shown_and_never_run(client: TestClient) -> None:
    text = client.get("/").text
    assert "<bdi>&lt;b&gt;ops&lt;/b&gt;</bdi>" in text
    assert "<b>ops" not in text
    assert "<bdi>צוות נתונים</bdi>" in text


def test_what_is_missing_is_said_plainly(client: TestClient) -> None:
    text = client.get("/").text
    assert "Spent so far, at least" in text
    assert "without a known price" in text
    assert "meta-llama/Llama-3.1-8B-Instruct" in text
    assert "of unknown usage" in text


def test_tables_are_labelled(client: TestClient) -> None:
    text = client.get("/").text
    tables = re.findall(r"<table.*?</table>", text, re.S)
    assert len(tables) >= 4
    for table in tables:
        assert "<caption" in table
        assert "<th>" not in table  # every header says what it heads
        assert 'scope="col"' in table
        assert 'scope="row"' in table


def test_every_call_has_its_page(client: TestClient, ledger: Ledger) -> None:
    rows = ledger.execute(
        "SELECT DISTINCT ON (outcome, price_state, model) call_id, price_state, model FROM calls"
    ).fetchall()
    assert len(rows) > 10
    for call_id, price_state, model in rows:
        found = client.get(f"/calls/{call_id}")
        assert found.status_code == 200
        assert model in found.text
        assert "What it cost" in found.text
        assert "Was it the sidecar?" in found.text
        assert ("Unpriced" in found.text) == (price_state == "unpriced")
        assert "Not explained by these rates" not in found.text


def test_older_calls_are_one_link_away(client: TestClient) -> None:
    first = client.get("/calls?team=search").text
    older = re.search(r'<a href="([^"]+)" rel="next">', first)
    assert older
    second = client.get(older[1].replace("&amp;", "&")).text
    ids = [set(re.findall(r'href="/calls/([0-9a-f-]{36})"', text)) for text in (first, second)]
    assert ids[0]
    assert ids[1]
    assert not ids[0] & ids[1]


def test_links_on_the_page_lead_somewhere(client: TestClient) -> None:
    links = set(re.findall(r'href="(/[^"]*)"', client.get("/").text))
    assert len(links) > 15
    for link in links:
        assert client.get(link.replace("&amp;", "&")).status_code == 200, link


def test_an_empty_ledger_tells_how_to_begin(
    database_url: str, make_client: Callable[[str], TestClient]
) -> None:
    text = make_client(database_url).get("/").text
    assert "Make the first call" in text
    assert "curl http://127.0.0.1:4000/v1/chat/completions" in text


def test_a_month_without_calls_leads_back(client: TestClient) -> None:
    text = client.get("/?month=2025-01").text
    assert "No calls in January 2025" in text
    assert "Make the first call" not in text


def test_a_page_without_a_database_says_that_calls_go_on(make_client: Callable[[str], TestClient]) -> None:
    found = make_client("postgresql://nobody@127.0.0.1:1/none").get("/")
    assert found.status_code == 503
    assert found.headers["retry-after"] == "5"
    assert "Calls are not touched by this" in found.text


@pytest.mark.parametrize("path", ["/?month=2026-13", "/?moth=2026-10", "/calls?outcome=fine", "/calls/none"])
def test_a_wrong_address_is_explained_on_a_page(client: TestClient, path: str) -> None:
    found = client.get(path)
    assert found.status_code == 400
    assert found.headers["content-type"].startswith("text/html")


def test_head_answers_like_get(client: TestClient) -> None:
    assert client.head("/").status_code == 200


def test_the_sheet_is_cached_by_its_digest(client: TestClient) -> None:
    link = re.search(r'href="(/static/style.css\?v=\w+)"', client.get("/").text)
    assert link
    assert "immutable" in client.get(link[1]).headers["cache-control"]
    assert client.get("/").headers["cache-control"] == "no-store"
