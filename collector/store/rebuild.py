"""Align the rollups to another reporting zone: the calls that are still there are counted anew, and the hours
of those already dropped move as they are, by the instant at which they began.

Invariants
- One transaction: the old rollups in the old zone, or the new ones in the new zone.
- No call and no cent comes or goes: the sums before and after are compared before it commits.
- Recorders wait meanwhile, and must read the zone anew for each batch.
"""

import logging
from datetime import UTC, datetime, time
from typing import Any, LiteralString

import psycopg

from collector.errors import StoreError
from collector.store.buckets import QUARTER, day_bucket, hour_bucket
from collector.store.partitions import existing_range
from collector.store.schema import check_zone
from collector.store.sql import query

log = logging.getLogger(__name__)

NEVER = datetime.max.replace(tzinfo=UTC)
HOLD: LiteralString = "LOCK TABLE cursors, rollup_hours, rollup_days, latency_hours IN EXCLUSIVE MODE"
SUMS: LiteralString = "SELECT coalesce(sum(calls), 0), coalesce(sum(cost_usd), 0) FROM rollup_hours"
SCRATCH: LiteralString = """
CREATE TEMP TABLE rebuilt_quarters (quarter timestamptz PRIMARY KEY, hour timestamptz, day timestamptz)
    ON COMMIT DROP;
CREATE TEMP TABLE rebuilt (LIKE rollup_hours, day timestamptz) ON COMMIT DROP;
CREATE TEMP TABLE rebuilt_latency (LIKE latency_hours) ON COMMIT DROP;
"""
REPLACE: LiteralString = """
ANALYZE rebuilt;
TRUNCATE rollup_hours, rollup_days, latency_hours;
INSERT INTO latency_hours TABLE rebuilt_latency;
INSERT INTO rollup_days
SELECT
    source_id, day, tenant_id, team, provider, model, sum(calls), sum(errors), sum(interrupted),
    sum(unpriced), sum(unknown_usage), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
    sum(cache_write_tokens), sum(reasoning_tokens), sum(cost_usd)
FROM rebuilt
GROUP BY source_id, day, tenant_id, team, provider, model;
ALTER TABLE rebuilt DROP COLUMN day;
INSERT INTO rollup_hours TABLE rebuilt;
"""


def rebuild_rollups(connection: psycopg.Connection[Any], zone: str) -> None:
    check_zone(zone)
    with connection.transaction():
        connection.execute(HOLD)
        before = connection.execute(SUMS).fetchone()
        kept_before = _end_of_kept(connection)
        connection.execute(SCRATCH)
        _map_quarters(connection, kept_before, zone)
        for name in ("rebuild_totals", "rebuild_latency"):
            connection.execute(query(name), {"kept_before": kept_before})
        connection.execute(REPLACE)
        after = connection.execute(SUMS).fetchone()
        if after != before:
            raise StoreError(
                f"the calls that are kept do not add up to the rollups: (calls, dollars) would change from "
                f"{before} to {after}. Nothing was changed; the ledger goes on in its present zone"
            )
        connection.execute(
            "UPDATE settings SET value = %s, updated_at = now() WHERE name = 'reporting_zone'", (zone,)
        )
    log.info("rollups rebuilt for the reporting zone %s", zone)


def _end_of_kept(connection: psycopg.Connection[Any]) -> datetime:
    """Hours of the old zone before this instant are kept: their calls are gone, or partly gone."""
    days = existing_range(connection)
    if days is None:
        return NEVER
    row = connection.execute(query("reporting_zone")).fetchone()
    if row is None:
        raise StoreError("the database has no reporting zone yet: run `sizewise migrate`")
    midnight = datetime.combine(days[0], time(), UTC)
    begin = hour_bucket(midnight, row[0])
    end = begin if begin == midnight else begin + QUARTER
    while hour_bucket(end, row[0]) != end:
        end += QUARTER
    straddling = connection.execute(query("rebuild_straddling"), {"begin": begin, "end": end}).fetchone()
    return begin if straddling == (True,) else end


def _map_quarters(connection: psycopg.Connection[Any], kept_before: datetime, zone: str) -> None:
    """Zones are reckoned here and not in SQL, so that there is one reckoning: that of `buckets`."""
    quarters = connection.execute(query("rebuild_quarters"), {"kept_before": kept_before}).fetchall()
    with connection.cursor() as cursor, cursor.copy("COPY rebuilt_quarters FROM STDIN") as copy:
        for (quarter,) in quarters:
            copy.write_row((quarter, hour_bucket(quarter, zone), day_bucket(quarter, zone)))
