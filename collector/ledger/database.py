"""The ledger's tables, as the exporter writes them. Enters: rows, encoded. Leaves: one committed transaction
of calls, rollups, price versions, quarantine and the journal's cursor, or nothing at all.

Invariants
- Exactly once: the cursor moves by compare-and-set in the transaction that writes the rows. When the answer
  to a commit is lost, the cursor says whether it happened; nobody retries without reading it.
- Rollups count the rows of their own transaction, never rows that were there before.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import msgspec
import psycopg
from opentelemetry.sdk.trace import ReadableSpan
from psycopg import sql

from collector.journal import BadFrameRecord, Position
from collector.ledger.copying import COLUMNS, HEADER, TRAILER
from collector.ledger.estimates import Key, Ratios
from collector.ledger.rates import PriceVersion
from collector.ledger.rollups import Rollups, Sums, add_up
from collector.ledger.rows import Row
from collector.ledger.views import (
    LOCK,
    Place,
    clear_empty,
    counted_calls,
    load_views,
    source_of,
    take_out,
    touched_traces,
)
from collector.store.partitions import ensure_partitions
from collector.store.sql import query

log = logging.getLogger(__name__)

DAY_US = 86_400 * 1_000_000

# A database that no longer answers is given up, so that record can be stopped and can come back.
OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 5,
    "application_name": "sizewise record",
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
STATEMENT_PATIENCE = "SET statement_timeout = '60s'"

# What says that a row is wrong or there already, and not that the database is in trouble.
REFUSALS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)

Connection = psycopg.Connection[Any]
Frame = tuple[Position, bytes]  # where it stands, and its payload
START = Position(0, 0)  # before the first segment, whichever that is

NAMES = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
COPY_CALLS = sql.SQL("COPY calls ({}) FROM STDIN (FORMAT BINARY)").format(NAMES)
COPY_ARRIVING = sql.SQL("COPY arriving ({}) FROM STDIN (FORMAT BINARY)").format(NAMES)
SHARE_LOCK = sql.SQL("SELECT pg_advisory_xact_lock_shared({})").format(sql.Literal(LOCK))
ANY_SIGHTING: LiteralString = "SELECT EXISTS (SELECT FROM sightings)"
INSERT_NEW = sql.SQL(query("ledger_insert_new")).format(columns=NAMES)


class CursorMoved(Exception):  # noqa: N818 - it names what happened
    """Another writer recorded this journal further: read the cursor again."""


class SpanBatch(msgspec.Struct):
    """What one read of a journal came to: spans, the frames they came from, and what could not become one."""

    source_id: uuid.UUID
    spans: Iterable[tuple[ReadableSpan, Frame]]  # made as they are taken stay in the CPU cache
    bad: list[BadFrameRecord]  # may grow while the spans are made
    start: Position | None  # None: the journal was never recorded
    end: Position
    learn: Callable[[], list[tuple[Key, Ratios]]] = list  # asked when all spans are made


class Entry(msgspec.Struct):
    """A row on its way: what it is, its bytes, and the frame to keep if it is refused."""

    row: Row
    encoded: bytes
    frame: Frame


class LedgerTables:
    def __init__(self, url: str, versions: Mapping[str, PriceVersion]) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._versions = versions
        self._connection: Connection | None = None
        self._days: set[date] = set()  # that have a partition
        self._stored: set[str] = set()  # price versions that are in the database

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            connection = psycopg.connect(self._url, **OPTIONS)
            connection.execute(STATEMENT_PATIENCE)
            self._connection = connection
        return self._connection

    def disconnect(self) -> None:
        """After trouble: what was known of the database may no longer be so."""
        connection, self._connection = self._connection, None
        self._days.clear()
        self._stored.clear()
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def ping(self) -> None:
        self.connection.execute("SELECT 1")

    def open_journal(self, source_id: uuid.UUID, *, tenant_id: str, host: str, name: str) -> Position | None:
        """Makes a journal known, and tells how far it was recorded; None: not at all."""
        values = {"source_id": source_id, "tenant_id": tenant_id, "host": host, "name": name}
        self.connection.execute(query("ledger_add_source"), values)
        self.connection.execute(query("ledger_open_cursor"), values)
        found = self.connection.execute(query("ledger_read_cursor"), values).fetchone()
        if found is None or Position(*found) == START:
            return None
        return Position(*found)

    def ensure_days(self, entries: Sequence[Entry]) -> None:
        """In its own transaction, before the one that writes: rows outside every partition fail a batch."""
        numbers = {entry.row.started_at_us // DAY_US for entry in entries}
        days = {date(1970, 1, 1) + timedelta(days=number) for number in numbers} - self._days
        for day in sorted(days):
            ensure_partitions(self.connection, day, day)
        self._days |= days

    def forget_days(self) -> None:
        self._days.clear()

    def commit(
        self,
        batch: SpanBatch,
        entries: Sequence[Entry],
        bad: Sequence[BadFrameRecord],
        sums: Sums | None = None,
    ) -> Rollups:
        """All of it or nothing. Without `sums` any row may be there already: the new ones are added up."""
        old = batch.start or START
        with self.connection.transaction():
            self.connection.execute(SHARE_LOCK)
            values = {
                "source_id": batch.source_id,
                "calls": len(entries),
                "segment": batch.end.segment,
                "byte_offset": batch.end.offset,
                "old_segment": old.segment,
                "old_byte_offset": old.offset,
            }
            moved = self.connection.execute(query("ledger_move_cursor"), values).fetchone()
            if moved is None:
                raise CursorMoved(f"{batch.source_id} is no longer at segment {old.segment}, {old.offset}")
            rows = self._copy(COPY_CALLS, entries) if sums is not None else self._insert_new(entries)
            versions = self._add_versions(rows)
            zone = ZoneInfo(moved[0] or "UTC")
            added = (sums or add_up(rows)).align(zone)
            self._roll_up(batch.source_id, added)
            self._count_once(rows, zone)
            self._add_ratios(batch)
            self.quarantine(batch.source_id, bad)
        self._stored |= versions
        return added

    def write_new(self, entries: Sequence[Entry]) -> None:
        """Rows without a journal to tell how far they go: those that are new, each once."""
        with self.connection.transaction():
            rows, zone = self._insert_new(entries), self.read_zone()
            versions = self._add_versions(rows)
            for source_id in {row.source_id for row in rows}:
                own = add_up(row for row in rows if row.source_id == source_id)
                self._roll_up(uuid.UUID(bytes=source_id), own.align(zone))
        self._stored |= versions

    def _count_once(self, rows: Sequence[Row], zone: ZoneInfo) -> None:
        """Spans may have told of these calls before. No trouble with that stops recording."""
        if not rows or not self.connection.execute(ANY_SIGHTING).fetchall()[0][0]:
            return
        try:
            with self.connection.transaction():
                for tenant in {row.tenant_id for row in rows}:
                    traces = touched_traces(self.connection, tenant, rows)
                    if traces:
                        views = load_views(self.connection, tenant, traces)
                        kept = {call.call_id for call in views.settle()}
                        counted = counted_calls(self.connection, tenant, views)
                        twice = [place for place in counted if place[1].bytes not in kept]
                        self.take_out(tenant, twice, zone)
        except psycopg.OperationalError:
            raise
        except Exception:
            log.exception("calls that spans told of may be counted twice")

    def take_out(self, tenant: str, places: Sequence[Place], zone: ZoneInfo) -> None:
        """Calls that came by OTLP, with all that they added to the rollups."""
        if places:
            changed = take_out(self.connection, tenant, places, zone)
            self._roll_up(source_of(tenant), changed)
            clear_empty(self.connection, tenant, changed)

    def _roll_up(self, source_id: uuid.UUID, added: Rollups) -> None:
        for name, records in (("hours", added.hours), ("days", added.days), ("latency", added.latency)):
            if records:
                values = {"source_id": source_id, "records": encode_records(records)}
                self.connection.execute(query(f"ledger_add_{name}"), values)

    def _add_ratios(self, batch: SpanBatch) -> None:
        names = ("tenant_id", "provider", "model", "operation")
        records = [
            dict(zip(names, key, strict=True)) | msgspec.structs.asdict(ratios)
            for key, ratios in batch.learn()
        ]
        if records:
            values = {"source_id": batch.source_id, "records": msgspec.json.encode(records).decode()}
            self.connection.execute(query("ledger_add_ratios"), values)

    def read_ratios(self) -> dict[Key, Ratios]:
        found = self.connection.execute(query("ledger_read_ratios")).fetchall()
        return {(row[0], row[1], row[2], row[3]): Ratios(*row[4:]) for row in found}

    def _copy(self, statement: sql.Composed, entries: Sequence[Entry]) -> list[Row]:
        if not entries:
            return []
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(HEADER + b"".join([entry.encoded for entry in entries]) + TRAILER)
        return [entry.row for entry in entries]

    def _insert_new(self, entries: Sequence[Entry]) -> list[Row]:
        """Returns those that the ledger did not have."""
        self.connection.execute("CREATE TEMP TABLE arriving (LIKE calls INCLUDING DEFAULTS) ON COMMIT DROP")
        self._copy(COPY_ARRIVING, entries)
        new = self.connection.execute(INSERT_NEW).fetchall()
        by_key = {
            (uuid.UUID(bytes=row.source_id), row.started_at_us, uuid.UUID(bytes=row.call_id)): row
            for row in (entry.row for entry in reversed(entries))  # of two alike, the first went in
        }
        return [by_key[key] for key in new]

    def _add_versions(self, rows: Sequence[Row]) -> set[str]:
        """Returns those that are stored once the transaction is committed."""
        new = {row.price_id for row in rows} - self._stored - {""}
        for price_id in sorted(new):
            version = self._versions[price_id]._asdict()
            version["rates"] = msgspec.json.encode(version["rates"]).decode()
            self.connection.execute(query("ledger_add_version"), version)
        return new

    def quarantine(self, source_id: uuid.UUID, bad: Sequence[BadFrameRecord]) -> None:
        for record in bad:
            values = {
                "source_id": source_id,
                "segment": record.segment,
                "byte_offset": record.offset,
                "reason": record.reason.replace("\0", "\ufffd"),
                "frame": record.raw,
            }
            self.connection.execute(query("ledger_add_quarantine"), values)

    def find_refused(self, entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
        """Which rows Postgres won't take, by trying halves and rolling back."""
        try:
            with self.connection.transaction(force_rollback=True):
                self._insert_new(entries)
        except REFUSALS as problem:
            if len(entries) == 1:
                return [(entries[0], str(problem).splitlines()[0])]
            middle = len(entries) // 2
            return self.find_refused(entries[:middle]) + self.find_refused(entries[middle:])
        return []

    def read_zone(self) -> ZoneInfo:
        found = self.connection.execute(query("reporting_zone")).fetchone()
        return ZoneInfo(found[0] if found else "UTC")


def encode_records(records: Sequence[msgspec.Struct]) -> str:
    return msgspec.json.encode(records).decode()
