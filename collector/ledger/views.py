"""The ledger's side of counting once: views of calls are loaded, and what is counted too often is taken out.
Enters: a connection in a transaction. Leaves: settled calls, and rollups that sum to them.

Invariants
- `settle` decides, and sees all views of a call that there are; so nobody's order of arrival matters.
- A relay's record is never taken out. What is taken out leaves no trace in the rollups.
- Whoever receives spans holds LOCK alone, whoever records calls holds it together with others: of two views
  that arrive at the same time, the later one sees the earlier.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import psycopg
from psycopg import sql

from collector.call import Call
from collector.ledger.copying import COLUMNS
from collector.ledger.rollups import Rollups, Total, add_up
from collector.ledger.rows import Row
from collector.ledger.settling import SLACK_NS, Key, Relayed, is_telling, settle
from collector.ledger.sightings import Sighting
from collector.store.sql import query

LOCK = 0x5135_0003  # pg_advisory_xact_lock
MOST_STEPS = 8  # from a trace to the replies it names, to the traces that name these, and so on

Connection = psycopg.Connection[Any]
Place = tuple[datetime, uuid.UUID]  # of a call in the ledger, but for its source
NAMES = sql.SQL(", ").join(sql.Identifier("calls", column) for column in COLUMNS)
TAKE_OUT = sql.SQL(query("otlp_take_out")).format(columns=NAMES)

decode_call = msgspec.msgpack.Decoder(Call).decode
encode_call = msgspec.msgpack.Encoder().encode


def source_of(tenant: str) -> uuid.UUID:
    """What came by OTLP is one source a tenant, whichever process took it."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"sizewise:otlp:{tenant}")


class Views(NamedTuple):
    """All that is known of some calls."""

    sightings: list[Sighting]
    relayed: list[Relayed]

    def settle(self) -> list[Call]:
        return settle(self.sightings, self.relayed)


def load_views(connection: Connection, tenant: str, traces: Iterable[bytes]) -> Views:
    """Of these traces, and of all that hangs together with them."""
    known: dict[Key, Sighting] = {}
    wanted, replies = set(traces), set[str]()
    for _ in range(MOST_STEPS):
        before = len(wanted), len(replies)
        values = {
            "source_id": source_of(tenant),
            "trace_ids": [uuid.UUID(bytes=trace_id) for trace_id in wanted],
            "response_ids": list(replies),
        }
        for row in connection.execute(query("otlp_sightings"), values).fetchall():
            sighting = sighting_of(row)
            known[sighting.key] = sighting
        wanted |= {trace_id for trace_id, _ in known}
        replies |= {one.response_id for one in known.values() if is_telling(one.response_id)}
        if (len(wanted), len(replies)) == before:
            break
    sightings = list(known.values())
    return Views(sightings, load_relayed(connection, tenant, wanted, replies, sightings))


def sighting_of(row: Sequence[Any]) -> Sighting:
    trace_id, span_id, parent_id, kind, response_id, started_at_ns, ended_at_ns, call = row
    return Sighting(
        trace_id.bytes,
        bytes(span_id),
        bytes(parent_id),
        kind,
        started_at_ns,
        ended_at_ns,
        response_id,
        decode_call(call) if call is not None else None,
    )


def load_relayed(
    connection: Connection, tenant: str, traces: set[bytes], replies: set[str], sightings: list[Sighting]
) -> list[Relayed]:
    if not sightings:
        return []
    values = {
        "tenant_id": tenant,
        "source_id": source_of(tenant),
        "trace_ids": [uuid.UUID(bytes=trace_id) for trace_id in traces],
        "response_ids": list(replies),
        # A relay's call may begin before the model server's span of it, while its body is still coming.
        "first": instant(min(one.started_at_ns for one in sightings) - SLACK_NS) - timedelta(minutes=10),
        "last": instant(max(one.ended_at_ns for one in sightings) + SLACK_NS),
    }
    found = connection.execute(query("otlp_relayed"), values).fetchall()
    return [
        Relayed(
            trace_id.bytes if trace_id else b"",
            bytes(span_id or b""),
            bytes(parent_id or b""),
            response_id,
            started_at_ns := round(started_at.timestamp() * 1e6) * 1000,
            started_at_ns + round(duration_ms * 1e6),
        )
        for trace_id, span_id, parent_id, response_id, started_at, duration_ms in found
    ]


