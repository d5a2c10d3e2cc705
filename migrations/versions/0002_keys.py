"""Sizewise's own keys: hashes, what they bind, and when they were revoked."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEYS = """
CREATE TABLE keys (
    key_id      text PRIMARY KEY,
    tenant_id   text NOT NULL DEFAULT '',
    key_hash    text NOT NULL,
    secret_mark text NOT NULL DEFAULT '',
    last4       text NOT NULL DEFAULT '',
    name        text NOT NULL DEFAULT '',
    team        text NOT NULL DEFAULT '',
    project     text NOT NULL DEFAULT '',
    environment text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);

CREATE UNIQUE INDEX keys_tenant_id_key_hash_idx ON keys (tenant_id, key_hash);
"""


def upgrade() -> None:
    op.execute(KEYS)


def downgrade() -> None:
    op.execute("DROP TABLE keys")
