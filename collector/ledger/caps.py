"""The ledger's part of a policy: keys as they are bound, and what is spent of each cap in its present window.

A connection (in one snapshot), the rules and the time enter; a Policy leaves. Spend is read from the ledger,
never counted here: a restart, a second recorder or a late call can't make a cap forget or double.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

from collector.policy import CapEntry, CapRule, KeyEntry, Policy, with_version
from collector.store.buckets import QUARTER, day_bucket, hour_bucket, month_bounds
from collector.store.sql import query

Connection = psycopg.Connection[Any]
Row = dict[str, Any]
Spend = dict[tuple[str, str], Decimal]  # by kind and name: ("project", "search"), ("key", its id), ...
NOTHING = Decimal(0)


class Windows(NamedTuple):
    """The present day and month of the reporting zone."""

    day_start: datetime
    day_end: datetime
    month_start: datetime
    month_end: datetime


def find_windows(now: datetime, zone: str) -> Windows:
    local = now.astimezone(ZoneInfo(zone))
    day_start = day_bucket(now, zone)
    day_end = day_bucket(day_start + timedelta(hours=30), zone)  # within the next day, be this one 23 or 25 h
    return Windows(day_start, day_end, *month_bounds(local.year, local.month, zone))


class PolicyReader:
    """Remembers what the calls of each day and hour came to while the rollups say that it can't have changed:
    only what is new is summed up again."""

    def __init__(self, tenant: str, rules: Sequence[CapRule]) -> None:
        self._tenant, self._rules = tenant, rules
        self._asked: tuple[list[str], list[str]] = ([], [])
        self._known: dict[datetime, tuple[tuple[int, Decimal], Spend]] = {}

    def read_marks(self, connection: Connection) -> tuple[Any, ...]:
        """While they are the same, so is the policy, within one window. The last is the zone."""
        found = connection.execute(query("policy_marks"), {"tenant": self._tenant}).fetchone()
        return tuple(found or ())

    def read(self, connection: Connection, now: datetime, windows: Windows, zone: str) -> Policy:
        with connection.cursor(row_factory=dict_row) as cursor:
            keys = cursor.execute(query("policy_keys"), {"tenant": self._tenant}).fetchall()
        shared = [key_ids_of(rule, keys) for rule in self._rules]
        caps: list[CapEntry] = []
        if self._rules:
            by_day, by_month = self._read_spend(connection, windows, zone, shared)
            for rule, key_ids in zip(self._rules, shared, strict=True):
                spend = by_day if rule.per == "day" else by_month
                caps.append(cap_entry(rule, key_ids, spend, windows))
        return with_version(
            Policy(
                made_at_s=now.timestamp(),
                keys_in_use=bool(keys),
                keys=[key_entry(key) for key in keys if not key["revoked"]],
                caps=caps,
            )
        )

    def _read_spend(
        self, connection: Connection, windows: Windows, zone: str, shared: Iterable[list[str]]
    ) -> tuple[Spend, Spend]:
        values = {"tenant": self._tenant, **windows._asdict()}
        buckets: dict[datetime, list[Row]] = {}
        with connection.cursor(row_factory=dict_row) as cursor:
            for row in cursor.execute(query("policy_buckets"), values):
                buckets.setdefault(row["bucket"], []).append(row)
        by_day, by_month = Spend(), Spend()
        below = self._read_below(connection, buckets, windows, zone, shared)
        for bucket, rows in buckets.items():
            spend = below.get(bucket, {}) | {("team", row["team"]): row["cost_usd"] for row in rows}
            add(by_month, spend)
            if bucket >= windows.day_start:
                add(by_day, spend)
        return by_day, by_month

    def _read_below(
        self,
        connection: Connection,
        buckets: dict[datetime, list[Row]],
        windows: Windows,
        zone: str,
        shared: Iterable[list[str]],
    ) -> dict[datetime, Spend]:
        """What projects and keys spent in each bucket, which only the calls know. Calls are added and never
        changed, so a bucket of the same count and cost is the same."""
        projects = sorted({rule.name for rule in self._rules if rule.kind == "project"})
        key_ids = sorted({key_id for ids in shared for key_id in ids})
        if (projects, key_ids) != self._asked:
            self._asked, self._known = (projects, key_ids), {}
        if not projects and not key_ids:
            return {}
        known = self._known
        self._known = {}
        for bucket, rows in buckets.items():
            mark = (sum(row["calls"] for row in rows), sum((row["cost_usd"] for row in rows), NOTHING))
            if bucket in known and known[bucket][0] == mark:
                self._known[bucket] = known[bucket]
                continue
            bucket_of = day_bucket if bucket < windows.day_start else hour_bucket
            end = end_of(bucket, lambda at, of=bucket_of: of(at, zone))  # type: ignore[misc]
            self._known[bucket] = (mark, self._sum_calls(connection, bucket, end))
        return {bucket: spend for bucket, (_, spend) in self._known.items()}

    def _sum_calls(self, connection: Connection, start: datetime, end: datetime) -> Spend:
        projects, key_ids = self._asked
        values = {
            "tenant": self._tenant,
            "start": start,
            "end": end,
            "projects": projects,
            "key_ids": key_ids,
        }
        spend = Spend()
        for project, key_id, cost_usd in connection.execute(query("policy_spend"), values):
            add(spend, {("project", project): cost_usd, ("key", key_id): cost_usd})
        return spend


def key_entry(row: Row) -> KeyEntry:
    names = ("key_id", "key_hash", "team", "project", "environment")
    return KeyEntry(**{name: row[name] for name in names})


def key_ids_of(rule: CapRule, keys: Iterable[Row]) -> list[str]:
    """Keys of one name share its cap, so that a new key doesn't bring a new allowance."""
    if rule.kind != "key":
        return []
    return [key["key_id"] for key in keys if rule.name in (key["name"], key["key_id"])]


def cap_entry(rule: CapRule, key_ids: list[str], spend: Spend, windows: Windows) -> CapEntry:
    names = key_ids if rule.kind == "key" else [rule.name]
    start, end = windows[:2] if rule.per == "day" else windows[2:]
    return CapEntry(
        rule=rule,
        key_ids=key_ids,
        spent_usd=sum((spend.get((rule.kind, name), NOTHING) for name in names), NOTHING),
        starts_at_s=start.timestamp(),
        ends_at_s=end.timestamp(),
    )


def add(total: Spend, more: Spend) -> None:
    for name, cost_usd in more.items():
        total[name] = total.get(name, NOTHING) + cost_usd


def end_of(bucket: datetime, bucket_of: Callable[[datetime], datetime]) -> datetime:
    end = bucket + QUARTER
    while bucket_of(end) == bucket:
        end += QUARTER
    return end