def instant(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)


def add_sightings(connection: Connection, tenant: str, sightings: Sequence[Sighting]) -> set[Key]:
    """Returns those that are new."""
    values = {
        "source_id": source_of(tenant),
        "trace_ids": [uuid.UUID(bytes=one.trace_id) for one in sightings],
        "span_ids": [one.span_id for one in sightings],
        "parent_ids": [one.parent_id for one in sightings],
        "kinds": [one.kind for one in sightings],
        "response_ids": [one.response_id.replace("\0", "\ufffd") for one in sightings],
        "started": [one.started_at_ns for one in sightings],
        "ended": [one.ended_at_ns for one in sightings],
        "calls": [None if one.call is None else encode_call(one.call) for one in sightings],
    }
    added = connection.execute(query("otlp_add_sightings"), values).fetchall()
    return {(trace_id.bytes, bytes(span_id)) for trace_id, span_id in added}


def counted_calls(connection: Connection, tenant: str, views: Views) -> list[Place]:
    """The calls in the ledger that these sightings led to, not those whose sightings are forgotten."""
    keys = {one.key for one in views.sightings}
    values = {
        "source_id": source_of(tenant),
        "trace_ids": [uuid.UUID(bytes=trace_id) for trace_id in {trace_id for trace_id, _ in keys}],
    }
    found = connection.execute(query("otlp_counted"), values).fetchall()
    return [
        (started_at, call_id)
        for started_at, call_id, trace_id in found
        if (trace_id.bytes, call_id.bytes[8:]) in keys
    ]


def touched_traces(connection: Connection, tenant: str, rows: Sequence[Row]) -> set[bytes]:
    """The traces with spans that may be of these recorded calls."""
    values = {
        "source_id": source_of(tenant),
        "trace_ids": list({uuid.UUID(bytes=row.trace_id) for row in rows if row.trace_id}),
        "response_ids": list({row.response_id for row in rows if row.response_id}),
    }
    found = connection.execute(query("otlp_touched"), values).fetchall()
    return {trace_id.bytes for (trace_id,) in found}


def take_out(connection: Connection, tenant: str, places: Sequence[Place], zone: ZoneInfo) -> Rollups:
    """Takes calls out of the ledger. Leaves: what the rollups have to be changed by."""
    values = {
        "source_id": source_of(tenant),
        "started": [started_at for started_at, _ in places],
        "call_ids": [call_id for _, call_id in places],
    }
    gone = connection.execute(TAKE_OUT, values).fetchall()
    connection.execute(query("otlp_drop_adjustments"), values)
    return negative(add_up(map(row_from, gone)).align(zone))


def row_from(values: Sequence[Any]) -> Row:
    """A row as it was before it was copied, as far as the rollups need it."""
    named = dict(zip(Row._fields, values, strict=True))
    for field in Row._fields:
        value = named[field]
        if field == "started_at_us":
            named[field] = round(value.timestamp() * 1e6)
        elif field.endswith("_us") and value is not None:
            named[field] = round(value * 1000)
    return Row(**named)


def negative(added: Rollups) -> Rollups:
    for latency in added.latency:
        latency.calls = -latency.calls
    return Rollups([minus(one) for one in added.hours], [minus(one) for one in added.days], added.latency)


def minus(total: Total) -> Total:
    negated = Total(total.bucket, total.tenant_id, total.team, total.provider, total.model)
    for field in Total.__struct_fields__[5:]:
        setattr(negated, field, -getattr(total, field))
    return negated


def clear_empty(connection: Connection, tenant: str, changed: Rollups) -> None:
    """Rows of the rollups that count nothing any more: nobody asked for a model with no calls."""
    for name, records in (("hours", changed.hours), ("days", changed.days), ("latency", changed.latency)):
        if records:
            values = {"source_id": source_of(tenant), "buckets": list({one.bucket for one in records})}
            connection.execute(query(f"otlp_clear_{name}"), values)
