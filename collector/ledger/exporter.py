"""Finished spans into Postgres: calls, rollups, price versions and the journal's cursor in one transaction.

Enters: a batch of spans, with the frames that they came from. Leaves: what was committed (`Written`), or an
exception and nothing at all. `export_batch` is the durable path, `export` the plain SDK interface.

Invariants
- Exactly once: the cursor moves by compare-and-set in the transaction that writes the rows. When the answer
  to a commit is lost, the cursor says whether it happened; nobody retries without reading it.
- One bad row never holds the others: it is put in quarantine with the reason and its frame.
- Rollups count the rows of their own transaction, never rows that were there before.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from psycopg import sql

from collector.journal import BadFrameRecord, Position
from collector.journal.record import frame as as_frame
from collector.ledger.copying import COLUMNS, HEADER, TRAILER, RefusedRow, RowEncoder
from collector.ledger.rates import PriceVersion
from collector.ledger.rollups import LatencyBin, Rollups, Sums, Total, add_up
from collector.ledger.rows import Row, read_span
from collector.store.partitions import ensure_partitions
from collector.store.sql import query

DAY_US = 86_400 * 1_000_000
AHEAD_DAYS = 2  # how far a clock may be wrong before a call is not believed

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


class Written(msgspec.Struct):
    """What one batch came to."""

    totals: list[Total]
    latency: list[LatencyBin]
    quarantined: int

    @property
    def calls(self) -> int:
        return sum(total.calls for total in self.totals)


class Entry(msgspec.Struct):
    """A row on its way: what it is, its bytes, and the frame to keep if it is refused."""

    row: Row
    encoded: bytes
    frame: Frame


class PostgresSpanExporter(SpanExporter):
    def __init__(
        self,
        url: str,
        versions: Mapping[str, PriceVersion],
        *,
        retention_days: int = 400,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._versions = versions
        self._retention_days, self._clock_ns = retention_days, clock_ns
        self._connection: Connection | None = None
        self._encoder = RowEncoder()
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

    def export_batch(self, batch: SpanBatch) -> Written:
        """The durable path."""
        bad = batch.bad
        entries, sums = self._encode(batch.spans, bad)
        self._ensure_days(entries)
        try:
            added = self._commit(batch, entries, bad, sums)
        except REFUSALS:
            added = self._commit_with_care(batch, entries, bad)
        return Written(added.hours, added.latency, len(bad))

    def _commit_with_care(self, batch: SpanBatch, entries: list[Entry], bad: list[BadFrameRecord]) -> Rollups:
        """Something is there already (an older state of the journal came back), or can't be stored."""
        self._days.clear()  # a partition may have been dropped behind our back: no fault of the row
        self._ensure_days(entries)
        refused = self._find_refused(entries)
        bad.extend(record_of(entry.frame, reason) for entry, reason in refused)
        out = {id(entry) for entry, _ in refused}
        return self._commit(batch, [entry for entry in entries if id(entry) not in out], bad)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Without a cursor, so a span may come twice: only new ones are written and counted."""
        nowhere = Position(0, 0)
        try:
            refused: list[BadFrameRecord] = []
            entries, _ = self._encode(((span, (nowhere, b"")) for span in spans), refused)
            self._ensure_days(entries)
            with self.connection.transaction():
                rows, zone = self._insert_new(entries), self._read_zone()
                self._add_versions(rows)
                for source_id in {row.source_id for row in rows}:
                    own = add_up(row for row in rows if row.source_id == source_id)
                    self._roll_up(uuid.UUID(bytes=source_id), own.align(zone))
        except psycopg.Error:
            self.disconnect()
            return SpanExportResult.FAILURE
        return SpanExportResult.FAILURE if refused else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.disconnect()

    def _encode(
        self, spans: Iterable[tuple[ReadableSpan, Frame]], bad: list[BadFrameRecord]
    ) -> tuple[list[Entry], Sums]:
        now_us = self._clock_ns() // 1000
        first_us = (now_us // DAY_US - self._retention_days) * DAY_US
        last_us = now_us + AHEAD_DAYS * DAY_US
        entries: list[Entry] = []
        sums, encode = Sums(), self._encoder.encode
        for span, frame in spans:
            try:
                row = read_span(span)
                if not first_us <= row.started_at_us < last_us:
                    raise RefusedRow(out_of_range(row.started_at_us, self._retention_days))
                entries.append(Entry(row, encode(row), frame))
                sums.add(row)
            except RefusedRow as refused:
                bad.append(record_of(frame, str(refused)))
            except Exception as problem:  # a fault of ours must not stop the calls behind it
                bad.append(record_of(frame, f"can't be told as a row: {type(problem).__name__}: {problem}"))
        return entries, sums

    def _ensure_days(self, entries: Sequence[Entry]) -> None:
        """In its own transaction, before the one that writes: rows outside every partition fail a batch."""
        numbers = {entry.row.started_at_us // DAY_US for entry in entries}
        days = {date(1970, 1, 1) + timedelta(days=number) for number in numbers} - self._days
        for day in sorted(days):
            ensure_partitions(self.connection, day, day)
        self._days |= days

    def _commit(
        self,
        batch: SpanBatch,
        entries: Sequence[Entry],
        bad: Sequence[BadFrameRecord],
        sums: Sums | None = None,
    ) -> Rollups:
        """All of it or nothing. Without `sums` any row may be there already: the new ones are added up."""
        old = batch.start or START
        with self.connection.transaction():
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
            added = (sums or add_up(rows)).align(ZoneInfo(moved[0] or "UTC"))
            self._roll_up(batch.source_id, added)
            self._quarantine(batch.source_id, bad)
        self._stored |= versions
        return added

    def _roll_up(self, source_id: uuid.UUID, added: Rollups) -> None:
        for name, records in (("hours", added.hours), ("days", added.days), ("latency", added.latency)):
            if records:
                values = {"source_id": source_id, "records": encode_records(records)}
                self.connection.execute(query(f"ledger_add_{name}"), values)

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

    def _quarantine(self, source_id: uuid.UUID, bad: Sequence[BadFrameRecord]) -> None:
        for record in bad:
            values = {
                "source_id": source_id,
                "segment": record.segment,
                "byte_offset": record.offset,
                "reason": record.reason.replace("\0", "\ufffd"),
                "frame": record.raw,
            }
            self.connection.execute(query("ledger_add_quarantine"), values)

    def _find_refused(self, entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
        """Which rows Postgres won't take, by trying halves and rolling back."""
        try:
            with self.connection.transaction(force_rollback=True):
                self._insert_new(entries)
        except REFUSALS as problem:
            if len(entries) == 1:
                return [(entries[0], str(problem).splitlines()[0])]
            middle = len(entries) // 2
            return self._find_refused(entries[:middle]) + self._find_refused(entries[middle:])
        return []

    def _read_zone(self) -> ZoneInfo:
        found = self.connection.execute(query("reporting_zone")).fetchone()
        return ZoneInfo(found[0] if found else "UTC")


def encode_records(records: Sequence[msgspec.Struct]) -> str:
    return msgspec.json.encode(records).decode()


def record_of(frame: Frame, reason: str) -> BadFrameRecord:
    position, payload = frame
    return BadFrameRecord(position.segment, position.offset, reason, as_frame(payload))


def out_of_range(started_at_us: int, retention_days: int) -> str:
    try:
        at = f"{datetime.fromtimestamp(started_at_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        at = f"{started_at_us} us since 1970"
    return f"started at {at}: neither within the last {retention_days} days nor the next {AHEAD_DAYS}"
