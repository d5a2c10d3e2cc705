"""What the relay workers of this host count, for Prometheus: from the small files that they keep mapped.

Each count begins at 0 with its worker, as Prometheus expects of a process. Workers are few and numbered, so
their label is bounded. No database is asked: this is seen also while it is away.
"""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.relay.counters import read_counters

GAUGES = {
    "clients": ("sizewise_relay_clients", "Connections of clients"),
    "under_way": ("sizewise_relay_calls_under_way", "Calls under way"),
    "upstream_connections": ("sizewise_relay_upstream_connections", "Connections to upstreams"),
}
COUNTERS = {
    "accepted": ("sizewise_relay_connections", "Connections taken from clients"),
    "calls": ("sizewise_relay_calls", "Calls that ended"),
    "refused": ("sizewise_relay_refused_calls", "Calls that Sizewise itself refused"),
    "unauthorized": ("sizewise_relay_unauthorized_calls", "Calls without a key that is known"),
    "capped": ("sizewise_relay_capped_calls", "Calls refused because a cap was reached"),
    "tls_failures": ("sizewise_relay_tls_failures", "Handshakes that clients did not complete"),
    "upstream_failures": ("sizewise_relay_upstream_failures", "Calls for which no upstream answered"),
    "interrupted": ("sizewise_relay_interrupted_calls", "Calls that the worker before it was killed in"),
    "untracked": ("sizewise_relay_untracked_calls", "Calls that a kill would have left without a trace"),
    "journal_lost": (
        "sizewise_journal_lost_calls",
        "Calls that the journal could not keep (disk full?); they are in no ledger",
    ),
}


class Relays(Collector):
    def __init__(self, journal_dir: Path) -> None:
        self.journal_dir = journal_dir

    def collect(self) -> Iterator[Metric]:
        files = sorted(self.journal_dir.glob("w*/counters"))  # there also where no journal could be made
        workers = {file.parent.name: read_counters(file) for file in files}
        for field, (name, text) in GAUGES.items():
            yield fill(GaugeMetricFamily(name, text, labels=("worker",)), workers, field)
        for field, (name, text) in COUNTERS.items():
            yield fill(CounterMetricFamily(name, text, labels=("worker",)), workers, field)


def fill(
    family: GaugeMetricFamily | CounterMetricFamily, workers: dict[str, dict[str, int]], field: str
) -> Metric:
    for worker, values in workers.items():
        if field in values:
            family.add_metric([worker], values[field])
    return family
