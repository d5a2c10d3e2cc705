"""What was spent: a tenant, a stretch of time and dimensions come in, rows with money and tokens leave.

Where team, provider, model, day and month suffice, the rollups answer (thousands of rows instead of
millions of calls); every other dimension, and bounds within an hour, are asked of the calls. Both give
the same sums: that is an invariant of the ledger, and it is tested.

Money is Decimal. A row's cost is what is known; `unpriced` and `unknown_usage` say how many of its calls
have no cost. Where nothing else was spent the row has no cost at all (`cost_known`), not one of zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from collector.errors import SizewiseError
from collector.spend.scope import scoped
from collector.store.buckets import day_bucket, hour_bucket
from collector.store.sql import query

ROLLUP_DIMENSIONS = {
    "team": sql.SQL("team"),
    "provider": sql.SQL("provider"),
    "model": sql.SQL("model"),
    "day": sql.SQL("to_char(bucket AT TIME ZONE %(zone)s, 'YYYY-MM-DD')"),
    "month": sql.SQL("to_char(bucket AT TIME ZONE %(zone)s, 'YYYY-MM')"),
}
CALL_DIMENSIONS = {
    "team": sql.SQL("team"),
    "provider": sql.SQL("provider"),
    "model": sql.SQL("coalesce(nullif(served_model, ''), model)"),
    "day": sql.SQL("to_char(started_at AT TIME ZONE %(zone)s, 'YYYY-MM-DD')"),
    "month": sql.SQL("to_char(started_at AT TIME ZONE %(zone)s, 'YYYY-MM')"),
    "project": sql.SQL("project"),
    "route": sql.SQL("route"),
    "environment": sql.SQL("environment"),
    "key_id": sql.SQL("key_id"),
    "end_user": sql.SQL("end_user"),
    "upstream": sql.SQL("upstream"),
    "operation": sql.SQL("operation"),
    "unit": sql.SQL("unit"),
    "zone": sql.SQL("zone"),
}
IN_TIME = ("day", "month")  # rows of these stand in the order of time, all others by cost

# An error is a call whose answer failed. One that the client left, or that we lost sight of, is not.
IS_ERROR = sql.SQL("outcome IN ('error', 'upstream_cut', 'upstream_unreachable', 'refused')")

COUNTS = (
    "calls",
    "errors",
    "interrupted",
    "unpriced",
    "unknown_usage",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


@dataclass(frozen=True, slots=True)
class SpendRow:
    names: tuple[str, ...]  # one value per dimension, "" where nothing is known
    calls: int = 0
    errors: int = 0
    interrupted: int = 0
    unpriced: int = 0  # calls with usage and no price
    unknown_usage: int = 0
    input_tokens: int = 0  # include cache reads and writes
    output_tokens: int = 0  # include reasoning
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    @property
    def cost_known(self) -> bool:
        """A row without any cost, but with calls of unknown cost, did not cost zero."""
        return self.cost_usd != 0 or self.unpriced + self.unknown_usage == 0


class UnknownDimension(SizewiseError):  # noqa: N818  (it names what is wrong; the text says the rest)
    """Somebody asked for a dimension that does not exist; `allowed` lists those that do."""

    allowed = tuple(CALL_DIMENSIONS)


def check_dimensions(dimensions: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dimensions)
    for name in found:
        if name not in CALL_DIMENSIONS:
            raise UnknownDimension(
                f"unknown dimension {name[:80]!r}: allowed are {', '.join(CALL_DIMENSIONS)}"
            )
    if len(set(found)) != len(found):
        raise UnknownDimension(f"a dimension is named twice in {','.join(found)!r}")
    return found


def spend_by(
    connection: Connection[Any],
    *,
    tenant: str,
    start: datetime,
    end: datetime,
    dimensions: Sequence[str] = (),
    zone: str | None = None,
) -> list[SpendRow]:
    """Sums per value of the dimensions in [start, end); without a dimension exactly one row, the total."""
    names = check_dimensions(dimensions)
    zone = zone or reporting_zone(connection)
    parameters: dict[str, Any] = {"tenant": tenant, "start": start, "end": end, "zone": zone}
    if all(name in ROLLUP_DIMENSIONS for name in names) and on_the_hour(start, end, zone):
        first_day, last_day = whole_days(start, end, zone)
        parameters |= {"first_day": first_day, "last_day": last_day}
        statement = scoped("spend_rollups", **slots(names, ROLLUP_DIMENSIONS))
    else:
        statement = scoped("spend_calls", is_error=IS_ERROR, **slots(names, CALL_DIMENSIONS))
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(statement, parameters).fetchall()
    rows = [
        SpendRow(
            names=tuple(row[name] for name in names),
            cost_usd=row["cost_usd"],
            **{count: row[count] for count in COUNTS},
        )
        for row in found
    ]
    return sorted(rows, key=lambda row: rank(row, names))


def slots(names: tuple[str, ...], expressions: dict[str, sql.SQL]) -> dict[str, sql.Composable]:
    """The two holes of a spend query: what to select and how to group. Names are from our own table."""
    selected = [sql.SQL("{} AS {},").format(expressions[name], sql.Identifier(name)) for name in names]
    positions = sql.SQL(", ").join(sql.Literal(position) for position in range(1, len(names) + 1))
    grouping = sql.SQL("GROUP BY {}").format(positions) if names else sql.SQL("")
    return {"dimensions": sql.SQL("\n    ").join(selected), "grouping": grouping}


def rank(row: SpendRow, names: tuple[str, ...]) -> tuple[Any, ...]:
    in_time = tuple(value for name, value in zip(names, row.names, strict=True) if name in IN_TIME)
    return (in_time, -row.cost_usd, -row.calls, row.names)


def total(rows: Iterable[SpendRow], width: int = 0) -> SpendRow:
    """The sum of rows, under the name TOTAL in a table `width` dimensions wide."""
    listed = list(rows)
    names = ("TOTAL", *[""] * (width - 1)) if width else ()
    sums = {count: sum(getattr(row, count) for row in listed) for count in COUNTS}
    return SpendRow(names=names, cost_usd=sum((row.cost_usd for row in listed), Decimal(0)), **sums)


def reporting_zone(connection: Connection[Any]) -> str:
    row = connection.execute(query("reporting_zone")).fetchone()
    return str(row[0]) if row else "UTC"


def on_the_hour(start: datetime, end: datetime, zone: str) -> bool:
    return hour_bucket(start, zone) == start and hour_bucket(end, zone) == end


def whole_days(start: datetime, end: datetime, zone: str) -> tuple[datetime, datetime]:
    """The longest stretch of whole local days inside [start, end]; empty (both = end) if there is none."""
    first = day_bucket(start, zone)
    if first < start:
        first = next_day(first, zone)
    last = day_bucket(end, zone)
    return (first, last) if first < last else (end, end)


def next_day(day: datetime, zone: str) -> datetime:
    """30 hours on is within the next local day, whether this one has 23, 24 or 25."""
    return day_bucket(day + timedelta(hours=30), zone)
