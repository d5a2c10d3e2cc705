"""How much of the providers' invoices the ledger explains, by day and model, and why not the rest. Pure.

Enters: what the ledger says and what was invoiced, by UTC day. Leaves: `CoverageRow`s, each difference with
one cause.

Invariant: over all rows, invoiced = ledger + the differences, to the last digit. A day that no invoice of its
provider speaks of is not compared.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

Cause = Literal["none", "rounding", "tier", "unpriced", "bypassed", "credit", "tax", "fee", "not_invoiced"]
NOTHING = Decimal(0)
ROUNDING_USD, ROUNDING_SHARE = Decimal("0.01"), Decimal("0.001")
BATCH = (Decimal("0.495"), Decimal("0.505"))  # half the price: what batches cost


@dataclass(frozen=True, slots=True)
class Ledgered:
    day: date
    provider: str
    model: str
    calls: int
    unpriced: int
    unknown_usage: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Invoiced:
    day: date
    provider: str
    model: str
    kind: str
    project: str
    cost_usd: Decimal


@dataclass(slots=True)
class CoverageRow:
    day: date
    provider: str
    model: str
    calls: int = 0
    gaps: int = 0  # of the calls: without a price or without usage
    ledger_usd: Decimal = NOTHING
    invoice_usd: Decimal = NOTHING
    projects: tuple[str, ...] = ()  # of the provider's, as the invoice names them
    cause: Cause = "none"

    @property
    def difference_usd(self) -> Decimal:
        return self.invoice_usd - self.ledger_usd


def compare(
    ledger: Iterable[Ledgered], invoiced: Iterable[Invoiced], name_of: Callable[[str, str], str]
) -> list[CoverageRow]:
    """`name_of` provider and model is one name for all that it is called by."""
    lines = list(invoiced)
    days = {(line.provider, line.day) for line in lines}
    rows: dict[tuple[date, str, str], CoverageRow] = {}
    others: dict[tuple[date, str, str], CoverageRow] = {}
    for line in lines:
        if line.kind == "usage":
            row = row_of(rows, line.day, line.provider, name_of(line.provider, line.model))
        else:
            row = row_of(others, line.day, line.provider, line.kind)
        row.invoice_usd += line.cost_usd
        row.projects = tuple(sorted({*row.projects, *filter(None, [line.project])}))
    for one in ledger:
        if (one.provider, one.day) in days:
            row = row_of(rows, one.day, one.provider, name_of(one.provider, one.model))
            row.ledger_usd += one.cost_usd
            row.calls += one.calls
            row.gaps += one.unpriced + one.unknown_usage
    for row in rows.values():
        row.cause = cause_of(row)
    for (_, _, kind), row in others.items():
        row.cause = "credit" if kind == "credit" else "tax" if kind == "tax" else "fee"
        row.model = ""
    return sorted(
        [*rows.values(), *others.values()], key=lambda row: (row.day, row.provider, row.model, row.cause)
    )


def row_of(
    rows: dict[tuple[date, str, str], CoverageRow], day: date, provider: str, name: str
) -> CoverageRow:
    return rows.setdefault((day, provider, name), CoverageRow(day, provider, name))


def cause_of(row: CoverageRow) -> Cause:
    """The likeliest; that the ledger has no price for calls comes before that calls bypassed it."""
    difference = row.difference_usd
    if not difference:
        return "none"
    if abs(difference) <= max(ROUNDING_USD, ROUNDING_SHARE * abs(row.invoice_usd)) and row.calls:
        return "rounding"
    if row.ledger_usd and BATCH[0] <= row.invoice_usd / row.ledger_usd <= BATCH[1]:
        return "tier"
    if difference < 0:
        return "not_invoiced"
    return "unpriced" if row.gaps else "bypassed"


def by_cause(rows: Iterable[CoverageRow]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for row in rows:
        if row.difference_usd:
            found[row.cause] = found.get(row.cause, NOTHING) + row.difference_usd
    return dict(sorted(found.items()))
