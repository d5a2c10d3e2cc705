"""The ledger: calls by day, their rollups, prices, and how far each journal was read.

Everything that one journal's batch writes has source_id first in its key: one shard, one transaction.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SMALL = """
CREATE TABLE settings (
    name       text PRIMARY KEY,
    value      text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sources (
    source_id     uuid PRIMARY KEY,
    tenant_id     text NOT NULL DEFAULT '',
    host          text NOT NULL DEFAULT '',
    name          text NOT NULL DEFAULT '',
    first_seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE price_versions (
    price_id      text PRIMARY KEY,
    provider      text NOT NULL DEFAULT '',
    model         text NOT NULL DEFAULT '',
    origin        text NOT NULL DEFAULT '',
    rates         jsonb NOT NULL,
    first_used_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE cursors (
    source_id   uuid PRIMARY KEY,
    segment     bigint NOT NULL,
    byte_offset bigint NOT NULL,
    calls       bigint NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE quarantine (
    source_id   uuid NOT NULL,
    segment     bigint NOT NULL,
    byte_offset bigint NOT NULL,
    reason      text NOT NULL,
    frame       bytea NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, segment, byte_offset)
);
"""

CALLS = """
CREATE TABLE calls (
    source_id          uuid NOT NULL,
    started_at         timestamptz NOT NULL,
    call_id            uuid NOT NULL,
    tenant_id          text NOT NULL DEFAULT '',

    upstream           text NOT NULL DEFAULT '',
    api                text NOT NULL DEFAULT '',
    provider           text NOT NULL DEFAULT '',
    operation          text NOT NULL DEFAULT '',
    zone               text NOT NULL DEFAULT '',

    team               text NOT NULL DEFAULT '',
    project            text NOT NULL DEFAULT '',
    route              text NOT NULL DEFAULT '',
    environment        text NOT NULL DEFAULT '',
    key_id             text NOT NULL DEFAULT '',
    end_user           text NOT NULL DEFAULT '',
    unit               text NOT NULL DEFAULT '',
    trace_id           uuid,
    span_id            bytea,
    parent_span_id     bytea,
    idempotency_key    text NOT NULL DEFAULT '',
    request_id         text NOT NULL DEFAULT '',
    client             text NOT NULL DEFAULT '',

    model              text NOT NULL DEFAULT '',
    served_model       text NOT NULL DEFAULT '',
    service_tier       text NOT NULL DEFAULT '',
    fingerprint        text NOT NULL DEFAULT '',
    response_id        text NOT NULL DEFAULT '',
    finish_reason      text NOT NULL DEFAULT '',
    stream             boolean NOT NULL,

    status             smallint NOT NULL,
    outcome            text NOT NULL DEFAULT '',
    error_type         text NOT NULL DEFAULT '',
    attempts           smallint NOT NULL,

    input_tokens       bigint,
    output_tokens      bigint,
    cache_read_tokens  bigint,
    cache_write_tokens bigint,
    reasoning_tokens   bigint,
    other_usage        jsonb,
    usage_source       text NOT NULL DEFAULT '',
    usage_problem      text NOT NULL DEFAULT '',
    cost_usd           numeric,
    price_state        text NOT NULL DEFAULT '',
    price_id           text,
    request_bytes      bigint NOT NULL,
    response_bytes     bigint NOT NULL,
    content_events     integer NOT NULL,

    duration_ms        double precision NOT NULL,
    connect_ms         double precision,
    first_byte_ms      double precision,
    first_content_ms   double precision,
    relay_ms           double precision,
    gap_p50_ms         double precision,
    gap_p99_ms         double precision,
    queue_ms           double precision,
    engine_ms          double precision,

    PRIMARY KEY (source_id, started_at, call_id)
) PARTITION BY RANGE (started_at);

CREATE INDEX calls_tenant_id_started_at_idx ON calls (tenant_id, started_at);
CREATE INDEX calls_trace_id_idx ON calls (trace_id) WHERE trace_id IS NOT NULL;
"""

ROLLUP = """
CREATE TABLE {name} (
    source_id          uuid NOT NULL,
    bucket             timestamptz NOT NULL,
    tenant_id          text NOT NULL,
    team               text NOT NULL,
    provider           text NOT NULL,
    model              text NOT NULL,
    calls              bigint NOT NULL DEFAULT 0,
    errors             bigint NOT NULL DEFAULT 0,
    interrupted        bigint NOT NULL DEFAULT 0,
    unpriced           bigint NOT NULL DEFAULT 0,
    unknown_usage      bigint NOT NULL DEFAULT 0,
    input_tokens       bigint NOT NULL DEFAULT 0,
    output_tokens      bigint NOT NULL DEFAULT 0,
    cache_read_tokens  bigint NOT NULL DEFAULT 0,
    cache_write_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens   bigint NOT NULL DEFAULT 0,
    cost_usd           numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (source_id, bucket, tenant_id, team, provider, model)
);

CREATE INDEX {name}_tenant_id_bucket_idx ON {name} (tenant_id, bucket);
"""

LATENCY = """
CREATE TABLE latency_hours (
    source_id uuid NOT NULL,
    bucket    timestamptz NOT NULL,
    tenant_id text NOT NULL,
    upstream  text NOT NULL,
    model     text NOT NULL,
    measure   text NOT NULL,
    bin       smallint NOT NULL,
    calls     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source_id, bucket, tenant_id, upstream, model, measure, bin)
);
"""

TABLES = (
    *("latency_hours", "rollup_days", "rollup_hours", "calls", "quarantine"),
    *("cursors", "price_versions", "sources", "settings"),
)


def upgrade() -> None:
    op.execute(SMALL)
    op.execute(CALLS)
    op.execute(ROLLUP.format(name="rollup_hours"))
    op.execute(ROLLUP.format(name="rollup_days"))
    op.execute(LATENCY)


def downgrade() -> None:
    for name in TABLES:  # the partitions of calls go with it
        op.execute(f"DROP TABLE {name}")
