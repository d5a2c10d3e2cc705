"""Finished spans into Postgres. Enters: a batch of spans, with the frames that they came from. Leaves: what
was committed (`Written`), or an exception and nothing at all.

`export_batch` is the durable path, `export` the plain SDK interface.

Invariant: one bad row never holds the others. It is put in quarantine with the reason and its frame.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import psycopg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from collector.journal import BadFrameRecord, Position
from collector.journal.record import frame as as_frame
from collector.ledger.copying import RefusedRow, RowEncoder
from collector.ledger.database import DAY_US, REFUSALS, CursorMoved, Entry, Frame, LedgerTables, SpanBatch
from collector.ledger.rates import PriceVersion
from collector.ledger.rollups import LatencyBin, Rollups, Sums, Total
from collector.ledger.rows import read_span

AHEAD_DAYS = 2  # how far a clock may be wrong before a call is not believed


class Written(msgspec.Struct):
    """What one batch came to."""

    totals: list[Total]
    latency: list[LatencyBin]
    quarantined: int

    @property
    def calls(self) -> int:
        return sum(total.calls for total in self.totals)


class PostgresSpanExporter(SpanExporter):
    def __init__(
        self,
        url: str,
        versions: Mapping[str, PriceVersion],
        *,
        retention_days: int = 400,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.tables = LedgerTables(url, versions)
        self._retention_days, self._clock_ns = retention_days, clock_ns
        self._encoder = RowEncoder()

    def export_batch(self, batch: SpanBatch) -> Written:
        """The durable path."""
        bad = batch.bad
        entries, sums = self._encode(batch.spans, bad)
        self.tables.ensure_days(entries)
        try:
            added = self.tables.commit(batch, entries, bad, sums)
        except REFUSALS:
            added = self._commit_with_care(batch, entries, bad)
        return Written(added.hours, added.latency, len(bad))

    def _commit_with_care(self, batch: SpanBatch, entries: list[Entry], bad: list[BadFrameRecord]) -> Rollups:
        """Something is there already (an older state of the journal came back), or can't be stored."""
        self.tables.forget_days()  # a partition may have been dropped behind our back: no fault of the row
        self.tables.ensure_days(entries)
        refused = self.tables.find_refused(entries)
        bad.extend(record_of(entry.frame, reason) for entry, reason in refused)
        out = {id(entry) for entry, _ in refused}
        return self.tables.commit(batch, [entry for entry in entries if id(entry) not in out], bad)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Without a cursor, so a span may come twice: only new ones are written and counted."""
        nowhere = Position(0, 0)
        refused: list[BadFrameRecord] = []
        try:
            entries, _ = self._encode(((span, (nowhere, b"")) for span in spans), refused)
            self.tables.ensure_days(entries)
            self.tables.write_new(entries)
        except psycopg.Error:
            self.tables.disconnect()
            return SpanExportResult.FAILURE
        return SpanExportResult.FAILURE if refused else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.tables.disconnect()

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
                entry = Entry(row, encode(row), frame)
                sums.add(row)
                entries.append(entry)
            except RefusedRow as refused:
                bad.append(record_of(frame, str(refused)))
            except Exception as problem:  # a fault of ours must not stop the calls behind it
                bad.append(record_of(frame, f"can't be told as a row: {type(problem).__name__}: {problem}"))
        return entries, sums


def record_of(frame: Frame, reason: str) -> BadFrameRecord:
    position, payload = frame
    return BadFrameRecord(position.segment, position.offset, reason, as_frame(payload) if payload else b"")


def out_of_range(started_at_us: int, retention_days: int) -> str:
    try:
        at = f"{datetime.fromtimestamp(started_at_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        at = f"{started_at_us} us since 1970"
    return f"started at {at}: neither within the last {retention_days} days nor the next {AHEAD_DAYS}"


__all__ = ["AHEAD_DAYS", "CursorMoved", "Frame", "PostgresSpanExporter", "SpanBatch", "Written", "record_of"]
