"""Models without a price: the API lists exactly the calls that the ledger calls unpriced."""

from datetime import UTC, datetime


def test_every_unpriced_call_is_listed_with_a_remedy(ledger, client):
    answer = client.get("/api/v1/unpriced?month=2026-11").json()
    rows = ledger.execute(
        "SELECT provider, coalesce(nullif(served_model, ''), model), count(*) FROM calls"
        " WHERE price_state = 'unpriced' AND started_at >= %s GROUP BY 1, 2",
        [datetime(2026, 10, 31, 18, 15, tzinfo=UTC)],
    ).fetchall()
    listed = {(one["provider"], one["model"]): one["unpriced"] for one in answer["models"]}
    assert listed == {(provider, model): count for provider, model, count in rows}
    assert listed
    assert all("prices:" in one["remedy"] and one["model"] in one["remedy"] for one in answer["models"])


def test_wrong_questions_are_refused(client):
    answer = client.get("/api/v1/unpriced?month=November")
    assert answer.status_code == 400
