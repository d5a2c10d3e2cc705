"""record's work: whatever stands in the journals of this host goes into the ledger, exactly once.

Enters: journals, growing. Leaves: rows, committed together with how far they go; then the journal may
delete its segments. The database may be away for hours: the calls wait on disk, and all that is held in
memory is one batch.

Invariants
- A journal is acknowledged only behind a position that is committed.
- After any trouble with the database the cursor is read again before anything is written: a commit whose
  answer was lost may have happened.
- What can't be priced, told or stored is put aside with the reason: no call holds up the next.
"""

import gc
import logging
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from threading import Event

import psycopg
from opentelemetry.sdk.trace import ReadableSpan

from collector.errors import JournalError
from collector.journal import BadFrame, BadFrameRecord, decode
from collector.ledger.estimates import Estimator
from collector.ledger.exporter import (
    AHEAD_DAYS,
    CursorMoved,
    Frame,
    PostgresSpanExporter,
    SpanBatch,
    record_of,
)
from collector.ledger.journals import Journals, Lane
from collector.ledger.metrics import RecordMetrics
from collector.ledger.prices import PriceList
from collector.ledger.spans import call_span
from collector.store.partitions import drop_partitions, ensure_partitions

log = logging.getLogger(__name__)

FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.2, 5.0
HOUSEKEEPING_S = 3600.0
DRAIN_S = 20.0
QUIET_S = 5.0  # an idle recorder asks the database whether it is there


