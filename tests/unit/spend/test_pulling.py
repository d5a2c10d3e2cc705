"""Costs fetched page by page from small endpoints that answer as the providers' documents say."""

import json
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from collector.errors import SizewiseError
from collector.spend.invoice_lines import read_invoice
from collector.spend.pulling import COST_APIS, pull_costs

MIDNIGHT = "2026-11-01T00:00:00Z"
FIRST, LAST = date(2026, 11, 1), date(2026, 11, 3)


def openai_page(day, usd):
    results = [{"amount": {"value": usd, "currency": "usd"}, "line_item": "gpt-4o, input", "project_id": "p"}]
    return {"data": [{"start_time": 1793491200 + 86400 * day, "results": results}]}


def anthropic_page(day, cents):
    results = [{"amount": cents, "currency": "USD", "model": "claude-sonnet-4-5", "description": "in"}]
    return {"data": [{"starting_at": f"2026-11-0{day + 1}T00:00:00Z", "results": results}]}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        parts = urlsplit(self.path)
        self.server.asked.append((parts.path, parse_qs(parts.query), dict(self.headers.items())))
        status, body, headers = self.server.answers[min(len(self.server.asked), len(self.server.answers)) - 1]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answers = [], []
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("provider", "page", "amounts", "total", "start", "header"),
    [
        ("openai", openai_page, (0.1, 0.2), "0.3", ("start_time", "1793491200"), "Authorization"),
        (
            "anthropic",
            anthropic_page,
            ("10.5", "20"),
            "0.305",
            ("starting_at", "2026-11-01T00:00:00Z"),
            "X-Api-Key",
        ),
    ],
)
def test_all_pages_are_one_invoice(endpoint, provider, page, amounts, total, start, header):
    more = {"has_more": True, "next_page": "abc"}
    endpoint.answers = [(200, page(0, amounts[0]) | more, {}), (200, page(1, amounts[1]), {})]
    content = pull_costs(COST_APIS[provider], "sk-admin", FIRST, LAST, url=endpoint.url)
    invoice = read_invoice(content, "pulled")
    assert sum(line.cost_usd for line in invoice.lines) == Decimal(total)
    assert [line.day for line in invoice.lines] == [date(2026, 11, 1), date(2026, 11, 2)]
    (path, first, headers), (_, second, _) = endpoint.asked
    assert path == COST_APIS[provider].path
    assert first[start[0]] == [start[1]]
    assert ("page" in first, second["page"]) == (False, ["abc"])
    assert [name for name, value in headers.items() if "sk-admin" in value] == [header]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {"error": "no"}, {}), "answered 401: is it an admin key?"),
        ((500, b"", {}), "answered 500"),
        ((302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}), "answered 302"),
        ((200, b"<html>", {}), "no JSON"),
        ((200, {"error": 1}, {}), "without `data`"),
    ],
)
def test_what_goes_wrong_is_said_without_the_key(endpoint, answer, words):
    endpoint.answers = [answer]
    with pytest.raises(SizewiseError) as refused:
        pull_costs(COST_APIS["openai"], "sk-admin", FIRST, LAST, url=endpoint.url)
    assert words in str(refused.value)
    assert "sk-admin" not in str(refused.value)
    assert len(endpoint.asked) == 1


def test_pages_without_an_end_are_refused(endpoint, monkeypatch):
    monkeypatch.setattr("collector.spend.pulling.MOST_PAGES", 3)
    more = {"has_more": True}
    endpoint.answers = [(200, openai_page(0, 1) | more | {"next_page": str(n)}, {}) for n in range(4)]
    with pytest.raises(SizewiseError, match="more than 3 pages"):
        pull_costs(COST_APIS["openai"], "sk-admin", FIRST, LAST, url=endpoint.url)


def test_an_address_that_nobody_answers_at(endpoint):
    with pytest.raises(SizewiseError, match=r"no http or https"):
        pull_costs(COST_APIS["openai"], "k", FIRST, LAST, url="file:///etc")
