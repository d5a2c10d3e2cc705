"""Calls of the past at the prices of today: the one way in which history changes, and it leaves a trace.

Enters: a connection, a price list, a stretch of time, and who wants it and why. Leaves: a `Repricing`, and
unless it was only to be shown, one adjustment for each call whose cost changed, the rollups with them, and a
row in the audit, all in one transaction.

Invariants
- No row of `calls` changes: a call counts as recorded plus its adjustments, and priced twice it counts once.
- What has no price today keeps the one it had: no dollar leaves the ledger because a list forgot a model.
"""

import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from collector.call import Call, Usage
from collector.ledger.prices import Priced, PriceList
from collector.ledger.rollups import QUARTER_US, Total, key_text, merge, start_of
from collector.store.buckets import day_bucket, hour_bucket
from collector.store.sql import query

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

SCOPE = sql.SQL("tenant_id = %(tenant)s")
HOLD = "LOCK TABLE adjustments IN SHARE ROW EXCLUSIVE MODE; LOCK TABLE rollup_hours IN ROW EXCLUSIVE MODE"
PAGE = 5000
LABELS = ("tenant_id", "upstream", "provider", "operation", "zone", "team", "project", "route", "environment")
COPIED = (*LABELS, "key_id", "end_user", "unit", "source_id", "call_id")
OWN = (
    "started_at",
    "adjustment_id",
    "audit_id",
    "kind",
    "model",
    "cost_usd",
    "unpriced",
    "price_state",
    "price_id",
)
COPY = sql.SQL("COPY adjustments ({}) FROM STDIN").format(
    sql.SQL(", ").join(map(sql.Identifier, (*COPIED, *OWN)))
)


class ModelChange(msgspec.Struct):
    provider: str
    model: str
    calls: int = 0  # whose cost or state changes
    newly_priced: int = 0  # of them: had no price before
    before_usd: Decimal = Decimal(0)
    after_usd: Decimal = Decimal(0)


class Repricing(msgspec.Struct):
    """What was looked at and what changes. before and after are of the calls that change."""

    calls: int = 0
    changed: int = 0
    without_price: int = 0  # today: they keep what they have
    before_usd: Decimal = Decimal(0)
    after_usd: Decimal = Decimal(0)
    models: list[ModelChange] = []
    audit_id: str = ""  # "" where nothing was written


def reprice(
    connection: Connection,
    prices: PriceList,
    *,
    tenant: str,
    start: datetime,
    end: datetime,
    model: str = "",
    who: str,
    why: str,
    dry_run: bool,
) -> Repricing:
    values = {"tenant": tenant, "start": start, "end": end, "model": model}
    with connection.transaction():
        if not dry_run:
            connection.execute(HOLD)
        work = Work(connection, prices, uuid.uuid4())
        for page in read_pages(connection, values):
            changes = list(work.changes(page))
            if changes and not dry_run:
                work.write(changes)
        found = work.result()
        if found.changed and not dry_run:
            work.roll_up()
            work.write_versions()
            found.audit_id = str(work.audit_id)
            asked = {"from": start.isoformat(), "to": end.isoformat(), "model": model, "calls": found.changed}
            audit = {
                "audit_id": work.audit_id,
                "tenant": tenant,
                "who": who,
                "action": "reprice",
                "why": why,
                "before": encode(asked | {"cost_usd": f"{found.before_usd:f}"}),
                "after": encode(
                    asked | {"cost_usd": f"{found.after_usd:f}", "models": msgspec.to_builtins(found.models)}
                ),
            }
            connection.execute(query("reprice_audit"), audit)
    return found


def read_pages(connection: Connection, values: dict[str, Any]) -> Iterator[list[Row]]:
    statement = sql.SQL(query("reprice_calls")).format(scope=SCOPE)
    with connection.cursor("repriced", row_factory=dict_row) as cursor:
        cursor.execute(statement, values)
        while page := cursor.fetchmany(PAGE):
            yield page


