"""A month's bill: what the calls cost, and the lines that contracts add. Connection, book and month enter."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection

from collector.ledger.book import Book
from collector.spend.actual import spend_by
from collector.spend.period import month_period, read_month
from collector.spend.terms import DaySpend, TermLine, bill_usd, first_credit_day, month_terms


@dataclass(frozen=True, slots=True)
class Bill:
    month: str
    calls_usd: Decimal
    lines: list[TermLine]
    bill_usd: Decimal  # without what teams charge each other
    over: bool  # the month has ended: until then an unused fee is what is unused so far


def month_bill(
    connection: Connection[Any], book: Book, *, tenant: str, month: str, zone: str, now: datetime
) -> Bill:
    period = month_period(month, zone)
    first = date(*read_month(month), 1)
    since = min(first_credit_day(book) or first, first)
    start = min(datetime.combine(since, time(), ZoneInfo(zone)).astimezone(UTC), period.start)
    found = spend_by(
        connection,
        tenant=tenant,
        start=start,
        end=period.end,
        dimensions=("day", "provider", "model", "team"),
        zone=zone,
    )
    rows = [
        DaySpend(date.fromisoformat(day), provider, model, team, row.cost_usd)
        for row in found
        for day, provider, model, team in [row.names]
    ]
    calls_usd = sum((row.cost_usd for row in rows if row.day >= first), Decimal(0))
    lines = month_terms(book, rows, first)
    return Bill(month, calls_usd, lines, bill_usd(calls_usd, lines), period.end <= now)


def bill_values(bill: Bill) -> dict[str, Any]:
    return {
        "month": bill.month,
        "over": bill.over,
        "calls_usd": f"{bill.calls_usd:f}",
        "lines": [
            {"kind": line.kind, "name": line.name, "agreed_usd": f"{line.agreed_usd:f}"}
            | {"used_usd": f"{line.used_usd:f}", "line_usd": f"{line.line_usd:f}"}
            | {"left_usd": None if line.left_usd is None else f"{line.left_usd:f}"}
            for line in bill.lines
        ],
        "bill_usd": f"{bill.bill_usd:f}",
    }
