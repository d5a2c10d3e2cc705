"""The schema of the ledger, as SQLAlchemy 2 tables. Alembic's migrations must lead to exactly this.

Invariants
- One batch of a journal is one shard's transaction: calls, rollups, latency, cursor and quarantine all
  carry `source_id` (the journal they came from) first in their key, and are distributed by it on Citus.
- Rows of `calls` are inserted and dropped with their partition, never updated. Only a call that came by OTLP
  is taken out again, with all that it added to the rollups, once a better record of the same call is there.
- Rollups only ever count inserted rows, in the transaction that inserts them, so they sum to the calls.
- `bucket` is the instant at which an hour or a day begins in the one reporting zone (`settings`).
- Money is NUMERIC. cost_usd is NULL where it is unknown, and `price_state` says why.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

Instant = DateTime(timezone=True)


def text(name: str) -> Column[str]:
    """A text that is "" where nothing is known."""
    return Column(name, Text, nullable=False, server_default="")


def count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


settings = Table(  # reference table: one row a name, such as reporting_zone
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
)

sources = Table(  # reference table: the journals that ever wrote here
    "sources",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    text("tenant_id"),
    text("host"),
    text("name"),  # the journal's folder: w0, w1, ...
    Column("first_seen_at", Instant, nullable=False, server_default=func.now()),
)

price_versions = Table(  # reference table: the rates that calls were priced with, stored once, never changed
    "price_versions",
    metadata,
    Column("price_id", Text, primary_key=True),  # a digest of everything below
    text("provider"),
    text("model"),  # the name in the price list
    text("origin"),  # the list: genai-prices 0.2.3, book.yaml, ...
    Column("rates", JSONB, nullable=False),  # unit -> dollars a million (or a thousand requests), as strings
    Column("first_used_at", Instant, nullable=False, server_default=func.now()),
)

keys = Table(  # reference table: Sizewise's own keys, never deleted; only a keyed hash of each is kept
    "keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    text("tenant_id"),
    Column("key_hash", Text, nullable=False),
    text("secret_mark"),  # tells with which hash secret
    text("last4"),
    text("name"),
    text("team"),  # what the key binds: "" binds nothing
    text("project"),
    text("environment"),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("revoked_at", Instant),
    Index(None, "tenant_id", "key_hash", unique=True),
)

cursors = Table(
    "cursors",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    count("calls"),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
)

quarantine = Table(  # frames that could not become a row; kept so that nothing is lost in silence
    "quarantine",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("segment", BigInteger, primary_key=True),
    Column("byte_offset", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("frame", LargeBinary, nullable=False),
    Column("seen_at", Instant, nullable=False, server_default=func.now()),
)

calls = Table(
    "calls",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("started_at", Instant, primary_key=True),
    Column("call_id", Uuid, primary_key=True),
    text("tenant_id"),
    # to whom
    text("upstream"),
    text("api"),
    text("provider"),
    text("operation"),
    text("zone"),
    # for whom
    text("team"),
    text("project"),
    text("route"),
    text("environment"),
    text("key_id"),
    text("end_user"),
    text("unit"),
    Column("trace_id", Uuid),
    Column("span_id", LargeBinary),
    Column("parent_span_id", LargeBinary),
    text("idempotency_key"),
    text("request_id"),
    text("client"),
    # what
    text("model"),
    text("served_model"),
    text("service_tier"),
    text("fingerprint"),
    text("response_id"),
    text("finish_reason"),
    Column("stream", Boolean, nullable=False),
    # how it went
    Column("status", SmallInteger, nullable=False),
    text("outcome"),
    text("error_type"),
    Column("attempts", SmallInteger, nullable=False),
    # how much
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("other_usage", JSONB),  # the rarer fields of Usage, only those present
    text("usage_source"),
    text("usage_problem"),
    Column("cost_usd", Numeric),
    text("price_state"),  # priced, free, unpriced, unknown_usage, not_billed
    Column("price_id", Text),
    Column("request_bytes", BigInteger, nullable=False),
    Column("response_bytes", BigInteger, nullable=False),
    Column("content_events", Integer, nullable=False),
    # how long
    Column("duration_ms", Double, nullable=False),
    Column("connect_ms", Double),
    Column("first_byte_ms", Double),
    Column("first_content_ms", Double),
    Column("relay_ms", Double),
    Column("gap_p50_ms", Double),
    Column("gap_p99_ms", Double),
    Column("queue_ms", Double),
    Column("engine_ms", Double),
    Index(None, "tenant_id", "started_at"),
    Index("calls_trace_id_idx", "trace_id", postgresql_where="trace_id IS NOT NULL"),
    postgresql_partition_by="RANGE (started_at)",
)


def rollup(name: str) -> Table:
    """Narrow on purpose: every further dimension multiplies the rows that a month is summed from."""
    return Table(
        name,
        metadata,
        Column("source_id", Uuid, primary_key=True),
        Column("bucket", Instant, primary_key=True),
        Column("tenant_id", Text, primary_key=True),
        Column("team", Text, primary_key=True),
        Column("provider", Text, primary_key=True),
        Column("model", Text, primary_key=True),  # as served, else as asked for
        count("calls"),
        count("errors"),
        count("interrupted"),
        count("unpriced"),  # calls with usage and no price
        count("unknown_usage"),
        count("input_tokens"),
        count("output_tokens"),
        count("cache_read_tokens"),
        count("cache_write_tokens"),
        count("reasoning_tokens"),
        Column("cost_usd", Numeric, nullable=False, server_default="0"),
        Index(None, "tenant_id", "bucket"),
    )


rollup_hours = rollup("rollup_hours")
rollup_days = rollup("rollup_days")

latency_hours = Table(  # log-spaced bins, 8 an octave: p95 of any set of rows within 4.5 %
    "latency_hours",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("bucket", Instant, primary_key=True),
    Column("tenant_id", Text, primary_key=True),
    Column("upstream", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("measure", Text, primary_key=True),  # duration, first_content, relay
    Column("bin", SmallInteger, primary_key=True),
    count("calls"),
)

audit = Table(  # reference table: what a person changed about money, and why
    "audit",
    metadata,
    Column("audit_id", Uuid, primary_key=True),
    Column("at", Instant, nullable=False, server_default=func.now()),
    text("tenant_id"),
    text("who"),
    text("action"),  # reprice, ...
    text("why"),
    Column("before", JSONB, nullable=False),
    Column("after", JSONB, nullable=False),
)

adjustments = Table(  # what the cost of calls changed by since they were recorded; calls are never updated
    "adjustments",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("started_at", Instant, primary_key=True),  # the call's, so that it counts where the call does
    Column("adjustment_id", Uuid, primary_key=True),
    text("tenant_id"),
    text("kind"),  # reprice, ...
    Column("call_id", Uuid),  # none where it is of many calls
    Column("audit_id", Uuid),
    Column("made_at", Instant, nullable=False, server_default=func.now()),
    text("upstream"),
    text("provider"),
    text("operation"),
    text("zone"),
    text("team"),
    text("project"),
    text("route"),
    text("environment"),
    text("key_id"),
    text("end_user"),
    text("unit"),
    text("model"),  # as served, else as asked for
    Column("cost_usd", Numeric, nullable=False, server_default="0"),  # a difference, as are the two counts
    count("unpriced"),
    count("unknown_usage"),
    text("price_state"),  # of the call from now on
    Column("price_id", Text),
    Index(None, "tenant_id", "started_at"),
    Index(None, "call_id"),
)

usage_ratios = (
    Table(  # what missing usage is estimated from, and how far off estimates of reported calls were
        "usage_ratios",
        metadata,
        Column("source_id", Uuid, primary_key=True),
        Column("tenant_id", Text, primary_key=True),
        Column("provider", Text, primary_key=True),
        Column("model", Text, primary_key=True),  # as asked for
        Column("operation", Text, primary_key=True),
        count("input_calls"),
        count("request_bytes"),
        count("input_tokens"),
        count("most_request_bytes"),
        count("output_calls"),
        count("content_chars"),
        count("output_tokens"),
        count("event_calls"),  # those of output_calls with one token an event
        count("input_tests"),
        count("input_actual"),
        count("input_guessed"),
        count("input_off"),
        count("output_tests"),
        count("output_actual"),
        count("output_guessed"),
        count("output_off"),
    )
)

sightings = Table(  # spans that came by OTLP and may tell of a call; kept for as long as a record may be late
    "sightings",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("trace_id", Uuid, primary_key=True),
    Column("span_id", LargeBinary, primary_key=True),
    Column("parent_span_id", LargeBinary, nullable=False),  # empty: it has none
    text("kind"),  # client, server, relayed, link
    text("response_id"),
    Column("started_at_ns", BigInteger, nullable=False),
    Column("ended_at_ns", BigInteger, nullable=False),
    Column("call", LargeBinary),  # what it says of the call, as msgpack; none of a link
    Column("seen_at", Instant, nullable=False, server_default=func.now()),
    Index(None, "source_id", "response_id", postgresql_where="response_id <> ''"),
    Index(None, "seen_at"),
)

samples = Table(  # measurements of servers and GPUs that came by OTLP
    "samples",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("name", Text, primary_key=True),  # hw.gpu.utilization, vllm:num_requests_running, ...
    Column("series", Text, primary_key=True),  # what tells it from others of that name: "hw.id=0"
    Column("sampled_at", Instant, primary_key=True),
    text("tenant_id"),
    text("host"),
    text("kind"),  # gauge, sum (since a start), delta
    Column("value", Double, nullable=False),
    Index(None, "sampled_at"),
)

invoices = Table(  # reference table: what providers say is to be paid, file by file
    "invoices",
    metadata,
    Column("invoice_id", Uuid, primary_key=True),
    text("tenant_id"),
    text("form"),  # OpenAI costs JSON, FOCUS, ...
    text("file_name"),
    Column("digest", Text, nullable=False),  # of the file: the same one twice is one invoice
    text("who"),
    Column("imported_at", Instant, nullable=False, server_default=func.now()),
    Index(None, "tenant_id", "digest", unique=True),
)

invoice_lines = Table(  # reference table
    "invoice_lines",
    metadata,
    Column("invoice_id", Uuid, primary_key=True),
    Column("line", Integer, primary_key=True),
    text("tenant_id"),
    Column("day", Date, nullable=False),  # UTC
    text("provider"),
    text("model"),
    text("project"),
    text("description"),
    text("kind"),  # usage, credit, tax, fee
    Column("cost_usd", Numeric, nullable=False),
    Index(None, "tenant_id", "day"),
)

# How Citus spreads them: by the journal they came from; the rest stands on every node.
DISTRIBUTED = (
    calls,
    rollup_hours,
    rollup_days,
    latency_hours,
    cursors,
    quarantine,
    adjustments,
    usage_ratios,
    sightings,
    samples,
)
REFERENCE = (settings, sources, price_versions, keys, audit, invoices, invoice_lines)