def calm_garbage_collection() -> None:
    """A batch is thousands of values without a cycle, all freed by their count; looking for cycles among
    them took a third of record's CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


class Recorder:
    def __init__(
        self,
        journals: Journals,
        exporter: PostgresSpanExporter,
        prices: PriceList,
        metrics: RecordMetrics,
        *,
        tenant_id: str = "default",
        batch_calls: int = 2000,
        interval_s: float = 0.2,
        retention_days: int = 400,
        look_at_books: Callable[[], object] = lambda: None,
    ) -> None:
        self._journals, self._exporter, self._prices, self._metrics = journals, exporter, prices, metrics
        self._tenant_id, self._batch_calls, self._interval_s = tenant_id, batch_calls, interval_s
        self._retention_days = retention_days
        self._look_at_books = look_at_books
        self._estimator: Estimator | None = None  # until the database says what it learned before
        self._host = socket.gethostname()
        self._housekeeping_at = float("-inf")
        self._caught_up_at = time.monotonic()
        self._backoff_s = FIRST_BACKOFF_S
        self._caught_up = False
        self._heard_at = float("-inf")  # when the database answered last

    def run(self, stop: Event) -> None:
        """Until `stop`; then what is there is drained, for at most so long."""
        while not stop.is_set():
            if not self.try_pass():
                stop.wait(jittered(self._backoff_s))
                self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)
            elif self._caught_up:
                stop.wait(self._interval_s)
        self._drain()
        self._exporter.shutdown()

    def _drain(self) -> None:
        """Bounded, and short when the database is away: the calls are safe where they are."""
        deadline, attempts = time.monotonic() + DRAIN_S, 3
        while time.monotonic() < deadline and attempts:
            if not self.try_pass():
                attempts -= 1
                time.sleep(jittered(FIRST_BACKOFF_S))
            elif self._caught_up:
                break

    def try_pass(self) -> bool:
        """One batch of every journal; False when the database is in trouble."""
        try:
            self._caught_up = not self.record_once()
        except psycopg.Error as problem:
            self._give_up(problem)
            return False
        finally:
            self._measure_lag()
        if not self._metrics.database_up:
            log.info("the database is reached")
        self._metrics.database_up = True
        self._backoff_s = FIRST_BACKOFF_S
        return True

    def record_once(self) -> bool:
        """Whether anything was there to record."""
        self._keep_house()
        self._look_at_books()
        found = [self._record(lane) for lane in self._journals.lanes()]
        if not any(found) and time.monotonic() - self._heard_at > QUIET_S:
            self._exporter.tables.ping()
            self._heard_at = time.monotonic()
        return any(found)

    def _record(self, lane: Lane) -> bool:
        began = time.monotonic()
        try:
            if not lane.opened:
                self._open(lane)
            found = lane.reader.read_payloads(lane.position, self._batch_calls)
            if not found.payloads and not found.bad:
                return False
            source_id = lane.reader.source_id
            estimator = self._ready_estimator()
            spans = self._tell(found.payloads, source_id.bytes, found.bad, estimator)
            learn = estimator.fresh
            batch = SpanBatch(source_id, spans, found.bad, lane.position, found.end, learn)
            written = self._exporter.export_batch(batch)
            estimator.settle()
            lane.position = found.end
            lane.reader.acknowledge(found.end)
        except CursorMoved as problem:
            log.warning("%s: reading it again", problem)
            lane.opened = False
            return True
        except (JournalError, OSError) as problem:
            log.warning("journal %s: %s", lane.name, problem)
            self._journals.drop(lane)
            return False
        for record in found.bad:
            log.warning("quarantined %s %d:%d: %s", lane.name, record.segment, record.offset, record.reason)
        self._heard_at = time.monotonic()
        took_s = self._heard_at - began
        self._metrics.count_batch(written.totals, written.latency, written.quarantined, took_s)
        return True

    def _ready_estimator(self) -> Estimator:
        if self._estimator is None:
            estimator = Estimator()
            estimator.load(self._exporter.tables.read_ratios())
            self._estimator = estimator
        self._estimator.begin()
        return self._estimator

    def _open(self, lane: Lane) -> None:
        lane.position = self._exporter.tables.open_journal(
            lane.reader.source_id, tenant_id=self._tenant_id, host=self._host, name=lane.name
        )
        lane.opened = True
        if lane.position is not None:
            lane.reader.acknowledge(lane.position)

    def _tell(
        self,
        payloads: Iterable[Frame],
        source_id: bytes,
        bad: list[BadFrameRecord],
        estimator: Estimator,
    ) -> Iterator[tuple[ReadableSpan, Frame]]:
        """Frames as spans; those that can't be told go to `bad`."""
        price, complete = self._prices.price, estimator.complete
        for frame in payloads:
            try:
                call = complete(decode(frame[1]))
                span = call_span(call, price(call), source_id)
            except BadFrame as problem:
                bad.append(record_of(frame, str(problem)))
            except Exception as problem:  # a fault of ours must not stop the calls behind it
                bad.append(record_of(frame, f"can't be told as a span: {type(problem).__name__}: {problem}"))
            else:
                yield span, frame

    def _give_up(self, problem: psycopg.Error) -> None:
        text = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        log.log(
            logging.WARNING if self._metrics.database_up else logging.INFO,
            "the database is in trouble, calls wait in the journal: %s",
            text,
        )
        self._metrics.database_up = False
        self._metrics.database_errors += 1
        self._exporter.tables.disconnect()
        self._journals.forget_positions()

    def _measure_lag(self) -> None:
        self._metrics.lag_bytes = self._journals.lag_bytes()
        if not self._metrics.lag_bytes:
            self._caught_up_at = time.monotonic()
        self._metrics.lag_s = time.monotonic() - self._caught_up_at

    def _keep_house(self) -> None:
        """Once an hour: partitions ahead, and those beyond the retention dropped."""
        if time.monotonic() - self._housekeeping_at < HOUSEKEEPING_S:
            return
        today = datetime.now(UTC).date()
        connection = self._exporter.tables.connection
        ensure_partitions(connection, today, today + timedelta(days=AHEAD_DAYS))
        for day in drop_partitions(connection, today - timedelta(days=self._retention_days)):
            log.info("dropped the calls of %s: older than %d days", day, self._retention_days)
        self._housekeeping_at = time.monotonic()


def jittered(seconds: float) -> float:
    """So that the recorders of a fleet don't come back all at once."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311
