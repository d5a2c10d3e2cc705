"""The policy that record publishes: always what the ledger says, whatever comes, goes or comes late."""

import random
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import psycopg
import pytest

from collector.journal import Position
from collector.ledger.caps import PolicyReader, find_windows
from collector.ledger.policy import LOOK_AGAIN_S, PolicyPublisher
from collector.policy import CapRule, decode_policy, hash_key
from collector.store.keys import add_key, list_keys, make_key, mark_of_secret, revoke_key
from tests.integration.ledger.test_exporter import batch_of, open_journal

SECRET = "5e" * 32
ZONE = "Asia/Kathmandu"  # its days begin at 18:15 UTC
KINDS = ("team", "project", "key")


def rule(kind, name, per="day", limit="1"):
    return CapRule(kind=kind, name=name, per=per, limit_usd=Decimal(limit))


def new_key(database, **binds):
    return add_key(
        database, make_key(), hash_secret=SECRET, **{"tenant": "default", "team": "search", **binds}
    )


@pytest.fixture
def zone(database):
    database.execute("UPDATE settings SET value = %s WHERE name = 'reporting_zone'", (ZONE,))
    return ZONE


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.json"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def publisher(database_url, path, clock):
    made = []

    def make(*rules, tenant="default", url=database_url, path=path):
        made.append(PolicyPublisher(url, path, tenant=tenant, rules=rules, clock=clock))
        return made[-1]

    yield make
    for one in made:
        one.disconnect()


def read(path):
    return decode_policy(path.read_bytes())


def spent(policy):
    return {(cap.rule.kind, cap.rule.name, cap.rule.per): cap.spent_usd for cap in policy.caps}


class Writer:
    """Calls into the ledger, batch by batch, as record does."""

    def __init__(self, exporter, prices) -> None:
        self.exporter, self.prices, self.at = exporter, prices, 0

    def write(self, calls):
        start, self.at = self.at, self.at + len(calls)
        begin = Position(1, start) if start else None
        written = self.exporter.export_batch(batch_of(calls, self.prices, begin, Position(1, self.at)))
        assert written.calls == len(calls)


@pytest.fixture
def writer(exporter, prices):
    open_journal(exporter)
    return Writer(exporter, prices)


def test_a_key_is_kept_as_a_hash_alone(database):
    key = make_key()
    assert key.startswith("sw-")
    assert len(key) == 46
    stored = add_key(database, key, hash_secret=SECRET, tenant="default", team="search", name="ci")
    (row,) = database.execute("SELECT keys::text FROM keys").fetchone()
    assert hash_key(SECRET, key.encode()) in row
    assert key[3:-4] not in row
    assert (stored.team, stored.name, stored.last4, stored.revoked_at) == ("search", "ci", key[-4:], None)
    assert stored.secret_mark == mark_of_secret(SECRET) != mark_of_secret("ab" * 32)
    assert list_keys(database, "default") == [stored]
    assert list_keys(database, "other") == []


def test_a_key_is_revoked_once_and_by_its_own_tenant(database):
    stored = new_key(database)
    assert revoke_key(database, "other", stored.key_id) is None
    assert revoke_key(database, "default", "key-none") is None
    revoked = revoke_key(database, "default", stored.key_id)
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert revoke_key(database, "default", stored.key_id) == revoked


def test_keys_that_are_good_are_published_at_once(database, publisher, path):
    publish = publisher().publish
    assert publish()
    assert (read(path).keys, read(path).keys_in_use) == ([], False)
    new_key(database, tenant="other")
    assert not publish()
    first, second = new_key(database, project="index", environment="prod"), new_key(database, team="ünï")
    assert publish()
    found = {key.key_id: (key.team, key.project, key.environment) for key in read(path).keys}
    assert found == {first.key_id: ("search", "index", "prod"), second.key_id: ("ünï", "", "")}
    for key in (first, second):
        revoke_key(database, "default", key.key_id)
        assert publish()
        assert key.key_id not in {entry.key_id for entry in read(path).keys}
    assert read(path).keys_in_use
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_news_the_file_is_made_again_so_that_its_age_says_that_somebody_looks(publisher, path, clock):
    publish = publisher(rule("team", "search")).publish
    assert publish()
    first = read(path)
    clock.now += timedelta(seconds=LOOK_AGAIN_S - 1)
    assert not publish()
    clock.now += timedelta(seconds=1)
    assert publish()
    assert read(path).version == first.version
    assert read(path).made_at_s == pytest.approx(first.made_at_s + LOOK_AGAIN_S)


def test_a_clock_that_is_set_back_does_not_stop_it(publisher, path, clock):
    publish = publisher().publish
    assert publish()
    clock.now -= timedelta(hours=1)
    assert publish()


