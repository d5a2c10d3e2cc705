import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

Ledger = psycopg.Connection[Any]
GONE = "postgresql://nobody@127.0.0.1:1/none"
# The columns that a row needs beside its id.
NEEDED = (
    "source_id, started_at, tenant_id, stream, status, attempts,"
    " request_bytes, response_bytes, content_events, duration_ms"
)


def test_pages_of_calls_miss_none_and_repeat_none(ledger: Ledger, client: TestClient) -> None:
    seen: list[str] = []
    url: str | None = "/api/v1/calls?limit=97&team=search"
    while url:
        body = client.get(url).json()
        seen += [call["call_id"] for call in body["calls"]]
        url = body["next_url"]
    rows = ledger.execute(
        "SELECT call_id::text FROM calls WHERE team = 'search' ORDER BY started_at DESC, call_id DESC"
    ).fetchall()
    assert len(seen) > 200
    assert seen == [row[0] for row in rows]


def test_calls_of_one_instant_are_paged_too(ledger: Ledger, client: TestClient) -> None:
    ledger.execute(
        f"INSERT INTO calls ({NEEDED}, call_id, team) SELECT {NEEDED}, gen_random_uuid(), 'same instant'"
        " FROM (SELECT * FROM calls LIMIT 1) AS one, generate_series(1, 25)"
    )
    ledger.commit()
    seen, cursor = [], ""
    for _ in range(9):
        body = client.get(
            "/api/v1/calls", params={"limit": 3, "team": "same instant", "before": cursor}
        ).json()
        seen += [call["call_id"] for call in body["calls"]]
        cursor = body["next"]
    assert cursor is None
    assert len(seen) == len(set(seen)) == 25


def test_a_call_in_json(ledger: Ledger, client: TestClient) -> None:
    body = client.get("/api/v1/calls?limit=1&outcome=ok&price_state=priced&provider=anthropic").json()[
        "calls"
    ][0]
    call = client.get(f"/api/v1/calls/{body['call_id']}").json()
    assert call["started_at"].endswith("Z")
    assert isinstance(call["cost_usd"], str)
    assert sum(Decimal(part["cost_usd"]) for part in call["cost_parts"]) == Decimal(call["cost_usd"])
    assert "idempotency_key" not in call
    assert "tenant_id" not in call


def test_a_call_whose_id_tells_no_time_is_found_too(ledger: Ledger, client: TestClient) -> None:
    plain = uuid.uuid4()
    ledger.execute(f"INSERT INTO calls ({NEEDED}, call_id) SELECT {NEEDED}, %s FROM calls LIMIT 1", [plain])
    ledger.commit()
    assert client.get(f"/api/v1/calls/{plain}").json()["call_id"] == str(plain)


@pytest.mark.parametrize("price_state", ["unpriced", "unknown_usage"])
def test_what_has_no_cost_says_null(client: TestClient, price_state: str) -> None:
    calls = client.get(f"/api/v1/calls?price_state={price_state}").json()["calls"]
    assert calls
    assert {call["cost_usd"] for call in calls} == {None}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/calls?colour=red", 400, "unknown_parameter"),
        ("/api/v1/calls?limit=1000", 400, "bad_value"),
        ("/api/v1/calls?before=yesterday", 400, "bad_cursor"),
        ("/api/v1/calls/none", 400, "bad_value"),
        (f"/api/v1/calls/{uuid.UUID(int=1)}", 404, "no_such_call"),
        ("/api/v1/spend?by=colour", 400, "unknown_dimension"),
        ("/api/v1/spend?month=2026-13", 400, "bad_value"),
        ("/api/v1/nothing", 404, "no_such_page"),
    ],
)
def test_errors_are_json(client: TestClient, path: str, status: int, code: str) -> None:
    found = client.get(path)
    assert found.status_code == status
    assert found.json()["error"]["code"] == code
    assert set(found.json()["error"]) == {"code", "message", "allowed"}


def test_only_reading_is_allowed(client: TestClient) -> None:
    found = client.post("/api/v1/calls")
    assert (found.status_code, found.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/api/v1/calls", "/api/v1/spend", f"/api/v1/calls/{uuid.UUID(int=1)}"])
def test_without_a_database(make_client: Callable[[str], TestClient], path: str) -> None:
    found = make_client(GONE).get(path)
    assert found.status_code == 503
    assert found.json()["error"]["code"] == "database_down"
    assert "127.0.0.1:1" not in found.text
    assert "nobody" not in found.text


def test_a_database_without_tables_says_what_to_do(
    empty_database_url: str, make_client: Callable[[str], TestClient]
) -> None:
    found = make_client(empty_database_url).get("/api/v1/calls")
    assert found.status_code == 503
    assert "sizewise migrate" in found.json()["error"]["message"]


def test_a_connection_that_died_is_replaced(client: TestClient, ledger: Ledger) -> None:
    assert client.get("/api/v1/calls?limit=1").status_code == 200
    ledger.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'sizewise web' AND datname = current_database()"
    )
    assert client.get("/api/v1/calls?limit=1").status_code == 200


def test_an_unknown_host_is_turned_away(client: TestClient) -> None:
    found = client.get("/api/v1/calls", headers={"host": "rebound.example"})
    assert (found.status_code, found.json()["error"]["code"]) == (421, "unknown_host")


def test_status_tells_how_the_ledger_is(client: TestClient) -> None:
    body = client.get("/api/v1/status").json()
    assert body["checks"]["database"] == {"ok": True, "reason": ""}
    assert body["ledger"]["quarantined_frames"] == 0
    assert body["ledger"]["last_call_at"].startswith("2026-11-21T")
