"""The ledger against invoices: every difference has a cause, and nothing is lost on the way."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.spend.coverage import Invoiced, Ledgered, by_cause, compare
from collector.spend.invoices import name_of

DAY = date(2026, 11, 1)


def ledger(cost, model="gpt-4o", calls=5, unpriced=0, day=DAY):
    return Ledgered(day, "openai", model, calls, unpriced, 0, Decimal(cost))


def invoice(cost, model="gpt-4o", kind="usage", day=DAY, project="p"):
    return Invoiced(day, "openai", model, kind, project, Decimal(cost))


@pytest.mark.parametrize(
    ("ours", "theirs", "cause"),
    [
        (ledger("10"), invoice("10"), "none"),
        (ledger("10"), invoice("10.004"), "rounding"),
        (ledger("10"), invoice("5"), "tier"),
        (ledger("10"), invoice("14"), "bypassed"),
        (ledger("10", unpriced=2), invoice("14"), "unpriced"),
        (ledger("10"), invoice("7"), "not_invoiced"),
        (ledger("0", model="other"), invoice("7"), "bypassed"),
        (ledger("0"), invoice("-3", kind="credit"), "credit"),
        (ledger("0"), invoice("3", kind="tax"), "tax"),
    ],
)
def test_a_difference_has_a_cause(ours, theirs, cause):
    rows = compare([ours], [theirs], lambda _, model: model)
    [row] = [row for row in rows if row.invoice_usd]
    assert row.cause == cause


def test_models_go_by_one_name_and_other_days_are_not_compared():
    rows = compare(
        [ledger("6", model="gpt-4o-2024-08-06"), ledger("4"), ledger("99", day=date(2026, 11, 2))],
        [invoice("7", model="GPT-4o"), invoice("3", model="gpt-4o", project="q")],
        name_of,
    )
    [row] = rows
    assert (row.ledger_usd, row.invoice_usd, row.cause, row.projects) == (10, 10, "none", ("p", "q"))


money = st.decimals(-100, 1000, places=4)
models = st.sampled_from(["a", "b", ""])


@given(
    st.lists(st.builds(ledger, money, models, unpriced=st.integers(0, 2)), max_size=8),
    st.lists(
        st.builds(invoice, money, models, st.sampled_from(["usage", "tax", "credit"])), min_size=1, max_size=8
    ),
)
def test_the_invoice_is_the_ledger_and_the_differences(ours, theirs):
    rows = compare(ours, theirs, lambda _, model: model)
    invoiced = sum(one.cost_usd for one in theirs)
    assert sum(row.invoice_usd for row in rows) == invoiced
    assert sum(one.cost_usd for one in ours) + sum(by_cause(rows).values()) == invoiced
    assert all(
        (row.cause == "none") == (not row.difference_usd) for row in rows if row.model or row.cause == "none"
    )
