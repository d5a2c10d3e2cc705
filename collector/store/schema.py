"""The schema's way into a database: a URL goes in; checked, migrated and ready for `record` it comes out.

Invariants
- Migrations run under one lock of the database, in one transaction: several may call `migrate` at once, and
  a kill leaves the old schema or the new one.
- The reporting zone is set by the first `migrate` and never changes in silence: rollups are aligned to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from zoneinfo import ZoneInfo

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from collector.assets import find_assets
from collector.errors import StoreError
from collector.store.sql import query

OLDEST_SERVER = 160000
LOCK = 0x5135_0001  # pg_advisory_xact_lock: whoever migrates
SET_ZONE = "INSERT INTO settings (name, value) VALUES ('reporting_zone', :zone)"


def engine(url: str, **options: Any) -> Engine:
    """SQLAlchemy's engine over psycopg 3 for a plain postgresql:// URL."""
    return create_engine(sqlalchemy_url(url), **options)


def sqlalchemy_url(url: str) -> str:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("database.url is not a URL: write postgresql://user@host:5432/name") from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        scheme = parsed.drivername
        raise StoreError(f"database.url begins with {scheme}://; only postgresql:// is taken")
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def migrate(url: str, *, zone: str | None = None) -> None:
    """Bring the schema up to this version, and set the reporting zone if none is set yet (UTC for None)."""
    if zone is not None:
        check_zone(zone)
    with _connected(url) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        _check(connection)
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _settle_zone(connection, zone)


def check_version(url: str) -> None:
    """Refuse a server that is too old, one that can't hold every text, and a schema newer than this code."""
    with _connected(url) as connection:
        _check(connection)


def is_current(connection: Connection) -> bool:
    """Whether the schema is exactly this code's. (Not so: `sizewise migrate`.)"""
    return _revision(connection) == _scripts().get_current_head()


def reporting_zone(connection: Connection) -> str | None:
    """None where nothing was migrated yet."""
    if connection.execute(text("SELECT to_regclass('settings')")).scalar() is None:
        return None
    found = connection.execute(text(query("reporting_zone"))).scalar()
    return None if found is None else str(found)


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(find_assets("migrations")).replace("%", "%%"))
    return config


def comparison_options(connection: Connection) -> dict[str, Any]:
    """What autogenerate compares. Partitions are data: without this it would drop them."""
    found = connection.execute(text("SELECT relname FROM pg_class WHERE relispartition"))
    partitions = {name for (name,) in found}

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "table":
            return name not in partitions
        return parents.get("table_name") not in partitions

    return {"include_name": include_name, "compare_type": True, "compare_server_default": True}


def check_zone(zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise StoreError(f"{zone!r} is no time zone; write its IANA name, such as Europe/Berlin") from error


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """A connection in one transaction. A failure to open it is told without the URL's password."""
    made = engine(url)
    try:
        try:
            connection = made.connect()
        except OperationalError as error:
            where = made.url.render_as_string(hide_password=True)
            raise StoreError(f"can't reach the database {where}: {str(error.orig).strip()}") from error
        with connection, connection.begin():
            yield connection
    finally:
        made.dispose()


def _check(connection: Connection) -> None:
    server = cast("psycopg.Connection[Any]", connection.connection.dbapi_connection)
    if server.info.server_version < OLDEST_SERVER:
        major = server.info.server_version // 10000
        raise StoreError(
            f"the database is Postgres {major}; Sizewise needs 16 or newer: upgrade it, or leave "
            "database.url empty to use the one that comes along"
        )
    encoding = server.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(f"the database's encoding is {encoding}; make one with ENCODING 'UTF8'")
    revision = _revision(connection)
    if revision is not None and revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise StoreError(
            f"the database's schema ({revision}) is newer than this version of Sizewise: upgrade Sizewise "
            "here, or use another database"
        )


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config())


def _settle_zone(connection: Connection, zone: str | None) -> None:
    there = reporting_zone(connection)
    if there is None:
        connection.execute(text(SET_ZONE), {"zone": zone or "UTC"})
    elif zone not in (None, there):
        raise StoreError(
            f"this ledger reports in the zone {there} (its hours and days begin there), but {zone} is "
            f"configured: set the zone back to {there}, or rebuild the ledger's rollups for {zone} with "
            "sizewise migrate --rebuild"
        )
