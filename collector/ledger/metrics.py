"""What record says of itself: how far behind it is, what it wrote, what it could not price.

Enters: what each batch came to. Leaves: Prometheus families, by GenAI names where they fit. Counted per
batch, not per call, because a histogram of the client library costs as much as writing the row.

Invariants
- Labels are few: a model is named once it had usage, the first hundred of them; the rest is "other".
- These counters begin at 0 with the process. Money comes from the database, never from here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from collector.ledger.rollups import BINS_AN_OCTAVE, LatencyBin, Total

MOST_MODELS = 100
OTHER = ("other", "other")
DURATION_OCTAVES = range(13, 29)  # upper bounds of the buckets: 2^14 us (16 ms) to 2^29 us (9 minutes)
BATCH_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class RecordMetrics:
    """Written by the recorder's thread, read by the one that answers /metrics."""

    def __init__(self) -> None:
        self.database_up = False
        self.lag_bytes = 0
        self.lag_s = 0.0
        self.recorded = self.quarantined = self.unpriced = self.unknown_usage = 0
        self.database_errors = 0
        self._models: set[tuple[str, str]] = set()
        self._tokens: Counter[tuple[str, str, str]] = Counter()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._durations: Counter[int] = Counter()  # by octave
        self._duration_s = 0.0
        self._batches: Counter[float] = Counter()
        self._batch_s = 0.0

    def count_batch(
        self, totals: Sequence[Total], latency: Sequence[LatencyBin], quarantined: int, took_s: float
    ) -> None:
        self.quarantined += quarantined
        for total in totals:
            self.recorded += total.calls
            self.unpriced += total.unpriced
            self.unknown_usage += total.unknown_usage
            model = self._label(total)
            self._calls[model] += total.calls
            self._tokens[*model, "input"] += total.input_tokens
            self._tokens[*model, "output"] += total.output_tokens
        for one in latency:
            if one.measure == "duration":
                self._durations[one.bin // BINS_AN_OCTAVE] += one.calls
                self._duration_s += one.calls * 2 ** ((one.bin + 0.5) / BINS_AN_OCTAVE) / 1e6
        self._batches[next((bound for bound in BATCH_BOUNDS_S if took_s <= bound), float("inf"))] += 1
        self._batch_s += took_s

    def _label(self, total: Total) -> tuple[str, str]:
        name = (total.provider or "self-hosted", total.model)
        if name in self._models:
            return name
        if len(self._models) < MOST_MODELS and (total.input_tokens or total.output_tokens):
            self._models.add(name)
            return name
        return OTHER

    def collect(self) -> Iterable[Metric]:
        """For a CollectorRegistry."""
        yield gauge("sizewise_database_up", "1 while record reaches the database", float(self.database_up))
        yield gauge("sizewise_journal_lag_bytes", "Bytes of the journals not yet recorded", self.lag_bytes)
        yield gauge("sizewise_journal_lag_seconds", "How long since nothing waited", self.lag_s)
        yield counter("sizewise_recorded_calls", "Calls written to the ledger", self.recorded)
        yield counter("sizewise_quarantined_frames", "Frames that could not become a row", self.quarantined)
        yield counter("sizewise_unpriced_calls", "Calls with usage and no price", self.unpriced)
        yield counter("sizewise_unknown_usage_calls", "Calls whose usage is not known", self.unknown_usage)
        yield counter("sizewise_record_database_errors", "Attempts that failed", self.database_errors)
        yield self._batch_histogram()
        yield self._duration_histogram()
        yield from self._token_families()

    def _token_families(self) -> Iterable[Metric]:
        labels = ["gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"]
        usage = SummaryMetricFamily("gen_ai_client_token_usage", "Tokens used, by type", labels=labels)
        for (provider, model, kind), tokens in sorted(self._tokens.copy().items()):
            usage.add_metric([provider, model, kind], self._calls[provider, model], tokens)
        yield usage

    def _duration_histogram(self) -> Metric:
        family = HistogramMetricFamily(
            "gen_ai_client_operation_duration_seconds", "How long calls took (the sum within 5 %)"
        )
        counted, buckets, so_far = self._durations.copy(), [], 0
        so_far = sum(calls for octave, calls in counted.items() if octave < DURATION_OCTAVES.start)
        for octave in DURATION_OCTAVES:
            so_far += counted[octave]
            buckets.append((str(2 ** (octave + 1) / 1e6), so_far))
        buckets.append(("+Inf", counted.total()))
        family.add_metric([], buckets, self._duration_s)
        return family

    def _batch_histogram(self) -> Metric:
        family = HistogramMetricFamily("sizewise_record_batch_seconds", "From reading a batch to its commit")
        counted, buckets, so_far = self._batches.copy(), [], 0
        for bound in BATCH_BOUNDS_S:
            so_far += counted[bound]
            buckets.append((str(bound), so_far))
        buckets.append(("+Inf", counted.total()))
        family.add_metric([], buckets, self._batch_s)
        return family


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)
