"""An invoice is imported once and held against the ledger's own sums, in SQL and by the API."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

from collector.spend.invoice_lines import read_invoice
from collector.spend.invoices import add_invoice

START = 1793491200  # 2026-11-01, 00:00 UTC


def costs(*results, day=0):
    listed = [{"amount": {"value": usd, "currency": "usd"}, "line_item": item} for item, usd in results]
    return json.dumps({"data": [{"start_time": START + 86400 * day, "results": listed}]}).encode()


def bring(ledger, content):
    invoice = read_invoice(content, "costs.json")
    return add_invoice(ledger, invoice, content, tenant="default", file_name="costs.json", who="ada")


def test_without_an_invoice_nothing_is_compared(client):
    answer = client.get("/api/v1/coverage?month=2026-11").json()
    assert (answer["coverage"], answer["rows"]) == (None, [])
    assert client.get("/api/v1/coverage?month=11").status_code == 400


def test_coverage_is_the_ledger_over_the_invoice(ledger, client):
    day = [datetime(2026, 11, 3, tzinfo=UTC), datetime(2026, 11, 4, tzinfo=UTC)]
    spent = ledger.execute(
        "SELECT coalesce(nullif(served_model, ''), model), coalesce(sum(cost_usd), 0) FROM calls"
        " WHERE provider = 'openai' AND started_at >= %s AND started_at < %s GROUP BY 1"
        " HAVING sum(cost_usd) > 0",
        day,
    ).fetchall()
    assert spent
    content = costs(*[(f"{model}, input", float(usd) * 2) for model, usd in spent], day=2)
    assert bring(ledger, content)
    assert not bring(ledger, content)
    ledger.commit()
    answer = client.get("/api/v1/coverage?month=2026-11").json()
    assert {row["day"] for row in answer["rows"]} == {"2026-11-03"}
    assert Decimal(answer["ledger_usd"]) == sum(usd for _, usd in spent)
    assert answer["coverage"] == "0.5000"
    listed = sum(Decimal(usd) for usd in answer["difference_usd_by_cause"].values())
    assert listed == Decimal(answer["invoice_usd"]) - Decimal(answer["ledger_usd"])


def test_of_two_invoices_about_a_day_the_newest_counts(ledger, client):
    bring(ledger, costs(("o3", 4), day=1))
    ledger.commit()
    bring(ledger, costs(("o3", 5), day=1))
    ledger.commit()
    answer = client.get("/api/v1/coverage?month=2026-11").json()
    assert Decimal(answer["invoice_usd"]) == 5
    assert date.fromisoformat(answer["rows"][0]["day"]) == date(2026, 11, 2)
