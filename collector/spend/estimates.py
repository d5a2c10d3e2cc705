"""Tokens that nobody reported: how many calls and dollars rest on estimates, and how far off estimates are.

The error is measured on calls that did report: each is guessed before it is learned from. `off` is the sum of
the differences as a share of the tokens (0.1: on average a tenth of a call's tokens); `bias` the difference
of the sums (more guessed than there was is above 0), which is what is left of it in a month's bill.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from collector.spend.scope import scoped

Row = dict[str, Any]


def estimates(connection: Connection[Any], *, tenant: str, start: datetime, end: datetime) -> list[Row]:
    values = {"tenant": tenant, "start": start, "end": end}
    with connection.cursor(row_factory=dict_row) as cursor:
        ratios = cursor.execute(scoped("spend_ratios"), values).fetchall()
        calls = cursor.execute(scoped("spend_estimates"), values).fetchall()
    found: dict[tuple[str, str, str], Row] = {}
    for row in calls:
        key = name_of(row)
        found[key] = row | {name: f"{row[name]:f}" for name in ("estimated_usd", "derived_usd")}
    for row in ratios:
        key = name_of(row)
        start_row = dict(zip(("provider", "model", "operation"), key, strict=True)) | NOTHING
        found[key] = found.get(key, start_row) | {side: error_of(row, side) for side in ("input", "output")}
    return list(found.values())


NOTHING: Row = {"estimated": 0, "derived": 0, "unknown": 0, "estimated_usd": "0", "derived_usd": "0"}


def name_of(row: Row) -> tuple[str, str, str]:
    return row["provider"], row["model"], row["operation"]


def error_of(row: Row, side: str) -> Row | None:
    """None where nothing was tried: an unknown error is not one of zero."""
    tests, actual, guessed, off = (
        row[f"{side}_{column}"] for column in ("tests", "actual", "guessed", "off")
    )
    if not tests or not actual:
        return None
    return {"tested_calls": tests, "off": share(off, actual), "bias": share(guessed - actual, actual)}


def share(part: int, whole: int) -> str:
    return f"{round(Decimal(part) / whole, 4):f}"
