"""The bill of a month: the ledger's calls, and the lines of the contracts that a book holds."""

from decimal import Decimal


def test_without_contracts_the_bill_is_the_calls(client):
    answer = client.get("/api/v1/bill?month=2026-11").json()
    spent = client.get("/api/v1/spend?month=2026-11").json()
    assert Decimal(answer["bill_usd"]) == Decimal(spent["total"]["cost_usd"])
    assert answer["lines"] == []
    assert answer["over"] is False


def test_contracts_add_their_lines(client, tmp_path):
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "terms.yaml").write_text(
        "{commitments: [{name: floor, kind: minimum, per_month: 1000000}],"
        " credits: [{name: gift, amount: 5, from: 2026-11-01}], chargeback: [{percent: 10}]}"
    )
    answer = client.get("/api/v1/bill?month=2026-11").json()
    assert Decimal(answer["bill_usd"]) == 1_000_000 - 5
    kinds = [line["kind"] for line in answer["lines"]]
    assert kinds[:2] == ["minimum", "credit"]
    extra = sum(Decimal(line["line_usd"]) for line in answer["lines"] if line["kind"] == "chargeback")
    assert extra == Decimal(answer["calls_usd"]) / 10


def test_a_wrong_month_is_refused(client):
    assert client.get("/api/v1/bill?month=11").status_code == 400
    assert client.get("/api/v1/bill?day=11").status_code == 400
