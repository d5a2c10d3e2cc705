"""Rollups of a made-up quarter: two teams, by the hour and by the local day, as the recorder sums them."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from collector.store.buckets import day_bucket, hour_bucket

SOURCE = uuid.UUID("018f0000-0000-7000-8000-000000000009")
INSERT = (
    "INSERT INTO {} (source_id, bucket, tenant_id, team, provider, model, calls, cost_usd)"
    " VALUES (%s, %s, %s, %s, 'openai', 'gpt-4o', %s, %s)"
)
Spend = Callable[[datetime, str], tuple[int, Decimal]]  # an hour and a team -> its calls and their cost
Fill = Callable[..., None]


@pytest.fixture
def fill(database: psycopg.Connection[Any]) -> Fill:
    def insert(
        first: datetime,
        end: datetime,
        spend: Spend,
        *,
        teams: tuple[str, ...] = ("search", "support"),
        zone: str = "UTC",
        tenant: str = "default",
    ) -> None:
        sums: dict[tuple[str, datetime, str], tuple[int, Decimal]] = {}
        while first < end:
            for team in teams:
                calls, cost = spend(first, team)
                for table, bucket in (("rollup_hours", hour_bucket), ("rollup_days", day_bucket)):
                    key = (table, bucket(first, zone), team)
                    have = sums.get(key, (0, Decimal(0)))
                    sums[key] = (have[0] + calls, have[1] + cost)
            first += timedelta(hours=1)
        with database.cursor() as cursor:
            for table in ("rollup_hours", "rollup_days"):
                rows = [
                    (SOURCE, bucket, tenant, team, *found)
                    for (where, bucket, team), found in sums.items()
                    if where == table and found != (0, 0)
                ]
                cursor.executemany(INSERT.format(table), rows)
            cursor.execute("UPDATE settings SET value = %s WHERE name = 'reporting_zone'", (zone,))

    return insert
