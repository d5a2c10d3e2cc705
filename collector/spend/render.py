"""A Report as text: a table for people, CSV for books, JSON for programs. Pure.

A name in a report comes from whoever made the call. So no cell of a CSV may begin a formula, and no
control or direction character reaches a terminal.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from collector.spend.actual import COUNTS, SpendRow
from collector.spend.report import Report

# Prices are in dollars and no exchange rate is known, so nothing else can be said.
CURRENCY = "USD"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
TABLE_COLUMNS = (
    ("calls", "calls"),
    ("errors", "errors"),
    ("input_tokens", "tokens in"),
    ("cache_read_tokens", "cached"),
    ("output_tokens", "tokens out"),
)


def render_csv(report: Report) -> str:
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\r\n")
    rows.writerow([*report.dimensions, *COUNTS, "cost_usd"])
    for row in [*report.rows, report.total]:
        rows.writerow(
            [*map(safe_cell, row.names), *(getattr(row, name) for name in COUNTS), exact_cost(row) or ""]
        )
    return written.getvalue()


def safe_cell(text: str) -> str:
    """A spreadsheet runs a cell that begins so; an apostrophe in front makes it text."""
    return (
        "'" + text if text.lstrip(" ").startswith(FORMULA_STARTS) or text.startswith(FORMULA_STARTS) else text
    )


def exact_cost(row: SpendRow) -> str | None:
    return f"{row.cost_usd:f}" if row.cost_known else None


def render_json(report: Report) -> str:
    return json.dumps(report_values(report), ensure_ascii=False, indent=2) + "\n"


def report_values(report: Report) -> dict[str, Any]:
    """Decimals as strings: a JSON number is a float to most readers. A cost that nobody knows is null."""
    return {
        "period": report.period.name,
        "start": f"{report.period.start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{report.period.end:%Y-%m-%dT%H:%M:%SZ}",
        "timezone": report.zone,
        "currency": CURRENCY,
        "by": list(report.dimensions),
        "rows": [row_values(row, report.dimensions) for row in report.rows],
        "total": row_values(report.total, ()),
        "without_cost": [
            row_values(row, ("provider", "model"), ("calls", "unpriced", "unknown_usage"))
            for row in report.gaps
        ],
    }


def row_values(row: SpendRow, dimensions: Sequence[str], counts: Sequence[str] = COUNTS) -> dict[str, Any]:
    names = dict(zip(dimensions, row.names, strict=False))
    return names | {name: getattr(row, name) for name in counts} | {"cost_usd": exact_cost(row)}


def render_table(report: Report) -> str:
    head = [*report.dimensions, *(title for _, title in TABLE_COLUMNS), f"cost {CURRENCY}"]
    places = places_for(report.total.cost_usd)
    body = [table_cells(row, places) for row in report.rows]
    if not report.dimensions:
        head, last = ["", *head], ["TOTAL", *table_cells(report.total, places)]
    else:
        last = table_cells(report.total, places)
    named = max(1, len(report.dimensions))
    widths = [max(map(width, column)) for column in zip(head, *body, last, strict=True)]
    rule = "  ".join("-" * size for size in widths)
    lines = [f"Spend {report.period.name} ({report.zone})", "", line(head, widths, named), rule]
    lines += [line(cells, widths, named) for cells in body]
    lines += [rule] * bool(body) + [line(last, widths, named)]
    return "\n".join(text.rstrip() for text in [*lines, *notes(report)]) + "\n"


def table_cells(row: SpendRow, places: int) -> list[str]:
    names = [shown(name) or "(none)" for name in row.names]
    if row.names and row.names[0] == "TOTAL":
        names = ["TOTAL", *[""] * (len(names) - 1)]
    cost = f"{row.cost_usd:,.{places}f}" if row.cost_known else "unknown"
    return [*names, *(f"{getattr(row, name):,}" for name, _ in TABLE_COLUMNS), cost]


def notes(report: Report) -> list[str]:
    """What the total does not hold, by model, so that nobody takes it for the whole."""
    if not report.total.calls:
        return ["", "No calls in this period."]
    if not report.gaps:
        return []
    texts = ["", "Not in the total (so it is the least that was spent):"]
    for row in report.gaps:
        name = " ".join(filter(None, map(shown, row.names))) or "(no model)"
        if row.unpriced:
            texts.append(f"  {name}: {row.unpriced:,} unpriced (no price is known for it)")
        if row.unknown_usage:
            texts.append(f"  {name}: {row.unknown_usage:,} with unknown usage (the reply told no tokens)")
    return texts


def places_for(cost_usd: Decimal) -> int:
    """Cents for a bill; more digits while all that was spent is less than ten dollars."""
    size = abs(cost_usd)
    return 2 if size >= 10 or not size else 4 if size >= Decimal("0.1") else 6


def shown(text: str) -> str:
    """Control, format and direction characters show as a replacement character: nothing moves the cursor."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def line(cells: Sequence[str], widths: Sequence[int], named: int) -> str:
    padded = []
    for place, (cell, size) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (size - width(cell))
        padded.append(cell + space if place < named else space + cell)
    return "  ".join(padded)
