"""How the cost of one call came about: its row and the stored rates come in, lines to multiply leave. Pure.

It reads the price version that the call was priced with and not today's list, so the lines add up to the
cost in the ledger however prices moved since. Where they don't, `rest_usd` says by how much.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from collector.call import Usage
from collector.ledger.prices import dollars
from collector.ledger.rates import Rate, compile_rates

TITLES = {
    "input_mtok": "Input",
    "cache_read_mtok": "Input, read from cache",
    "cache_write_mtok": "Input, written to cache",
    "cache_write_1h_mtok": "Input, written to cache for an hour",
    "output_mtok": "Output",
    "input_audio_mtok": "Audio in",
    "output_audio_mtok": "Audio out",
    "cache_audio_read_mtok": "Audio in, read from cache",
    "output_reasoning_mtok": "Output, reasoning",
    "requests_kcount": "Requests",
}
MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Line:
    title: str
    quantity: Decimal
    unit: str  # how many the rate is for: "1M", "1,000", "second"
    rate_usd: Decimal
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Arithmetic:
    lines: list[Line]
    sum_usd: Decimal
    rest_usd: Decimal  # of the ledger's cost, not explained by the lines; 0 as it should be


def arithmetic(row: Mapping[str, Any]) -> Arithmetic | None:
    """None when the call has no price version, or one whose units are no longer known."""
    rates, cost_usd = row.get("price_rates"), row.get("cost_usd")
    if not rates or cost_usd is None:
        return None
    try:
        compiled = compile_rates({unit: Decimal(rate) for unit, rate in rates.items()})
    except (KeyError, ValueError, ArithmeticError):
        return None
    usage = usage_of(row)
    lines: dict[str, Line] = {}
    own: list[int] = []
    for rate in compiled:
        count = counted(rate, usage) - sum(own[at] for at in rate.inside)
        own.append(count)
        if count:
            lines[rate.unit] = line_of(rate, count, Decimal(rates[rate.unit]))
    ordered = [lines[unit] for unit in sorted(lines, key=lambda unit: (place(unit), unit))]
    if "input_mtok" in lines and any(unit.startswith("cache_") for unit in lines):
        ordered[0] = replace(ordered[0], title="Input, not from cache")
    total = sum((line.cost_usd for line in ordered), Decimal(0))
    return Arithmetic(ordered, total, cost_usd - total)


def place(unit: str) -> int:
    return list(TITLES).index(unit) if unit in TITLES else len(TITLES)


def usage_of(row: Mapping[str, Any]) -> Usage:
    named = {name: row.get(name) for name in Usage.__struct_fields__ if row.get(name) is not None}
    return msgspec.convert((row.get("other_usage") or {}) | named, Usage, strict=False)


def counted(rate: Rate, usage: Usage) -> int:
    """In the rate's own count: requests and tokens in ones, seconds in millionths."""
    if rate.field is None:
        return 0
    if rate.field == "":
        return 1
    value = getattr(usage, rate.field)
    if rate.field == "audio_seconds" and value is not None:
        return round(Decimal(repr(value)).scaleb(6))
    return value or 0


def line_of(rate: Rate, count: int, rate_usd: Decimal) -> Line:
    amount = rate.attos * count
    cost_usd = dollars(amount if rate.per == 1 else (amount + rate.per // 2) // rate.per)
    title = TITLES.get(rate.unit, rate.unit.replace("_", " "))
    if rate.field == "audio_seconds":
        unit = "hour" if rate.unit.endswith("hour") else "second"
        return Line(title, Decimal(count) / MICRO, unit, rate_usd, cost_usd)
    unit = {"mtok": "1M", "kcount": "1,000"}.get(rate.unit.rpartition("_")[2], "unit")
    return Line(title, Decimal(count), unit, rate_usd, cost_usd)
