"""Single calls, read from the ledger: a page of the newest ones, or one with all that is known of it.

Paging is by key and not by offset: calls arrive while somebody reads, and an offset would show some
twice and skip others. A cursor is the last row's time and id, readable on purpose.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from psycopg import Connection, sql
from psycopg.rows import dict_row

from collector.errors import SizewiseError
from collector.spend.scope import scoped

CallRow = Mapping[str, Any]

# What a page of calls may be filtered by, all of them equalities. `model` matches as asked or as served.
FILTERS = {
    "team": sql.SQL("team = %(team)s"),
    "model": sql.SQL("%(model)s IN (model, served_model)"),
    "outcome": sql.SQL("outcome = %(outcome)s"),
    "price_state": sql.SQL("price_state = %(price_state)s"),
    "upstream": sql.SQL("upstream = %(upstream)s"),
    "provider": sql.SQL("provider = %(provider)s"),
    "operation": sql.SQL("operation = %(operation)s"),
    "project": sql.SQL("project = %(project)s"),
    "route": sql.SQL("route = %(route)s"),
    "environment": sql.SQL("environment = %(environment)s"),
    "key_id": sql.SQL("key_id = %(key_id)s"),
    "end_user": sql.SQL("end_user = %(end_user)s"),
    "from": sql.SQL("started_at >= %(from)s"),
    "to": sql.SQL("started_at < %(to)s"),
}
BEFORE = sql.SQL("(started_at, call_id) < (%(before_at)s, %(before_id)s)")
CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z_([0-9a-f-]{36})\Z", re.ASCII)
MAX_LIMIT = 500


class Cursor(NamedTuple):
    started_at: datetime
    call_id: uuid.UUID

    def __str__(self) -> str:
        return f"{self.started_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z_{self.call_id}"


def read_cursor(text: str) -> Cursor:
    match = CURSOR.match(text)
    try:
        if match:
            return Cursor(datetime.fromisoformat(match[1]).replace(tzinfo=UTC), uuid.UUID(match[2]))
    except ValueError:
        pass
    raise SizewiseError(
        f"before={text[:80]!r} is no cursor: pass on the `next` of the page before, unchanged"
    )


def last_calls(
    connection: Connection[Any],
    *,
    tenant: str,
    limit: int,
    before: Cursor | None = None,
    filters: Mapping[str, Any] | None = None,
) -> tuple[list[CallRow], Cursor | None]:
    """Up to `limit` calls, newest first, and the cursor of the page after it (None: this was the last)."""
    chosen = dict(filters or {})
    parameters = {"tenant": tenant, "limit": limit + 1, **chosen}
    conditions = [FILTERS[name] for name in chosen]
    if before:
        # The plain bound beside the pair is for the planner: it prunes partitions, a pair does not.
        conditions += [sql.SQL("started_at <= %(before_at)s"), BEFORE]
        parameters |= {"before_at": before.started_at, "before_id": before.call_id}
    statement = scoped("calls_last", filters=sql.SQL("").join(sql.SQL(" AND ") + one for one in conditions))
    with connection.cursor(row_factory=dict_row) as cursor:
        rows: list[CallRow] = list(cursor.execute(statement, parameters).fetchall())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], Cursor(last["started_at"], last["call_id"])


def one_call(connection: Connection[Any], *, tenant: str, call_id: uuid.UUID) -> CallRow | None:
    """Everything about one call. Its id tells when it began, so that few partitions are searched first."""
    for earliest, latest in windows(call_id):
        parameters = {"tenant": tenant, "call_id": call_id, "earliest": earliest, "latest": latest}
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(scoped("call_one"), parameters).fetchone()
        if row:
            return row
    return None


def windows(call_id: uuid.UUID) -> list[tuple[datetime, datetime]]:
    always = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
    if call_id.version != 7:
        return [always]
    try:
        made = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=call_id.int >> 80)
        return [(made - timedelta(seconds=5), made + timedelta(seconds=5)), always]
    except OverflowError:
        return [always]
