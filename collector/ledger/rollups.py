"""What a batch adds to the rollups and the latency bins. Pure: rows and the reporting zone enter, records
for the rollup statements leave, their keys sorted, so that two writers never wait for each other crosswise.

A latency bin b counts the calls that took from 2^(b/8) up to 2^((b+1)/8) microseconds, so eight bins an
octave: a percentile read from them is within 4.5 % of the true one.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from math import log2
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from collector.ledger.rows import Row
from collector.store.buckets import day_bucket, hour_bucket

BINS_AN_OCTAVE = 8
KEY_LENGTH = 160
QUARTER_US = 15 * 60 * 1_000_000  # no zone's hour begins elsewhere than at a quarter

# The upstream or Sizewise itself failed the call. A client that left is no error; interrupted counts alone.
ERRORS = {"error", "upstream_cut", "upstream_unreachable", "refused"}


class Total(msgspec.Struct):
    """What the calls of one key add up to; fields are columns."""

    bucket: datetime
    tenant_id: str
    team: str
    provider: str
    model: str
    calls: int = 0
    errors: int = 0
    interrupted: int = 0
    unpriced: int = 0
    unknown_usage: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    def add(self, row: Row) -> None:
        self.calls += 1
        if row.outcome != "ok":
            self.errors += row.outcome in ERRORS
            self.interrupted += row.outcome == "interrupted"
        self.unpriced += row.price_state == "unpriced"
        self.unknown_usage += row.price_state == "unknown_usage"
        self.input_tokens += row.input_tokens or 0
        self.output_tokens += row.output_tokens or 0
        self.cache_read_tokens += row.cache_read_tokens or 0
        self.cache_write_tokens += row.cache_write_tokens or 0
        self.reasoning_tokens += row.reasoning_tokens or 0
        if row.cost_usd:
            self.cost_usd += row.cost_usd

    def merge(self, other: "Total") -> None:
        for field in SUMMED:
            setattr(self, field, getattr(self, field) + getattr(other, field))


SUMMED = Total.__struct_fields__[5:]
Key = tuple[Any, ...]
Times = tuple[list[int], list[int], list[int]]  # durations, to the first content, of the relay


class LatencyBin(msgspec.Struct):
    bucket: datetime
    tenant_id: str
    upstream: str
    model: str
    measure: str
    bin: int
    calls: int


class Rollups(msgspec.Struct):
    hours: list[Total]
    days: list[Total]
    latency: list[LatencyBin]


class Sums:
    """Adds rows up by the quarter of an hour, whichever zone will hold when they are written."""

    def __init__(self) -> None:
        self._totals: dict[Key, Total] = {}
        self._times: dict[Key, Times] = {}

    def add(self, row: Row) -> None:
        quarter, model = row.started_at_us // QUARTER_US, row.served_model or row.model
        key: Key = (quarter, row.tenant_id, row.team, row.provider, model)
        total = self._totals.get(key)
        if total is None:
            start: Key = (start_of(quarter), *map(key_text, key[1:]))
            total = self._totals[key] = Total(*start)
        total.add(row)
        key = (quarter, row.tenant_id, row.upstream, model)
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = ([], [], [])
        times[0].append(row.duration_us)
        if row.first_content_us is not None:
            times[1].append(row.first_content_us)
        if row.relay_us is not None:
            times[2].append(row.relay_us)

    def align(self, zone: ZoneInfo) -> Rollups:
        """To the hours and days of the reporting zone."""
        by_hour = merge(self._totals.values(), lambda at: hour_bucket(at, zone))
        by_day = merge(by_hour, lambda at: day_bucket(at, zone))
        return Rollups(by_hour, by_day, list(bin_times(self._times, zone)))


def add_up(rows: Iterable[Row]) -> Sums:
    sums = Sums()
    for row in rows:
        sums.add(row)
    return sums


def start_of(quarter: int) -> datetime:
    return datetime.fromtimestamp(quarter * 900, UTC)


def key_text(text: str) -> str:
    """Four of them fit into an index whatever their letters; NUL is none of Postgres's letters."""
    return text[:KEY_LENGTH].replace("\0", "\ufffd")


def merge(totals: Iterable[Total], bucket_of: Callable[[datetime], datetime]) -> list[Total]:
    """Finer totals into those of coarser buckets, sorted by their key."""
    merged: dict[Key, Total] = {}
    for total in totals:
        bucket = bucket_of(total.bucket)
        key = (bucket, total.tenant_id, total.team, total.provider, total.model)
        if key not in merged:
            merged[key] = Total(*key)
        merged[key].merge(total)
    return [merged[key] for key in sorted(merged)]


def bin_times(
    times: dict[Key, tuple[list[int], list[int], list[int]]], zone: ZoneInfo
) -> Iterable[LatencyBin]:
    counted: Counter[Key] = Counter()
    for (quarter, *texts), measured in times.items():
        bucket, key = hour_bucket(start_of(quarter), zone), map(key_text, texts)
        start = (bucket, *key)
        for measure, values in zip(("duration", "first_content", "relay"), measured, strict=True):
            for number, calls in Counter(map(bin_of, values)).items():
                counted[(*start, measure, number)] += calls
    return (LatencyBin(*(*key, counted[key])) for key in sorted(counted))


def bin_of(microseconds: int) -> int:
    return int(log2(microseconds) * BINS_AN_OCTAVE) if microseconds > 1 else 0
