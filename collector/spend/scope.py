"""Whose rows may be read: the one place where the tenant filter stands.

A named query comes in, the same query with its filter and its slots filled goes out. Every query over
calls or rollups says `{scope}` where the filter belongs; one that doesn't say it is refused here, so
that a forgotten filter is an error in the first test and never a leak.
"""

from psycopg import sql

from collector.errors import StoreError
from collector.store.sql import query

# The rows of one tenant. A role that may see only some teams will be added here and nowhere else.
SCOPE = sql.SQL("tenant_id = %(tenant)s")


def scoped(name: str, **slots: sql.Composable) -> sql.Composed:
    text = query(name)
    if "{scope}" not in text:
        raise StoreError(f"the query {name} does not say {{scope}}: it would read the rows of every tenant")
    return sql.SQL(text).format(scope=SCOPE, **slots)
