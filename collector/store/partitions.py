"""The daily partitions of `calls`: made ahead and on demand, dropped when they are too old. Days are UTC's.

A new partition is made beside the table and then attached, and attaching lets reads and writes go on; to
create it in place would wait for every reader and hold up every writer behind it. For the same reason a
drop gives up soon when readers hold the table, and is tried again the next time.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from collector.store.sql import query

PREFIX = "calls_"
LOCK = 0x5135_0002  # pg_advisory_xact_lock: whoever makes partitions
DROP_PATIENCE: LiteralString = "2s"
MOST_DAYS = 5000

Connection = psycopg.Connection[Any]


def partition_name(day: date) -> str:
    return f"{PREFIX}{day:%Y%m%d}"


def partition_day(name: str) -> date | None:
    """None for a partition that is not ours by its name, which we leave alone."""
    try:
        return datetime.strptime(name.removeprefix(PREFIX), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def existing_days(connection: Connection) -> set[date]:
    found = connection.execute(query("partitions")).fetchall()
    return {day for (name,) in found if (day := partition_day(name)) is not None}


def existing_range(connection: Connection) -> tuple[date, date] | None:
    """The first and the last day that have a partition; None where there is none."""
    days = existing_days(connection)
    return (min(days), max(days)) if days else None


def ensure_partitions(connection: Connection, first_day: date, last_day: date) -> list[date]:
    """Make what is missing from `first_day` to `last_day`, both included; returns the days made.

    May be called by several at once. Within a transaction the lock is held to its end, so call it before
    the transaction that writes.
    """
    count = (last_day - first_day).days + 1
    if count > MOST_DAYS:
        raise ValueError(f"{count} days of partitions from {first_day} to {last_day}: at most {MOST_DAYS}")
    wanted = {first_day + timedelta(days=i) for i in range(count)}
    if wanted <= existing_days(connection):
        return []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s::bigint)", (LOCK,))
        missing = sorted(wanted - existing_days(connection))
        for day in missing:
            _make_partition(connection, day)
    return missing


def _make_partition(connection: Connection, day: date) -> None:
    name = sql.Identifier(partition_name(day))
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE calls INCLUDING ALL)").format(name))
    connection.execute(
        sql.SQL("ALTER TABLE calls ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            name, _midnight(day), _midnight(day + timedelta(days=1))
        )
    )


def _midnight(day: date) -> sql.Literal:
    return sql.Literal(f"{day.isoformat()} 00:00:00+00")


# What was adjusted of calls counts with them and goes with them; rollups and the audit keep it.
DROP_ADJUSTMENTS: LiteralString = (
    "DELETE FROM adjustments WHERE started_at < (%s::date)::timestamp AT TIME ZONE 'UTC'"
)


def drop_partitions(connection: Connection, before_day: date) -> list[date]:
    """Drop the days before `before_day`, the oldest first, each by itself; returns the days dropped.

    Stops at the first that others hold for longer than a moment. Not to be called within a transaction.
    """
    dropped = []
    for day in sorted(day for day in existing_days(connection) if day < before_day):
        try:
            with connection.transaction():
                connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(DROP_PATIENCE)))
                name = sql.Identifier(partition_name(day))
                connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
                connection.execute(DROP_ADJUSTMENTS, (day + timedelta(days=1),))
        except psycopg.errors.LockNotAvailable:
            break
        dropped.append(day)
    return dropped