def test_spend_is_the_ledgers_after_every_batch(database, publisher, path, clock, writer, varied_calls, zone):
    """With what is remembered of older hours, and late calls among the new ones."""
    chance = random.Random(5)
    keys = [new_key(database, name=name) for name in ("batch", "batch", "chat")]
    revoke_key(database, "default", keys[0].key_id)
    names = {
        "team": ["search", "ünïcode-團隊"],
        "project": ["index", "chat"],
        "key": ["batch", keys[2].key_id],
    }
    rules = [rule(kind, name, per) for kind in KINDS for name in names[kind] for per in ("day", "month")]
    publish = publisher(*rules).publish
    calls = [
        msgspec.structs.replace(
            call,
            project=chance.choice(["index", "chat", "other", ""]),
            key_id=chance.choice(["", *(key.key_id for key in keys)]),
        )
        for call in varied_calls(600, days=55)
    ]
    chance.shuffle(calls)
    while clock.now.day != 20:  # a day in mid-month, with calls before and after it
        clock.now -= timedelta(days=1)
    windows = find_windows(clock.now, zone)
    for first in range(0, 600, 100):
        writer.write(calls[first : first + 100])
        assert publish()
        expected = {}
        for one in rules:
            column, wanted = {"team": "team", "project": "project", "key": "key_id"}[one.kind], [one.name]
            if one.name == "batch":
                wanted = [keys[0].key_id, keys[1].key_id]
            start, end = windows[:2] if one.per == "day" else windows[2:]
            (expected[one.kind, one.name, one.per],) = database.execute(
                f"SELECT coalesce(sum(cost_usd), 0) FROM calls WHERE {column} = ANY(%s) "
                "AND started_at >= %s AND started_at < %s",
                (wanted, start, min(end, windows.day_end)),
            ).fetchone()
        assert spent(read(path)) == expected
    assert all(total > 0 for (_, _, per), total in spent(read(path)).items() if per == "month")


def test_only_what_changed_is_summed_up_again(
    database_url, database, clock, writer, varied_calls, zone, monkeypatch
):
    calls = [msgspec.structs.replace(call, project="index") for call in varied_calls(300, days=3)]
    writer.write(calls[:299])
    reader = PolicyReader("default", [rule("project", "index", "month")])
    windows = find_windows(clock.now, zone)
    summed = []
    original = PolicyReader._sum_calls
    monkeypatch.setattr(
        PolicyReader, "_sum_calls", lambda *values: summed.append(values[2:]) or original(*values)
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        reader.read(connection, clock.now, windows, zone)
        assert summed
        summed.clear()
        reader.read(connection, clock.now, windows, zone)
        assert summed == []
        writer.write(calls[299:])
        reader.read(connection, clock.now, windows, zone)
        ((start, end),) = summed
        assert start.timestamp() <= calls[299].started_at_ns / 1e9 < end.timestamp()


def test_the_next_day_begins_with_nothing_spent(publisher, path, clock, writer, varied_calls, zone):
    calls = [msgspec.structs.replace(call, team="search") for call in varied_calls(20, days=1e-6)]
    writer.write(calls)
    publish = publisher(rule("team", "search", limit="0.0000001"), rule("team", "search", "month")).publish
    publish()
    today, month = read(path).caps
    assert today.spent_usd == month.spent_usd > today.rule.limit_usd
    assert today.starts_at_s <= clock.now.timestamp() < today.ends_at_s
    clock.now = datetime.fromtimestamp(today.ends_at_s, UTC)
    assert publish()
    tomorrow, _ = read(path).caps
    assert tomorrow.spent_usd == 0
    assert (tomorrow.starts_at_s, tomorrow.ends_at_s) == (today.ends_at_s, today.ends_at_s + 86400)
    clock.now = datetime.fromtimestamp(month.ends_at_s, UTC)
    assert publish()
    assert [cap.spent_usd for cap in read(path).caps] == [0, 0]


def test_another_tenants_spend_is_not_ours(publisher, path, writer, varied_calls):
    calls = [
        msgspec.structs.replace(call, team="search", project="index") for call in varied_calls(20, days=1e-6)
    ]
    writer.write(calls)
    for tenant, spends in (("default", True), ("other", False)):
        publisher(rule("team", "search"), rule("project", "index"), tenant=tenant).publish()
        assert [cap.spent_usd > 0 for cap in read(path).caps] == [spends, spends]


def test_trouble_leaves_the_file_as_it_is_and_ends_with_the_trouble(
    database, database_url, publisher, path, tmp_path
):
    one = publisher()
    assert one.try_publish()
    before = path.read_bytes()
    database.execute("ALTER TABLE keys RENAME TO lost")
    assert not one.try_publish()
    assert path.read_bytes() == before
    database.execute("ALTER TABLE lost RENAME TO keys")
    new_key(database)
    assert one.try_publish()
    assert len(read(path).keys) == 1
    assert not publisher(path=tmp_path / "gone" / "policy.json").try_publish()
    assert not publisher(url=f"postgresql:///none?host={tmp_path}").try_publish()


def test_its_thread_ends_when_it_is_told(publisher, path):
    stop = threading.Event()
    thread = publisher().start(stop)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("now", "zone", "day", "month"),
    [
        ("2026-10-25T12:00", "Europe/Berlin", ("2026-10-24T22:00", "2026-10-25T23:00"), "2026-10-31T23:00"),
        ("2026-03-29T12:00", "Europe/Berlin", ("2026-03-28T23:00", "2026-03-29T22:00"), "2026-03-31T22:00"),
        ("2026-01-31T18:20", ZONE, ("2026-01-31T18:15", "2026-02-01T18:15"), "2026-02-28T18:15"),
        ("2026-12-31T23:59", "UTC", ("2026-12-31T00:00", "2027-01-01T00:00"), "2027-01-01T00:00"),
    ],
)
def test_windows_are_those_of_the_reporting_zone(now, zone, day, month):
    found = find_windows(datetime.fromisoformat(now + "Z"), zone)
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in (*found[:2], found.month_end)] == [*day, month]
