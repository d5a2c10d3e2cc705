"""OTLP in: what never passed a relay lands in the same ledger, and what did is still counted once.

Enters: requests of the protocol. Leaves: rows, committed before the sender is answered; and how much of the
request was refused, with a reason.

Invariants
- What is answered with success is in the database; what the database can't take now is asked for again.
- A span that comes twice changes nothing. Which calls are counted depends on what was seen, not on its order.
- A call's price is found once, when it is counted; only new evidence (its other sequence, its tokens) or a
  relay's record of it replaces it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from psycopg import sql

from collector.call import Call
from collector.journal import Position
from collector.ledger.copying import RowEncoder
from collector.ledger.database import DAY_US, Entry, LedgerTables
from collector.ledger.exporter import AHEAD_DAYS, out_of_range
from collector.ledger.heard import plain_attributes
from collector.ledger.prices import PriceList
from collector.ledger.rows import row_of
from collector.ledger.samples import Sample, read_samples
from collector.ledger.settling import settle
from collector.ledger.sightings import BadSpan, Places, Sighting, see
from collector.ledger.views import LOCK, add_sightings, counted_calls, load_views, source_of
from collector.store.sql import query

log = logging.getLogger(__name__)

TAKE_LOCK = sql.SQL("SELECT pg_advisory_xact_lock({})").format(sql.Literal(LOCK))
NOWHERE = (Position(0, 0), b"")
KEEP_SIGHTINGS_DAYS = 7  # how late a relay's record of a call may be and still be known as the same
KEEP_SAMPLES_DAYS = 60
HOUSEKEEPING_S = 3600.0


class Taken(NamedTuple):
    """What a request came to."""

    refused: int = 0
    reason: str = ""


class Receiver:
    """Serves one request at a time, over one connection."""

    def __init__(
        self,
        url: str,
        prices: PriceList,
        *,
        tenant: str = "default",
        places: Places | None = None,
        retention_days: int = 400,
        look_at_books: Callable[[], object] = lambda: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tables = LedgerTables(url, prices.versions)
        self._prices, self._tenant, self._places = prices, tenant, places or Places()
        self._source_id = source_of(tenant)
        self._retention_days, self._look_at_books, self._clock_ns = retention_days, look_at_books, clock_ns
        self._encoder = RowEncoder()
        self._lock = Lock()
        self._known = False  # whether the database knows this source
        self._housekeeping_at = float("-inf")

    def take_traces(self, request: ExportTraceServiceRequest) -> Taken:
        """Raises psycopg.Error; then nothing of it was taken."""
        sightings, refused, reason = self._see(request)
        if sightings:
            self._guarded(lambda: self._count(sightings))
        return Taken(refused, reason)

    def take_metrics(self, request: ExportMetricsServiceRequest) -> Taken:
        """Raises psycopg.Error; then nothing of it was taken."""
        samples, bad = read_samples(request)
        if samples:
            self._guarded(lambda: self._keep(samples))
        return Taken(bad, "a data point needs a finite value and a time" if bad else "")

    def close(self) -> None:
        with self._lock:
            self._tables.disconnect()

    def _see(self, request: ExportTraceServiceRequest) -> tuple[list[Sighting], int, str]:
        now_us = self._clock_ns() // 1000
        first_us, last_us = now_us - self._retention_days * DAY_US, now_us + AHEAD_DAYS * DAY_US
        sightings: list[Sighting] = []
        refused, reason = 0, ""
        for resource in request.resource_spans:
            about = plain_attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    try:
                        sighting = see(span, about, self._tenant, self._places)
                        if sighting is None:
                            continue
                        if not first_us < sighting.started_at_ns // 1000 < last_us:
                            raise BadSpan(out_of_range(sighting.started_at_ns // 1000, self._retention_days))
                    except BadSpan as problem:
                        refused, reason = refused + 1, reason or str(problem)
                    else:
                        sightings.append(sighting)
        return sightings, refused, reason

    def _guarded(self, work: Callable[[], None]) -> None:
        with self._lock:
            try:
                self._look_at_books()
                self._introduce()
                work()
            except BaseException:
                self._tables.disconnect()
                self._known = False
                raise
            self._keep_house()

    def _introduce(self) -> None:
        if not self._known:
            values = {
                "source_id": self._source_id,
                "tenant_id": self._tenant,
                "host": "",
                "name": "otlp",
            }
            self._tables.connection.execute(query("ledger_add_source"), values)
            self._known = True

    def _count(self, sightings: Sequence[Sighting]) -> None:
        connection = self._tables.connection
        entries = self._entries([one.call for one in sightings if one.call is not None])
        self._tables.ensure_days(entries)  # before the transaction: another view of a call may be older
        with connection.transaction():
            connection.execute(TAKE_LOCK)
            new = add_sightings(connection, self._tenant, sightings)
            if not new:
                return
            views = load_views(connection, self._tenant, {trace_id for trace_id, _ in new})
            old = by_id(settle([one for one in views.sightings if one.key not in new], views.relayed))
            calls = by_id(views.settle())
            counted = counted_calls(connection, self._tenant, views)
            gone = [place for place in counted if calls.get(place[1].bytes) != old.get(place[1].bytes)]
            there = {place[1].bytes for place in counted} - {place[1].bytes for place in gone}
            self._tables.take_out(self._tenant, gone, self._tables.read_zone())
            fresh = [call for call_id, call in calls.items() if call_id not in there]
            if fresh:
                self._tables.write_new(self._entries(fresh))

    def _entries(self, calls: Sequence[Call]) -> list[Entry]:
        rows = [row_of(call, self._prices.price(call), self._source_id.bytes) for call in calls]
        return [Entry(row, self._encoder.encode(row), NOWHERE) for row in rows]

    def _keep(self, samples: Sequence[Sample]) -> None:
        names, series, at_us, hosts, kinds, numbers = map(list, zip(*samples, strict=True))
        values = {
            "source_id": self._source_id,
            "tenant_id": self._tenant,
            "names": [clean(name) for name in names],
            "series": [clean(one) for one in series],
            "at_us": at_us,
            "hosts": [clean(host) for host in hosts],
            "kinds": kinds,
            "numbers": numbers,
        }
        self._tables.connection.execute(query("samples_add"), values)

    def _keep_house(self) -> None:
        """Once an hour; trouble with it waits for the next time."""
        if time.monotonic() - self._housekeeping_at < HOUSEKEEPING_S:
            return
        self._housekeeping_at = time.monotonic()
        try:
            self._tables.connection.execute(query("otlp_forget"), {"days": KEEP_SIGHTINGS_DAYS})
            self._tables.connection.execute(query("samples_forget"), {"days": KEEP_SAMPLES_DAYS})
        except Exception:
            log.exception("old sightings and samples were not removed")
            self._tables.disconnect()
            self._known = False


def by_id(calls: Sequence[Call]) -> dict[bytes, Call]:
    return {call.call_id: call for call in calls}


def clean(value: object) -> str:
    return str(value).replace("\0", "\ufffd")[:500]
