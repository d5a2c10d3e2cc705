"""Is it alive, is it ready, and if not, why: the database, its schema, the journal, and how far record is.

`/healthz` says that this process answers. `/readyz` says whether the whole chain behind the pages works,
with a reason for each part; 503 when one doesn't. Both are for machines, and for on-call with curl.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from psycopg import Connection
from psycopg.rows import dict_row

from collector.errors import SizewiseError
from collector.journal import JournalReader, Position, list_journals
from collector.spend.scope import scoped
from collector.store.schema import alembic_config
from collector.store.sql import query
from collector.web.answers import instant
from collector.web.database import DatabaseDown
from collector.web.state import Here, State

router = APIRouter(include_in_schema=False)

STALLED_AFTER = timedelta(seconds=60)  # record normally follows within a second
LEAST_FREE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JournalState:
    name: str
    lag_bytes: int
    recorded_calls: int
    recorded_at: datetime | None  # when its cursor last moved

    def values(self) -> dict[str, Any]:
        return {
            "journal": self.name,
            "lag_bytes": self.lag_bytes,
            "recorded_calls": self.recorded_calls,
            "recorded_at": instant(self.recorded_at) if self.recorded_at else None,
        }


@router.get("/healthz")
def healthz() -> JSONResponse:
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
def readyz(state: Here) -> JSONResponse:
    checks = readiness(state)
    ready = all(check.ok for check in checks)
    body = {
        "status": "ready" if ready else "not ready",
        "checks": {check.name: {"ok": check.ok, "reason": check.reason} for check in checks},
    }
    return JSONResponse(body, 200 if ready else 503)


def readiness(state: State) -> list[Check]:
    """The database first: without it nothing is known of record."""
    folder = state.config.journal.dir
    try:
        with state.database.snapshot() as connection:
            journals = journal_states(connection, folder)
            connection.execute(scoped("ledger_state"), {"tenant": state.tenant}).fetchone()
            revision = connection.execute(query("schema_revision")).fetchone()
    except DatabaseDown as down:
        unknown = "not known while the database can't be read"
        return [
            Check("database", False, f"{down.code}: {down}"),
            journal_check(folder),
            Check("record", False, unknown),
        ]
    schema = schema_check(revision[0] if revision else "none")
    return [Check("database", True), schema, journal_check(folder), record_check(journals, state.clock())]


@cache
def newest_revision() -> str | None:
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def schema_check(revision: str) -> Check:
    newest = newest_revision()
    if revision == newest:
        return Check("schema", True)
    return Check(
        "schema",
        False,
        f"the database stands at migration {revision}, this version at {newest}: run `sizewise migrate`",
    )


def journal_check(folder: Path) -> Check:
    if not folder.is_dir():
        return Check("journal", False, f"{folder} is no folder: has the relay been started?")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("journal", False, f"{folder} can't be written by this user")
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_FREE_BYTES:
        return Check("journal", False, f"only {free // 1024**2} MiB are free where {folder} lies")
    return Check("journal", True)


def record_check(journals: list[JournalState], now: datetime) -> Check:
    behind = [
        one
        for one in journals
        if one.lag_bytes and (not one.recorded_at or now - one.recorded_at > STALLED_AFTER)
    ]
    if not behind:
        return Check("record", True)
    names = ", ".join(f"{one.name} by {one.lag_bytes:,} bytes" for one in behind[:5])
    return Check("record", False, f"record does not follow: behind {names}; is `sizewise record` running?")


def journal_states(connection: Connection[Any], folder: Path) -> list[JournalState]:
    """The journals on this host, each against its cursor. What can't be read is left to `journal verify`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query("cursors_all")).fetchall()
    cursors = {row["source_id"]: row for row in rows}
    found = []
    for directory in list_journals(folder) if folder.is_dir() else []:
        try:
            reader = JournalReader(directory)
            row = cursors.get(reader.source_id)
            position = Position(row["segment"], row["byte_offset"]) if row else None
            lag = reader.lag_bytes(position)
        except (SizewiseError, OSError):
            continue
        found.append(
            JournalState(directory.name, lag, row["calls"] if row else 0, row["updated_at"] if row else None)
        )
    return found


def ledger_state(connection: Connection[Any], tenant: str) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(scoped("ledger_state"), {"tenant": tenant}).fetchone() or {}
    return {
        "last_call_at": instant(row["last_call_at"]) if row["last_call_at"] else None,
        "quarantined_frames": row["quarantined"],
        "journals_ever": row["sources"],
    }
