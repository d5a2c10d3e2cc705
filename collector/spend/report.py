"""A report: rows, their total, and what the total does not hold. `render.py` writes it as text.

The page, the API and the command line all show the same Report, so that they can't disagree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from collector.spend.actual import SpendRow, check_dimensions, reporting_zone, spend_by, total
from collector.spend.period import Period


@dataclass(frozen=True, slots=True)
class Report:
    period: Period
    zone: str
    dimensions: tuple[str, ...]
    rows: list[SpendRow]
    total: SpendRow
    gaps: list[SpendRow]  # by (provider, model): those with calls that have no cost


def report(
    connection: Connection[Any],
    *,
    tenant: str,
    period: Period,
    dimensions: Sequence[str] = ("team", "model"),
    zone: str | None = None,
) -> Report:
    names = check_dimensions(dimensions)
    zone = zone or reporting_zone(connection)
    ask = partial(spend_by, connection, tenant=tenant, start=period.start, end=period.end, zone=zone)
    rows = ask(dimensions=names)
    by_model = rows if names == ("provider", "model") else ask(dimensions=("provider", "model"))
    whole = total(rows, len(names))
    return Report(period, zone, names, rows if names else [], whole, gaps(by_model))


def gaps(by_model: Iterable[SpendRow]) -> list[SpendRow]:
    """Those of the rows with calls that have no cost, the most of them first."""
    found = [row for row in by_model if row.unpriced or row.unknown_usage]
    return sorted(found, key=lambda row: (-row.unpriced - row.unknown_usage, row.names))
