"""What comes by OTLP: spans that may tell of a call, until it is settled which call; samples of servers."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE sightings (
    source_id      uuid NOT NULL,
    trace_id       uuid NOT NULL,
    span_id        bytea NOT NULL,
    parent_span_id bytea NOT NULL,
    kind           text NOT NULL DEFAULT '',
    response_id    text NOT NULL DEFAULT '',
    started_at_ns  bigint NOT NULL,
    ended_at_ns    bigint NOT NULL,
    call           bytea,
    seen_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, trace_id, span_id)
);

CREATE INDEX sightings_source_id_response_id_idx ON sightings (source_id, response_id)
WHERE response_id <> '';
CREATE INDEX sightings_seen_at_idx ON sightings (seen_at);

CREATE TABLE samples (
    source_id  uuid NOT NULL,
    name       text NOT NULL,
    series     text NOT NULL,
    sampled_at timestamptz NOT NULL,
    tenant_id  text NOT NULL DEFAULT '',
    host       text NOT NULL DEFAULT '',
    kind       text NOT NULL DEFAULT '',
    value      double precision NOT NULL,
    PRIMARY KEY (source_id, name, series, sampled_at)
);

CREATE INDEX samples_sampled_at_idx ON samples (sampled_at);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE samples, sightings")
