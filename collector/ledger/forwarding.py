"""OTLP out: the calls of this host's journals as GenAI spans, to the user's own collector.

Enters: the same journals that the ledger is written from. Leaves: spans, at least once (one that comes twice
is the same span), and a cursor of its own in a file.

Invariants
- It is only wished for, so it never holds up the ledger, and never holds more of the disk than it may: a
  journal's segments are kept for it within `max_lag_mb` and `max_lag_hours`; beyond, calls are skipped, and
  counted.
- The cursor moves when the collector has taken the spans, or when they are skipped.
- No prompt and no reply is in a span: the journal has none.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from collector.call import Call
from collector.errors import JournalError
from collector.journal import BadFrame, JournalReader, Position, decode, list_journals
from collector.ledger.prices import PriceList
from collector.ledger.spans import call_span

log = logging.getLogger(__name__)

FIRST_BACKOFF_S, LAST_BACKOFF_S = 1.0, 60.0
HOUR_NS = 3600 * 1_000_000_000


class Bounds(msgspec.Struct, frozen=True):
    """How far the collector may be behind."""

    bytes: int
    hours: float


class Out(msgspec.Struct):
    """One journal on its way out."""

    reader: JournalReader
    position: Position | None


class HeldReader(JournalReader):
    """The ledger's reader of a journal from which spans are forwarded, too: a segment goes when both are
    done with it."""

    def __init__(self, directory: Path, floor: Callable[[Path], Position | None]) -> None:
        super().__init__(directory)
        self._path, self._floor = directory, floor

    def acknowledge(self, position: Position) -> None:
        floor = self._floor(self._path)
        super().acknowledge(position if floor is None else min(position, floor))


class Forwarder:
    """Runs in a thread of record, with price list and readers of its own."""

    def __init__(
        self,
        directory: Path,
        exporter: SpanExporter,
        prices: PriceList,
        bounds: Bounds,
        *,
        batch_calls: int = 500,
        interval_s: float = 1.0,
        look_at_books: Callable[[], object] = lambda: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._directory, self._exporter, self._prices, self._bounds = directory, exporter, prices, bounds
        self._batch_calls, self._interval_s = batch_calls, interval_s
        self._look_at_books, self._clock_ns = look_at_books, clock_ns
        self._cursor_file = directory / "otlp.cursors"
        self._outs: dict[Path, Out] = {}
        self._lock = Lock()  # the ledger's thread asks how far it went
        self._kept = read_cursors(self._cursor_file)
        self._skipping = False
        self.forwarded = self.skipped = self.failures = self.lag_bytes = 0

    def start(self, stop: Event) -> Thread:
        thread = Thread(target=self._run, args=(stop,), name="otlp", daemon=True)
        thread.start()
        return thread

    def _run(self, stop: Event) -> None:
        backoff_s = FIRST_BACKOFF_S
        while not stop.is_set():
            try:
                moved = self.forward_once()
            except Exception:  # a fault of ours, or a collector that is away: the ledger goes on
                log.exception("forwarding failed")
                moved = None
            if moved is None:
                stop.wait(backoff_s)
                backoff_s = min(backoff_s * 2, LAST_BACKOFF_S)
                continue
            backoff_s = FIRST_BACKOFF_S
            if not moved:
                stop.wait(self._interval_s)
        self._exporter.shutdown()

    def make_reader(self, directory: Path) -> JournalReader:
        """For the ledger's journals."""
        return HeldReader(directory, self.floor)

    def floor(self, directory: Path) -> Position | None:
        """The place from which on a journal is needed here: all of one that wasn't opened yet. None: should
        this thread hang, the disk is not its hostage."""
        with self._lock:
            out = self._outs.get(directory)
        if out is None:
            return Position(0, 0)
        return None if self._lag(out) > 2 * self._bounds.bytes else out.position or Position(0, 0)

    def forward_once(self) -> bool | None:
        """One batch of every journal. Whether there was any; None when the collector didn't take one."""
        self._look_at_books()
        found: list[bool | None] = []
        for out in self._open():
            try:
                found.append(self._forward(out))
            except (JournalError, OSError) as problem:
                log.warning("a journal can't be forwarded now: %s", problem)
                self._drop(out)
        self.lag_bytes = sum(self._lag(out) for out in self._outs.values())
        return None if None in found else any(found)

    def _open(self) -> list[Out]:
        for path in list_journals(self._directory):
            if path in self._outs:
                continue
            with suppress(JournalError, OSError):  # the relay is just making it
                reader = JournalReader(path)
                source, segment, offset = self._kept.get(path.name, ("", 0, 0))
                known = source == reader.source_id.hex
                with self._lock:
                    self._outs[path] = Out(reader, Position(segment, offset) if known else None)
        return list(self._outs.values())

    def _drop(self, out: Out) -> None:
        with self._lock:
            self._outs = {path: other for path, other in self._outs.items() if other is not out}

    def _forward(self, out: Out) -> bool | None:
        found = out.reader.read_payloads(out.position, self._batch_calls)
        if not found.payloads and not found.bad:
            return False
        calls = list(read_calls(payload for _, payload in found.payloads))
        late = self._is_late(out, calls)
        if late:
            self.skipped += len(found.payloads)
            if not self._skipping:
                log.warning("the OpenTelemetry collector is too far behind: calls are skipped, and counted")
        self._skipping = late
        if calls and not late:
            spans = [self._tell(call, out.reader.source_id.bytes) for call in calls]
            if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
                self.failures += 1
                return None
            self.forwarded += len(calls)
        with self._lock:
            out.position = found.end
        self._keep_cursors()
        return True

    def _is_late(self, out: Out, calls: list[Call]) -> bool:
        if self._lag(out) > self._bounds.bytes:
            return True
        if not calls:
            return False
        newest = max(call.started_at_ns + call.duration_us * 1000 for call in calls)
        return self._clock_ns() - newest > self._bounds.hours * HOUR_NS

    def _lag(self, out: Out) -> int:
        with suppress(OSError):
            return out.reader.lag_bytes(out.position)
        return 0

    def _tell(self, call: Call, source_id: bytes) -> ReadableSpan:
        return call_span(call, self._prices.price(call), source_id)

    def _keep_cursors(self) -> None:
        for path, out in self._outs.items():
            if out.position is not None:
                source = out.reader.source_id.hex
                self._kept[path.name] = (source, out.position.segment, out.position.offset)
        temporary = self._cursor_file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(self._kept))
        temporary.replace(self._cursor_file)

    def collect(self) -> Iterable[Metric]:
        """For a CollectorRegistry."""
        yield CounterMetricFamily(
            "sizewise_otlp_forwarded_calls", "Calls that the collector took", self.forwarded
        )
        yield CounterMetricFamily(
            "sizewise_otlp_skipped_calls", "Calls not forwarded: it was too far behind", self.skipped
        )
        yield CounterMetricFamily("sizewise_otlp_failures", "Batches that it did not take", self.failures)
        yield GaugeMetricFamily(
            "sizewise_otlp_lag_bytes", "Bytes of journals not yet forwarded", self.lag_bytes
        )


def read_calls(payloads: Iterable[bytes]) -> Iterable[Call]:
    for payload in payloads:
        with suppress(BadFrame):  # the ledger puts it into quarantine
            yield decode(payload)


def read_cursors(path: Path) -> dict[str, tuple[str, int, int]]:
    """A file that is damaged or gone: all that is still in the journals is sent again, as the same spans."""
    try:
        found = json.loads(path.read_bytes())
        return {str(name): (str(one[0]), int(one[1]), int(one[2])) for name, one in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}
