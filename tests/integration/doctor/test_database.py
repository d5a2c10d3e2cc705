"""The database's findings, provoked on a real server, and their remedies tried."""

import os
import socket
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from collector.doctor import database, prices, running
from collector.doctor.database import DatabaseFact, judge, judge_schema
from collector.doctor.finding import Finding
from collector.doctor.proof import LedgerShare
from collector.store.embedded import EmbeddedPostgres, url_of
from collector.store.partitions import ensure_partitions
from collector.store.schema import alembic_config, engine, migrate
from collector.supervise.status import DatabaseStatus

NOW = datetime.now(UTC)
SCRIPTS = ScriptDirectory.from_config(alembic_config())
REVISIONS = {script.revision for script in SCRIPTS.walk_revisions()}
NEWEST = SCRIPTS.get_current_head() or ""


def look(url: str) -> DatabaseFact:
    return database.gather(url, "default", NOW)


def examine(url: str) -> list[Finding]:
    return judge(look(url), DatabaseStatus(), embedded=False, runs=True)


def examine_schema(url: str, zone: str = "UTC") -> Finding:
    found = judge_schema(look(url), NEWEST, REVISIONS, zone)
    assert len(found) == 1
    return found[0]


def test_one_that_answers(database_url: str) -> None:
    fact = look(database_url)
    (found,) = judge(fact, DatabaseStatus(), embedded=True, runs=True)
    assert (found.code, found.severity) == ("database.answers", "ok")
    assert found.values["size_bytes"] > 1_000_000
    assert abs(fact.skew_s) <= fact.skew_doubt_s + 0.5
    assert examine_schema(database_url).code == "schema.current"
    assert (fact.cursors, fact.quarantined, fact.models) == ({}, 0, [])


def test_one_that_is_down() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"postgresql://me:s3cret@127.0.0.1:{reserved.getsockname()[1]}/ledger"
        (found,) = examine(url)
    assert (found.code, found.severity) == ("database.down", "problem")
    assert "s3cret" not in repr(found)
    assert "`database.url`" in found.remedy


def test_one_that_does_not_exist_or_refuses_us(postgres: EmbeddedPostgres, database_url: str) -> None:
    (found,) = examine(url_of(postgres.socket_dir, "nowhere"))
    assert (found.code, found.severity) == ("database.no_such", "problem")
    (refused,) = examine(database_url.replace("sizewise@", "stranger@"))
    assert (refused.code, refused.severity) == ("database.refuses_us", "problem")


def test_the_embedded_one_that_does_not_run() -> None:
    (calm,) = judge(None, DatabaseStatus(), embedded=True, runs=False)
    assert (calm.code, calm.severity) == ("database.not_running", "ok")
    failed = DatabaseStatus(kind="embedded", state="failed", problem="no space left on device")
    (found,) = judge(None, failed, embedded=True, runs=True)
    assert (found.code, found.severity) == ("database.down", "problem")
    assert "no space left on device" in found.found


def test_one_that_can_only_be_read(database_url: str, database: psycopg.Connection[Any]) -> None:
    name = database.info.dbname
    database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    assert [one.code for one in examine(database_url)] == ["database.answers", "database.read_only"]
    with psycopg.connect(database_url, autocommit=True) as fresh:
        fresh.execute("SET default_transaction_read_only = off")
        fresh.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    assert [one.severity for one in examine(database_url)] == ["ok"]


def test_one_whose_connections_are_nearly_used_up(database_url: str) -> None:
    fact = look(database_url)
    fact.connections, fact.most_connections = 58, 60
    found = judge(fact, DatabaseStatus(), embedded=False, runs=True)[1]
    assert (found.code, found.severity) == ("database.connections", "warning")
    fact.connections = 6
    assert len(judge(fact, DatabaseStatus(), embedded=False, runs=True)) == 1


def test_a_server_that_is_too_old_or_has_another_encoding(database_url: str) -> None:
    fact = look(database_url)
    fact.version, fact.version_number, fact.encoding = "15.4", 150004, "SQL_ASCII"
    found = judge(fact, DatabaseStatus(), embedded=False, runs=True)
    assert [one.code for one in found] == ["database.too_old", "database.encoding"]


def test_no_schema_and_an_older_one(empty_database_url: str) -> None:
    found = examine_schema(empty_database_url)
    assert (found.code, found.severity) == ("schema.none", "problem")
    assert "sizewise migrate" in found.remedy
    if len(REVISIONS) > 1:
        made = engine(empty_database_url)
        with made.begin() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, SCRIPTS.get_base())
        made.dispose()
        found = examine_schema(empty_database_url)
        assert (found.code, found.values["revision"]) == ("schema.older", SCRIPTS.get_base())
    migrate(empty_database_url, zone="UTC")
    assert examine_schema(empty_database_url).code == "schema.current"


