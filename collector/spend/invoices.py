"""Invoices in the ledger: kept line by line, and held against the calls. A connection enters; rows leave."""

import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from psycopg import Connection
from psycopg.rows import dict_row

from collector.spend.coverage import CoverageRow, Invoiced, Ledgered, by_cause, compare
from collector.spend.invoice_lines import Invoice
from collector.spend.scope import scoped
from collector.store.sql import query

COPY_LINES = (
    "COPY invoice_lines (invoice_id, line, tenant_id, day, provider, model, project, description, kind,"
    " cost_usd) FROM STDIN"
)


class Coverage(NamedTuple):
    rows: list[CoverageRow]
    ledger_usd: Decimal  # on days that were invoiced
    invoice_usd: Decimal
    causes: dict[str, Decimal]  # of the difference

    @property
    def share(self) -> Decimal | None:
        return round(self.ledger_usd / self.invoice_usd, 4) if self.invoice_usd else None


def add_invoice(
    connection: Connection[Any], invoice: Invoice, content: bytes, *, tenant: str, file_name: str, who: str
) -> bool:
    """False where this very file is in the ledger already."""
    values = {
        "invoice_id": uuid.uuid4(),
        "tenant": tenant,
        "form": invoice.form,
        "file_name": file_name,
        "digest": hashlib.sha256(content).hexdigest(),
        "who": who,
    }
    with connection.transaction():
        if connection.execute(query("invoice_add"), values).fetchone() is None:
            return False
        with connection.cursor() as cursor, cursor.copy(COPY_LINES) as copy:
            for number, line in enumerate(invoice.lines):
                texts = [text.replace("\0", "\ufffd") for text in line[1:6]]
                copy.write_row((values["invoice_id"], number, tenant, line.day, *texts, line.cost_usd))
    return True


def find_coverage(connection: Connection[Any], *, tenant: str, first: date, last: date) -> Coverage:
    """Of the UTC days from `first` up to, and not with, `last`."""
    start, end = (datetime.combine(day, time(), UTC) for day in (first, last))
    values = {"tenant": tenant, "first": first, "last": last, "start": start, "end": end}
    with connection.cursor(row_factory=dict_row) as cursor:
        invoiced = [Invoiced(**row) for row in cursor.execute(scoped("coverage_invoiced"), values)]
        ledger: Iterable[Ledgered] = (
            [Ledgered(**row) for row in cursor.execute(scoped("coverage_ledger"), values)] if invoiced else []
        )
    rows = compare(ledger, invoiced, name_of)
    ledger_usd = sum((row.ledger_usd for row in rows), Decimal(0))
    invoice_usd = sum((row.invoice_usd for row in rows), Decimal(0))
    return Coverage(rows, ledger_usd, invoice_usd, by_cause(rows))


@lru_cache(maxsize=4096)
def name_of(provider: str, model: str) -> str:
    """As the public list names it, whatever date or case it is written with."""
    providers = get_snapshot().providers
    known = find_provider_by_id(providers, provider) if provider else None
    found = (
        known.find_model(model.strip().lower().replace(" ", "-"), all_providers=providers) if known else None
    )
    return found.id if found is not None else model


def coverage_values(found: Coverage) -> dict[str, Any]:
    return {
        "ledger_usd": f"{found.ledger_usd:f}",
        "invoice_usd": f"{found.invoice_usd:f}",
        "coverage": None if found.share is None else f"{found.share:f}",
        "difference_usd_by_cause": {cause: f"{usd:f}" for cause, usd in found.causes.items()},
        "rows": [
            {"day": str(row.day), "provider": row.provider, "model": row.model, "calls": row.calls}
            | {"calls_without_cost": row.gaps, "ledger_usd": f"{row.ledger_usd:f}"}
            | {"invoice_usd": f"{row.invoice_usd:f}", "difference_usd": f"{row.difference_usd:f}"}
            | {"cause": row.cause, "projects": list(row.projects)}
            for row in found.rows
        ],
    }
