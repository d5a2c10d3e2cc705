"""What changes money after the fact, who did it, and what missing usage is estimated from."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE audit (
    audit_id  uuid PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    tenant_id text NOT NULL DEFAULT '',
    who       text NOT NULL DEFAULT '',
    action    text NOT NULL DEFAULT '',
    why       text NOT NULL DEFAULT '',
    before    jsonb NOT NULL,
    after     jsonb NOT NULL
);

CREATE TABLE adjustments (
    source_id     uuid NOT NULL,
    started_at    timestamptz NOT NULL,
    adjustment_id uuid NOT NULL,
    tenant_id     text NOT NULL DEFAULT '',
    kind          text NOT NULL DEFAULT '',
    call_id       uuid,
    audit_id      uuid,
    made_at       timestamptz NOT NULL DEFAULT now(),
    upstream      text NOT NULL DEFAULT '',
    provider      text NOT NULL DEFAULT '',
    operation     text NOT NULL DEFAULT '',
    zone          text NOT NULL DEFAULT '',
    team          text NOT NULL DEFAULT '',
    project       text NOT NULL DEFAULT '',
    route         text NOT NULL DEFAULT '',
    environment   text NOT NULL DEFAULT '',
    key_id        text NOT NULL DEFAULT '',
    end_user      text NOT NULL DEFAULT '',
    unit          text NOT NULL DEFAULT '',
    model         text NOT NULL DEFAULT '',
    cost_usd      numeric NOT NULL DEFAULT 0,
    unpriced      bigint NOT NULL DEFAULT 0,
    unknown_usage bigint NOT NULL DEFAULT 0,
    price_state   text NOT NULL DEFAULT '',
    price_id      text,
    PRIMARY KEY (source_id, started_at, adjustment_id)
);

CREATE INDEX adjustments_tenant_id_started_at_idx ON adjustments (tenant_id, started_at);
CREATE INDEX adjustments_call_id_idx ON adjustments (call_id);

CREATE TABLE usage_ratios (
    source_id     uuid NOT NULL,
    tenant_id     text NOT NULL,
    provider      text NOT NULL,
    model         text NOT NULL,
    operation     text NOT NULL,
    input_calls   bigint NOT NULL DEFAULT 0,
    request_bytes bigint NOT NULL DEFAULT 0,
    input_tokens  bigint NOT NULL DEFAULT 0,
    most_request_bytes bigint NOT NULL DEFAULT 0,
    output_calls  bigint NOT NULL DEFAULT 0,
    content_chars bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    event_calls   bigint NOT NULL DEFAULT 0,
    input_tests   bigint NOT NULL DEFAULT 0,
    input_actual  bigint NOT NULL DEFAULT 0,
    input_guessed bigint NOT NULL DEFAULT 0,
    input_off     bigint NOT NULL DEFAULT 0,
    output_tests  bigint NOT NULL DEFAULT 0,
    output_actual bigint NOT NULL DEFAULT 0,
    output_guessed bigint NOT NULL DEFAULT 0,
    output_off    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source_id, tenant_id, provider, model, operation)
);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE usage_ratios, adjustments, audit")