class Work:
    """One repricing under way."""

    def __init__(self, connection: Connection, prices: PriceList, audit_id: uuid.UUID) -> None:
        self._connection, self._prices, self.audit_id = connection, prices, audit_id
        self._found = Repricing(models=[])
        self._models: dict[tuple[str, str], ModelChange] = {}
        self._totals: dict[uuid.UUID, dict[tuple[Any, ...], Total]] = {}
        self._used: set[str] = set()

    def changes(self, page: Iterable[Row]) -> Iterator[tuple[Row, Priced]]:
        for row in page:
            self._found.calls += 1
            priced = self._prices.price(call_of(row))
            if priced.cost_usd is None or priced.price_state not in {"priced", "free"}:
                self._found.without_price += 1
            elif priced.cost_usd != row["cost_usd"] or row["unpriced"]:
                self._count(row, priced.cost_usd)
                self._used.add(priced.price_id)
                yield row, priced

    def _count(self, row: Row, cost_usd: Decimal) -> None:
        name = (row["provider"], row["served_model"] or row["model"])
        change = self._models.setdefault(name, ModelChange(*name))
        for one in (change, self._found):
            one.before_usd += row["cost_usd"]
            one.after_usd += cost_usd
        change.calls += 1
        change.newly_priced += row["unpriced"]
        self._found.changed += 1
        quarter = row["started_at_us"] // QUARTER_US
        key = (quarter, *map(key_text, (row["tenant_id"], row["team"], *name)))
        totals = self._totals.setdefault(row["source_id"], {})
        total = totals.get(key)
        if total is None:
            total = totals[key] = Total(start_of(quarter), *key[1:])
        total.cost_usd += cost_usd - row["cost_usd"]
        total.unpriced -= row["unpriced"]

    def write(self, changes: Iterable[tuple[Row, Priced]]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for row, priced in changes:
                copied = [row[name] for name in COPIED]
                at = datetime.fromtimestamp(row["started_at_us"] // 1_000_000, UTC)
                at = at.replace(microsecond=row["started_at_us"] % 1_000_000)
                difference = (priced.cost_usd or Decimal(0)) - row["cost_usd"]
                model = row["served_model"] or row["model"]
                named = (at, uuid.uuid4(), self.audit_id, "reprice", model, difference, -row["unpriced"])
                copy.write_row((*copied, *named, priced.price_state, priced.price_id))

    def roll_up(self) -> None:
        found = self._connection.execute(query("reporting_zone")).fetchone()
        zone = ZoneInfo(found[0] if found else "UTC")
        for source_id in sorted(self._totals):
            hours = merge(self._totals[source_id].values(), lambda at: hour_bucket(at, zone))
            days = merge(hours, lambda at: day_bucket(at, zone))
            for name, records in (("hours", hours), ("days", days)):
                values = {"source_id": source_id, "records": encode(records)}
                self._connection.execute(query(f"ledger_add_{name}"), values)

    def write_versions(self) -> None:
        for price_id in sorted(self._used - {""}):
            version = self._prices.versions[price_id]._asdict()
            version["rates"] = encode(version["rates"])
            self._connection.execute(query("ledger_add_version"), version)

    def result(self) -> Repricing:
        models = sorted(self._models.values(), key=lambda one: (one.before_usd - one.after_usd, one.model))
        self._found.models = models
        return self._found


def call_of(row: Row) -> Call:
    """As far as its price depends on it."""
    counted = {name: row[name] for name in Usage.__struct_fields__ if row.get(name) is not None}
    names = (
        "provider",
        "operation",
        "zone",
        "team",
        "model",
        "served_model",
        "service_tier",
        "status",
        "outcome",
    )
    return Call(
        call_id=row["call_id"].bytes,
        started_at_ns=row["started_at_us"] * 1000,
        usage=msgspec.convert((row["other_usage"] or {}) | counted, Usage, strict=False),
        **{name: row[name] for name in names},
    )


def encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
