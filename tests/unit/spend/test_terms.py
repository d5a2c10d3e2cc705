"""Contracts against arithmetic done by hand, and that calls and lines are what is to be paid."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ledger.book_file import read_book
from collector.spend.terms import DaySpend, bill_usd, first_credit_day, month_terms

NOVEMBER = date(2026, 11, 1)


@pytest.fixture
def book_of(tmp_path):
    def make(text):
        path = tmp_path / "book.yaml"
        path.write_text(text)
        return read_book(path)

    return make


def spend(cost, day=date(2026, 11, 10), provider="azure", model="gpt-4o", team="search"):
    return DaySpend(day, provider, model, team, Decimal(cost))


@pytest.mark.parametrize(
    ("kind", "used", "line"),
    [("ptu", "3200", "1800"), ("ptu", "5600", "-600"), ("minimum", "3200", "1800"), ("minimum", "5600", "0")],
)
def test_what_was_paid_for_and_not_used_is_a_line(book_of, kind, used, line):
    book = book_of(
        f"commitments: [{{name: a, kind: {kind}, provider: azure, model: 'gpt-*', per_month: 5000}}]"
    )
    rows = [spend(used), spend(7, provider="openai"), spend(7, model="o3"), spend(7, day=date(2026, 10, 31))]
    [one] = month_terms(book, rows, NOVEMBER)
    assert (one.agreed_usd, one.used_usd, one.line_usd) == (5000, Decimal(used), Decimal(line))


def test_a_fee_counts_by_its_days_and_a_call_against_one_commitment(book_of):
    book = book_of(
        "commitments: [{name: a, kind: ptu, per_month: 3000, from: 2026-11-16},"
        " {name: b, kind: minimum, per_month: 100}]"
    )
    rows = [spend(10, day=date(2026, 11, 15)), spend(20, day=date(2026, 11, 16))]
    first, second = month_terms(book, rows, NOVEMBER)
    assert (first.agreed_usd, first.used_usd, first.line_usd) == (1500, 20, 1480)
    assert (second.used_usd, second.line_usd) == (10, 90)


def test_a_fee_in_another_currency(book_of):
    book = book_of(
        "{currency: EUR, exchange: [{from: 2026-01-01, usd: 1.1}],"
        " commitments: [{name: a, kind: ptu, per_month: 100, from: 2026-01-01}]}"
    )
    assert month_terms(book, [], NOVEMBER)[0].line_usd == 110


def test_credits_are_used_up_in_their_order_from_their_first_day_on(book_of):
    book = book_of(
        "credits: [{name: a, provider: azure, amount: 100, from: 2026-10-10},"
        " {name: b, amount: 50, from: 2026-11-01}]"
    )
    assert first_credit_day(book) == date(2026, 10, 10)
    rows = [
        spend(30, day=date(2026, 10, 9)),  # before it began
        spend(70, day=date(2026, 10, 20)),
        spend(40, day=date(2026, 11, 2)),  # 30 of a, 10 of b
        spend(15, day=date(2026, 11, 3), provider="openai"),  # of b
    ]
    first, second = month_terms(book, rows, NOVEMBER)
    assert (first.line_usd, first.left_usd) == (-30, 0)
    assert (second.line_usd, second.left_usd) == (-25, 25)
    assert bill_usd(Decimal(55), [first, second]) == 0


def test_chargeback_is_no_part_of_the_bill(book_of):
    book = book_of("chargeback: [{team: search, percent: 8}, {team: '*', percent: 20}]")
    rows = [spend("100.5"), spend(10, team="sales")]
    sales, search = month_terms(book, rows, NOVEMBER)
    assert (sales.name, sales.line_usd) == ("sales", 2)
    assert (search.name, search.agreed_usd, search.line_usd) == ("search", Decimal("100.5"), Decimal("8.04"))
    assert bill_usd(Decimal("110.5"), [sales, search]) == Decimal("110.5")


TERMS = """
commitments: [{name: p, kind: ptu, provider: azure, per_month: 500}, {name: m, kind: minimum, per_month: 300}]
credits: [{name: c, provider: openai, amount: 120, from: 2026-10-01}]
"""
ROWS = st.lists(
    st.builds(
        DaySpend,
        st.integers(0, 60).map(lambda days: date(2026, 10, 1) + timedelta(days=days)),
        st.sampled_from(["azure", "openai", ""]),
        st.just("m"),
        st.just("t"),
        st.decimals(0, 200, places=6),
    ),
    max_size=30,
)


@given(ROWS)
def test_the_bill_is_what_the_contracts_say(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "terms.yaml"
    path.write_text(TERMS)
    lines = month_terms(read_book(path), rows, NOVEMBER)
    month = [row for row in rows if row.day >= NOVEMBER and row.day.month == 11]
    other = sum((row.cost_usd for row in month if row.provider != "azure"), Decimal(0))
    before = sum(
        (row.cost_usd for row in rows if row.day < NOVEMBER and row.provider == "openai"), Decimal(0)
    )
    openai = sum((row.cost_usd for row in month if row.provider == "openai"), Decimal(0))
    credit = min(openai, max(120 - before, Decimal(0)))
    calls = sum((row.cost_usd for row in month), Decimal(0))
    assert bill_usd(calls, lines) == 500 + max(other, Decimal(300)) - credit
