"""The schema against a real server: migrations lead to exactly tables.py, and refuse what does not fit."""

import threading
from datetime import date

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from collector.errors import StoreError
from collector.store import schema
from collector.store.partitions import ensure_partitions
from collector.store.tables import metadata


def difference(url: str) -> list[object]:
    engine = schema.engine(url)
    with engine.connect() as connection:
        options = schema.comparison_options(connection)
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    return found


def test_migrations_lead_to_the_tables(database_url):
    with psycopg.connect(database_url) as connection:
        ensure_partitions(connection, date(2026, 1, 1), date(2026, 1, 3))
    assert difference(database_url) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE calls DROP COLUMN team",
        "ALTER TABLE calls ADD COLUMN extra text",
        "ALTER TABLE cursors ALTER COLUMN segment TYPE integer",
        "ALTER TABLE settings ALTER COLUMN value DROP NOT NULL",
        "ALTER TABLE rollup_hours ALTER COLUMN calls SET DEFAULT 7",
        "DROP INDEX calls_trace_id_idx",
        "DROP TABLE sources",
        "CREATE TABLE stray (x int)",
    ],
)
def test_the_comparison_sees_every_kind_of_difference(database_url, statement):
    with psycopg.connect(database_url) as connection:
        connection.execute(statement)
    assert difference(database_url) != []


def test_names_of_constraints_and_indexes_are_those_of_the_tables(database_url):
    wanted = {index.name for table in metadata.tables.values() for index in table.indexes}
    wanted |= {f"{name}_pkey" for name in metadata.tables}
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT c.relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
            "JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'"
        ).fetchall()
    assert {name for (name,) in found} - {"alembic_version_pkc"} == wanted


def test_primary_keys_stand_in_the_order_of_the_tables(database_url):
    """Autogenerate doesn't compare primary keys, and their order is what Citus and lookups rest on."""
    with psycopg.connect(database_url) as connection:
        for table in metadata.tables.values():
            (found,) = connection.execute(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s",
                (f"{table.name}_pkey",),
            ).fetchone()
            columns = ", ".join(column.name for column in table.primary_key)
            assert found == f"PRIMARY KEY ({columns})"


def test_migrate_again_changes_nothing_and_down_leaves_nothing(empty_database_url):
    url = empty_database_url
    schema.migrate(url)
    schema.migrate(url)
    with psycopg.connect(url) as connection:
        ensure_partitions(connection, date(2026, 1, 1), date(2026, 1, 1))
    engine = schema.engine(url)
    with engine.begin() as connection:
        assert schema.is_current(connection)
        config = schema.alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with engine.begin() as connection:
        left = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        assert [name for (name,) in left] == ["alembic_version"]
        assert schema.reporting_zone(connection) is None
    engine.dispose()
    schema.migrate(url)
    assert difference(url) == []


def test_several_may_migrate_at_once(empty_database_url):
    problems = []

    def run() -> None:
        try:
            schema.migrate(empty_database_url, zone="Asia/Kolkata")
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert difference(empty_database_url) == []


def test_the_zone_is_chosen_once(empty_database_url):
    schema.migrate(empty_database_url, zone="Asia/Kolkata")
    schema.migrate(empty_database_url, zone="Asia/Kolkata")
    schema.migrate(empty_database_url)
    with pytest.raises(StoreError, match=r"Asia/Kolkata .*Europe/Berlin is configured.*--rebuild"):
        schema.migrate(empty_database_url, zone="Europe/Berlin")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_a_zone_must_exist(zone):
    with pytest.raises(StoreError, match="Europe/Berlin"):
        schema.migrate("postgresql://never@/reached", zone=zone)


def test_a_newer_schema_is_refused(database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for check in (schema.check_version, schema.migrate):
        with pytest.raises(StoreError, match=r"9999.*newer.*upgrade Sizewise"):
            check(database_url)


def test_an_old_server_is_refused(database_url, monkeypatch):
    schema.check_version(database_url)
    monkeypatch.setattr(schema, "OLDEST_SERVER", 990000)
    with pytest.raises(StoreError, match="needs 16 or newer"):
        schema.check_version(database_url)


def test_a_database_that_cannot_hold_every_text_is_refused(postgres, database):
    database.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    url = postgres.url.replace("@/sizewise?", "@/latin?")
    with pytest.raises(StoreError, match="LATIN1"):
        schema.migrate(url)
    database.execute("DROP DATABASE latin WITH (FORCE)")


def test_an_unreachable_server_is_told_without_its_password(tmp_path):
    url = f"postgresql://me:hunter2@/ledger?host={tmp_path}"
    with pytest.raises(StoreError, match="can't reach the database") as told:
        schema.check_version(url)
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "not a url"])
def test_other_databases_are_refused(url):
    with pytest.raises(StoreError, match="postgresql://"):
        schema.engine(url)
