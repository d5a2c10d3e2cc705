"""What a contract adds to the price of the calls: fees for capacity that wasn't used, credits, and what teams
are charged on top. Pure: spend by day, provider, model and team enters, with the books' terms; lines leave.

Invariants
- Calls and lines add up to what is to be paid: calls under a commitment count against its fee once, against
  the first commitment that names them.
- A credit is used up day by day from its first day on, in the order of the books, and never twice.
- Days are those of the reporting zone. A fee counts by the days of the month on which it is in force.
"""

from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from collector.ledger.book import Book, Commitment, Credit, Span, matches

NOTHING = Decimal(0)
Kind = Literal["ptu", "minimum", "credit", "chargeback"]


@dataclass(frozen=True, slots=True)
class DaySpend:
    day: date
    provider: str
    model: str
    team: str
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class TermLine:
    kind: Kind
    name: str
    agreed_usd: Decimal  # the fee, the credit's amount, the spend that a markup is on
    used_usd: Decimal
    line_usd: Decimal  # what is added to the bill; below 0: taken off
    left_usd: Decimal | None = None  # of a credit, after this month


def first_credit_day(book: Book) -> date | None:
    """From when on spend must be known to know what is left of the credits."""
    return min((one.span.start for one in book.credits if one.span.start), default=None)


def month_terms(book: Book, rows: Sequence[DaySpend], first: date) -> list[TermLine]:
    """Of the month that begins with `first`. `rows` reach back to first_credit_day, if there is one."""
    last = first.replace(day=monthrange(first.year, first.month)[1])
    of_month = [row for row in rows if first <= row.day <= last]
    return [
        *commitment_lines(book.commitments, of_month, first, last),
        *credit_lines(book.credits, [row for row in rows if row.day <= last], first),
        *markup_lines(book, of_month),
    ]


def commitment_lines(
    commitments: Sequence[Commitment], rows: Iterable[DaySpend], first: date, last: date
) -> list[TermLine]:
    used = [NOTHING] * len(commitments)
    for row in rows:
        for at, one in enumerate(commitments):
            named = matches(one.provider, row.provider) and matches(one.model, row.model)
            if named and one.span.holds(row.day):
                used[at] += row.cost_usd
                break
    lines = []
    for one, spent in zip(commitments, used, strict=True):
        days = days_in_force(one.span, first, last)
        usd = one.currency.usd_on(max(first, one.span.start or first))
        if not days or usd is None:
            continue
        fee = round(one.per_month * usd * days / ((last - first).days + 1), 12)
        unused = fee - spent if one.kind == "ptu" else max(fee - spent, NOTHING)
        lines.append(TermLine(one.kind, one.name, fee, spent, unused))
    return lines


def days_in_force(span: Span, first: date, last: date) -> int:
    start = max(first, span.start or first)
    end = min(last + timedelta(days=1), span.end or date.max)
    return max((end - start).days, 0)


def credit_lines(credits_: Sequence[Credit], rows: Iterable[DaySpend], first: date) -> list[TermLine]:
    amounts = [one.amount * (one.currency.usd_on(one.span.start or first) or NOTHING) for one in credits_]
    left, taken = list(amounts), [NOTHING] * len(amounts)
    for row in sorted(rows, key=lambda row: row.day):
        rest = max(row.cost_usd, NOTHING)
        for at, one in enumerate(credits_):
            if rest and left[at] and one.span.holds(row.day) and matches(one.provider, row.provider):
                part = min(rest, left[at])
                rest -= part
                left[at] -= part
                taken[at] += part if row.day >= first else NOTHING
    told = zip(credits_, amounts, taken, left, strict=True)
    return [
        TermLine("credit", one.name, amount, used, -used, remains)
        for one, amount, used, remains in told
        if used or (remains and days_in_force(one.span, first, first.replace(day=28)))
    ]


def markup_lines(book: Book, rows: Iterable[DaySpend]) -> list[TermLine]:
    """What each team is charged on top; the first markup that names it on a day holds."""
    spent: dict[str, tuple[Decimal, Decimal]] = {}
    for row in rows:
        named = (one for one in book.markups if matches(one.team, row.team) and one.span.holds(row.day))
        one = next(named, None)
        if one is not None:
            base, extra = spent.get(row.team, (NOTHING, NOTHING))
            spent[row.team] = (base + row.cost_usd, extra + row.cost_usd * one.percent / 100)
    return [TermLine("chargeback", team, base, base, extra) for team, (base, extra) in sorted(spent.items())]


def bill_usd(calls_usd: Decimal, lines: Iterable[TermLine]) -> Decimal:
    """What is to be paid to others: chargeback is between teams."""
    return calls_usd + sum((line.line_usd for line in lines if line.kind != "chargeback"), NOTHING)
