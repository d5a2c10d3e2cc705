"""The database and its schema: does it answer, may it be written to, how full is it, does the schema fit.

`gather` only reads, with every statement bounded in time, and never starts or migrates anything. A part that
can't be asked (no schema yet) is None: absent is not empty.
"""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row

from collector.doctor.finding import Finding, ok, problem, shown_bytes, warning
from collector.doctor.journals import Cursor
from collector.journal import Position
from collector.spend.scope import scoped
from collector.store.partitions import partition_day
from collector.store.sql import query
from collector.supervise.status import DatabaseStatus

OLDEST_MAJOR = 16
STATEMENT_MS = 10_000
CONNECTIONS_FULL = 0.9
WEEK = timedelta(days=7)


class ModelFact(msgspec.Struct, frozen=True):
    provider: str
    model: str
    calls: int
    unpriced: int
    unknown_usage: int
    tokens: int


class DatabaseFact(msgspec.Struct):
    failure: str = ""  # why it can't be asked; without the password, as libpq words it
    version: str = ""
    version_number: int = 0
    encoding: str = ""
    size_bytes: int = 0
    connections: int = 0
    most_connections: int = 0
    read_only: bool = False
    skew_s: float = 0.0  # its clock less ours
    skew_doubt_s: float = 0.0
    revision: str | None = None  # None: no schema
    zone: str | None = None
    cursors: dict[UUID, Cursor] | None = None
    quarantined: int | None = None
    models: list[ModelFact] | None = None
    bytes_a_day: float | None = None
    held_days: int = 0


def gather(url: str, tenant: str, now: datetime) -> DatabaseFact:
    fact = DatabaseFact()
    try:
        with psycopg.connect(url, connect_timeout=5, application_name="sizewise doctor") as connection:
            connection.read_only = True
            connection.execute(f"SET statement_timeout = {STATEMENT_MS:d}")
            _read_server(connection, fact)
            for read in (_read_schema, _read_cursors, _read_models, _read_growth):
                try:
                    with connection.transaction():
                        read(connection, fact, tenant, now)
                except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
                    continue
                except psycopg.errors.QueryCanceled:
                    continue  # too much to look through: not known
    except psycopg.Error as failure:
        fact.failure = " ".join(str(failure).split()) or type(failure).__name__
    return fact


def _read_server(connection: psycopg.Connection[Any], fact: DatabaseFact) -> None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query("doctor_server")).fetchone() or {}
    for name, value in row.items():
        setattr(fact, name, value)
    before = time.time()
    (theirs,) = connection.execute(query("doctor_clock")).fetchone() or (None,)
    after = time.time()
    if theirs is not None:
        fact.skew_s, fact.skew_doubt_s = theirs.timestamp() - (before + after) / 2, (after - before) / 2


def _read_schema(connection: psycopg.Connection[Any], fact: DatabaseFact, tenant: str, now: datetime) -> None:
    revision = connection.execute(query("schema_revision")).fetchone()
    fact.revision = str(revision[0]) if revision else None
    zone = connection.execute(query("reporting_zone")).fetchone()
    fact.zone = str(zone[0]) if zone else None


def _read_cursors(
    connection: psycopg.Connection[Any], fact: DatabaseFact, tenant: str, now: datetime
) -> None:
    rows = connection.execute(query("cursors_all")).fetchall()
    fact.cursors = {source: Cursor(Position(segment, at), moved) for source, segment, at, _, moved in rows}
    state = connection.execute(scoped("ledger_state"), {"tenant": tenant}).fetchone()
    fact.quarantined = state[1] if state else None


def _read_models(connection: psycopg.Connection[Any], fact: DatabaseFact, tenant: str, now: datetime) -> None:
    rows = connection.execute(
        scoped("doctor_models"), {"tenant": tenant, "since": now.astimezone(UTC) - WEEK}
    ).fetchall()
    fact.models = [ModelFact(*row) for row in rows]


def _read_growth(connection: psycopg.Connection[Any], fact: DatabaseFact, tenant: str, now: datetime) -> None:
    """By the last seven whole days; by today alone where there is no other. Empty days count as they are."""
    rows = connection.execute(query("doctor_growth")).fetchall()
    sizes = {day: size for name, size in rows if (day := partition_day(name)) is not None}
    today = now.astimezone(UTC).date()
    past = sorted(day for day in sizes if day < today)
    fact.held_days = len(past)
    if past:
        since = max(past[0], today - WEEK)
        days = (today - since).days
        fact.bytes_a_day = sum(size for day, size in sizes.items() if since <= day < today) / days
    elif today in sizes:
        passed = (now.astimezone(UTC) - datetime.combine(today, datetime.min.time(), UTC)) / timedelta(days=1)
        fact.bytes_a_day = sizes[today] / max(passed, 0.01)


