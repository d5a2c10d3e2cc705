"""What providers say is to be paid, to be held against the ledger."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE invoices (
    invoice_id  uuid PRIMARY KEY,
    tenant_id   text NOT NULL DEFAULT '',
    form        text NOT NULL DEFAULT '',
    file_name   text NOT NULL DEFAULT '',
    digest      text NOT NULL,
    who         text NOT NULL DEFAULT '',
    imported_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX invoices_tenant_id_digest_idx ON invoices (tenant_id, digest);

CREATE TABLE invoice_lines (
    invoice_id  uuid NOT NULL,
    line        integer NOT NULL,
    tenant_id   text NOT NULL DEFAULT '',
    day         date NOT NULL,
    provider    text NOT NULL DEFAULT '',
    model       text NOT NULL DEFAULT '',
    project     text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    kind        text NOT NULL DEFAULT '',
    cost_usd    numeric NOT NULL,
    PRIMARY KEY (invoice_id, line)
);

CREATE INDEX invoice_lines_tenant_id_day_idx ON invoice_lines (tenant_id, day);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE invoice_lines, invoices")
