"""Named SQL: `query("spend_by_team")` is the text of queries/spend_by_team.sql, read once.

Placeholders are psycopg's, %(name)s, so a percent sign that means itself is written %%, in comments too.
"""

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def query(name: str) -> LiteralString:
    """The files belong to the program like its literals do, which is what psycopg asks for."""
    return (files("collector.store") / "queries" / f"{name}.sql").read_text("utf-8").strip()