def judge(fact: DatabaseFact | None, status: DatabaseStatus, *, embedded: bool, runs: bool) -> list[Finding]:
    """`fact` None: there is no address to ask, since the embedded one doesn't run."""
    if fact is None:
        return [_judge_absent(status, runs)]
    if fact.failure:
        return [_judge_failure(fact.failure)]
    kind = "embedded Postgres" if embedded else "Postgres"
    values: dict[str, Any] = {
        "version": fact.version,
        "size_bytes": fact.size_bytes,
        "connections": fact.connections,
        "most_connections": fact.most_connections,
    }
    used = f"{fact.connections} of {fact.most_connections} connections used"
    text = f"{kind} {fact.version} answers; {shown_bytes(fact.size_bytes)}, {used}"
    found = [ok("database.answers", text, **values)]
    if fact.version_number < OLDEST_MAJOR * 10_000:
        why = "Sizewise's schema needs 16 or newer and refuses this server."
        remedy = "upgrade it, or leave `database.url` empty to use the one that comes along"
        found = [problem("database.too_old", f"the server is Postgres {fact.version}", why, remedy, **values)]
    if fact.encoding != "UTF8":
        why = "Model and team names may be any text, which this database can't hold."
        remedy = "CREATE DATABASE sizewise ENCODING 'UTF8' TEMPLATE template0, and name it in `database.url`"
        found.append(problem("database.encoding", f"its encoding is {fact.encoding}", why, remedy))
    if fact.read_only:
        why = "record can't write: calls wait in the journal."
        remedy = "name the primary in `database.url`, or see default_transaction_read_only there"
        found.append(problem("database.read_only", "it can only be read (a standby, perhaps)", why, remedy))
    if fact.most_connections and fact.connections >= CONNECTIONS_FULL * fact.most_connections:
        why = "Once all are used, record and the pages are refused."
        remedy = "raise max_connections there, or see who holds them: SELECT * FROM pg_stat_activity"
        found.append(warning("database.connections", used, why, remedy, **values))
    return found


def _judge_absent(status: DatabaseStatus, runs: bool) -> Finding:
    if not runs:
        return ok("database.not_running", "the embedded Postgres runs with Sizewise, and that doesn't run")
    text = f"the embedded Postgres does not run ({status.problem or status.state})"
    why = "Calls go on and wait in the journal, but are in no total."
    remedy = "mend what is said there (it is tried again by itself), or set `database.url`"
    return problem("database.down", text, why, remedy, state=status.state)


def _judge_failure(failure: str) -> Finding:
    """libpq's own words, told apart by what has to be done."""
    why = "Calls go on and wait in the journal, but are in no total."
    if re.search(r"password|authentication|no pg_hba|role .* does not exist", failure, re.I):
        remedy = "mend user and password in `database.url`, or the server's pg_hba.conf"
        return problem("database.refuses_us", f"it refuses us: {failure}", why, remedy)
    if re.search(r"database .* does not exist", failure, re.I):
        remedy = "make it (CREATE DATABASE ...), or name another in `database.url`"
        return problem("database.no_such", f"there is no such database: {failure}", why, remedy)
    remedy = "start it, or mend host and port in `database.url`; empty means the Postgres that comes along"
    return problem("database.down", f"it can't be reached: {failure}", why, remedy)


def judge_schema(fact: DatabaseFact, newest: str, known: set[str], zone: str) -> list[Finding]:
    revision = fact.revision
    values: dict[str, Any] = {"revision": revision, "newest": newest}
    if revision is None:
        why = "There is nowhere to put calls: they wait in the journal."
        remedy = "`sizewise migrate` (`sizewise up` does it by itself)"
        return [problem("schema.none", "the database has no schema of Sizewise", why, remedy, **values)]
    if revision not in known:
        text = f"the schema ({revision}) is newer than this version of Sizewise, which knows {newest}"
        why = "An older version would write what the newer one misreads, so it refuses to."
        remedy = "upgrade Sizewise here (pip install --upgrade sizewise), or name another database"
        return [problem("schema.newer", text, why, remedy, **values)]
    found = []
    if revision != newest:
        text = f"the schema stands at {revision}, this version at {newest}"
        remedy = "`sizewise migrate` (`sizewise up` does it by itself)"
        found.append(
            problem("schema.older", text, "record and the pages may miss columns.", remedy, **values)
        )
    if fact.zone not in (None, zone):
        text = f"the ledger's days begin in {fact.zone}, but `reporting.timezone` is {zone}"
        why = "Rollups are aligned to one zone; Sizewise refuses to start with another."
        remedy = f"set `reporting.timezone: {fact.zone}`, or `sizewise migrate --rebuild`"
        found.append(problem("schema.zone", text, why, remedy, zone=fact.zone))
    return found or [
        ok("schema.current", f"the schema is current ({revision}), its days begin in {fact.zone}", **values)
    ]
