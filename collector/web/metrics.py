"""`/metrics`: what the ledger counted, for Prometheus. Read from the database at each scrape.

Invariants
- Labels are bounded. Clients choose model and team names, so only the configured ones and the first ones
  that were ever answered get a label of their own; the rest is summed up as "other".
- Counters never fall. Which names get a label depends only on configuration and on what came first in the
  ledger, so that a restart doesn't move a count from one series to another.
- A scrape works without the database, too: then sizewise_database_up is 0 and the counters are absent.

What record counts since it started it shows itself (record.listen). Here are the ledger's sums, under names
of their own, so that adding up both can't count a call twice. The relay workers' own are in relays.py.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg.rows import dict_row

import collector
from collector.config import Config
from collector.spend.scope import scoped
from collector.web.database import DatabaseDown
from collector.web.health import JournalState, journal_states, ledger_state
from collector.web.relays import Relays
from collector.web.state import State

router = APIRouter(include_in_schema=False)

MOST_NAMES = 50
OTHER = "other"
NEVER = datetime.max.replace(tzinfo=UTC)
# Names of OpenTelemetry's GenAI conventions, in the form that Prometheus gives them.
WHOSE = ("gen_ai_provider_name", "gen_ai_response_model", "team")
COUNTERS = {
    "calls": ("sizewise_ledger_calls", "Calls in the ledger"),
    "errors": ("sizewise_ledger_failed_calls", "Calls that failed"),
    "interrupted": (
        "sizewise_ledger_interrupted_calls",
        "Calls cut by a stop of the relay; their end is not known",
    ),
    "unpriced": (
        "sizewise_ledger_unpriced_calls",
        "Calls for which no price is known; they are in no cost",
    ),
    "unknown_usage": (
        "sizewise_ledger_unknown_usage_calls",
        "Calls whose reply told no usage; they are in no cost",
    ),
    "cost_usd": ("sizewise_ledger_cost_usd", "What calls cost in US dollars, where it is known"),
}
TOKEN_TYPES = {  # input includes the cached ones, as the conventions have it
    "input": "input_tokens",
    "output": "output_tokens",
}
CACHE_COUNTERS = {
    "cache_read_tokens": ("sizewise_ledger_cache_read_tokens", "Input tokens that were read from a cache"),
    "cache_write_tokens": ("sizewise_ledger_cache_write_tokens", "Input tokens that were written to a cache"),
}
Rows = Sequence[dict[str, Any]]


def configured_names(config: Config) -> tuple[set[str], set[str]]:
    """Models and teams that the configuration spells out; a pattern is not a name."""
    models = {route.model for route in config.routes if route.model and not set("*?[") & set(route.model)}
    return models, {route.team for route in config.routes if route.team}


def admitted(rows: Rows, column: str, configured: Iterable[str]) -> set[str]:
    """The names that get a label: the configured, then the first MOST_NAMES that were ever answered."""
    first: dict[str, datetime] = {}
    for row in rows:
        at = row["first_answered_at"]
        if at is not None:
            first[row[column]] = min(at, first.get(row[column], NEVER))
    earliest = sorted(first, key=lambda name: (first[name], name))
    return set(configured) | set(earliest[:MOST_NAMES])


def bounded(rows: Rows, config: Config) -> dict[tuple[str, str, str], dict[str, Any]]:
    models, teams = configured_names(config)
    models, teams = admitted(rows, "model", models), admitted(rows, "team", teams)
    providers = admitted(rows, "provider", ())
    sums: dict[tuple[str, str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        labels = (
            row["provider"] if row["provider"] in providers else OTHER,
            row["model"] if row["model"] in models else OTHER,
            row["team"] if row["team"] in teams else OTHER,
        )
        for name in (*COUNTERS, *TOKEN_TYPES.values(), *CACHE_COUNTERS):
            sums[labels][name] += row[name]
    return sums


class Ledger(Collector):
    def __init__(self, state: State) -> None:
        self.state = state

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("sizewise_database_up", "Whether the ledger's database answers")
        try:
            with self.state.database.snapshot() as connection:
                with connection.cursor(row_factory=dict_row) as cursor:
                    rows = cursor.execute(scoped("metrics_totals"), {"tenant": self.state.tenant}).fetchall()
                journals = journal_states(connection, self.state.config.journal.dir)
                ledger = ledger_state(connection, self.state.tenant)
        except DatabaseDown:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from spend_metrics(bounded(rows, self.state.config))
        yield from journal_metrics(journals, self.state.clock())
        quarantined = CounterMetricFamily(
            "sizewise_ledger_quarantined_frames",
            "Frames of a journal that could not become a row of the ledger",
        )
        quarantined.add_metric([], ledger["quarantined_frames"])
        yield quarantined


def spend_metrics(sums: dict[tuple[str, str, str], dict[str, Any]]) -> Iterator[Metric]:
    for field, (name, text) in (COUNTERS | CACHE_COUNTERS).items():
        family = CounterMetricFamily(name, text, labels=WHOSE)
        for labels, values in sorted(sums.items()):
            family.add_metric(labels, float(values[field]))
        yield family
    tokens = CounterMetricFamily(
        "gen_ai_client_token_usage",
        "Tokens used; input includes cached ones",
        labels=(*WHOSE, "gen_ai_token_type"),
    )
    for labels, values in sorted(sums.items()):
        for kind, field in TOKEN_TYPES.items():
            tokens.add_metric((*labels, kind), float(values[field]))
    yield tokens


def journal_metrics(journals: list[JournalState], now: datetime) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "sizewise_journal_lag_bytes",
        "Bytes of a journal on this host that are not in the ledger yet",
        labels=("journal",),
    )
    age = GaugeMetricFamily(
        "sizewise_journal_recorded_age_seconds",
        "Since when nothing of a journal was recorded",
        labels=("journal",),
    )
    for one in journals:
        lag.add_metric([one.name], one.lag_bytes)
        if one.recorded_at:
            age.add_metric([one.name], max(0.0, (now - one.recorded_at).total_seconds()))
    yield lag
    yield age


class Process(Collector):
    """This process and its version. Its start time tells a restart from a counter that fell."""

    def __init__(self) -> None:
        self.started_at_s = time.time()

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("sizewise_build_info", "The version that runs here", labels=("version",))
        build.add_metric([collector.__version__], 1)
        yield build
        start = GaugeMetricFamily("process_start_time_seconds", "When this process started")
        start.add_metric([], self.started_at_s)
        yield start


def make_registry(state: State) -> CollectorRegistry:
    # Not described: registering must not scrape, the database may be down when web starts.
    registry = CollectorRegistry(auto_describe=False)
    collectors: list[Collector] = [Process(), Ledger(state), Relays(state.config.journal.dir)]
    for one in collectors:
        registry.register(one)
    return registry


scrape_lock = threading.Lock()


@router.get("/metrics")
def metrics(request: Request) -> Response:
    with scrape_lock:  # two scrapers don't ask the database twice at once
        body = generate_latest(request.app.state.registry)
    return Response(body, media_type=CONTENT_TYPE_LATEST)