def test_a_newer_schema(database_url: str, database: psycopg.Connection[Any]) -> None:
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    found = examine_schema(database_url)
    assert (found.code, found.severity) == ("schema.newer", "problem")
    assert "upgrade Sizewise here" in found.remedy


def test_another_zone(database_url: str) -> None:
    found = examine_schema(database_url, "Asia/Kolkata")
    assert (found.code, found.severity) == ("schema.zone", "problem")
    assert found.remedy.startswith("set `reporting.timezone: UTC`")


def test_what_the_ledger_says_of_models(database_url: str, database: psycopg.Connection[Any]) -> None:
    row = "INSERT INTO rollup_hours (source_id, bucket, tenant_id, team, provider, model, calls, unpriced)"
    source, recent = uuid.uuid4(), NOW - timedelta(days=1)
    for bucket, tenant, model, unpriced in (
        (recent, "default", "gpt-4o", 0),
        (recent, "default", "gpt-next", 5),
        (NOW - timedelta(days=9), "default", "forgotten", 5),
        (recent, "somebody", "theirs", 5),
    ):
        values = (source, bucket, tenant, "", "openai", model, 5, unpriced)
        database.execute(f"{row} VALUES (%s, %s, %s, %s, %s, %s, %s, %s)".encode(), values)
    found = prices.judge_models(look(database_url).models, {"openai": ["openai"]})
    assert [(one.code, one.about) for one in found] == [("prices.unpriced", "gpt-next")]


def test_quarantine_and_cursors(database_url: str, database: psycopg.Connection[Any]) -> None:
    source = uuid.uuid4()
    database.execute(
        "INSERT INTO quarantine (source_id, segment, byte_offset, reason, frame) VALUES (%s, 1, 0, 'x', '')",
        (source,),
    )
    database.execute("INSERT INTO cursors (source_id, segment, byte_offset) VALUES (%s, 2, 77)", (source,))
    fact = look(database_url)
    assert fact.quarantined == 1
    assert fact.cursors is not None
    assert fact.cursors[source].position.offset == 77


def test_the_rate_at_which_it_grows(database_url: str, database: psycopg.Connection[Any]) -> None:
    assert look(database_url).bytes_a_day is None
    today = NOW.date()
    ensure_partitions(database, today - timedelta(days=3), today + timedelta(days=1))
    fact = look(database_url)
    sizes = {day: size_of(database, day) for day in (today - timedelta(days=n) for n in (1, 2, 3))}
    assert fact.bytes_a_day == sum(sizes.values()) / 3
    assert fact.held_days == 3


def size_of(database: psycopg.Connection[Any], day: date) -> int:
    row = database.execute("SELECT pg_total_relation_size(%s::regclass)", (f"calls_{day:%Y%m%d}",)).fetchone()
    assert row
    return int(row[0])


def test_the_relays_share_by_the_ledger(
    database_url: str, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from collector.config import load_config

    monkeypatch.setenv("SIZEWISE_DATABASE_URL", database_url)
    config = load_config(None, dict(os.environ)).config
    assert running.find_ledger_share(config) == LedgerShare(0)
    ensure_partitions(database, NOW.date() - timedelta(days=1), NOW.date())
    columns = (
        "source_id, started_at, call_id, tenant_id, stream, status, attempts, request_bytes, response_bytes"
    )
    statement = (
        f"INSERT INTO calls ({columns}, content_events, duration_ms, relay_ms, outcome)"
        " VALUES (%s, %s, %s, 'default', false, 200, 1, 0, 0, 0, 400, %s, %s)"
    )
    source = uuid.uuid4()
    for at, relay_ms, outcome in (
        (NOW, 0.1, "ok"),
        (NOW, 0.2, "ok"),
        (NOW, 0.3, "ok"),
        (NOW, 99.0, "refused"),
        (NOW, None, "interrupted"),
        (NOW - timedelta(hours=2), 50.0, "ok"),
    ):
        database.execute(statement.encode(), (source, at, uuid.uuid4(), relay_ms, outcome))
    share = running.find_ledger_share(config)
    assert share is not None
    assert (share.calls, share.relay_p50_ms, share.duration_p50_ms) == (3, 0.2, 400.0)
