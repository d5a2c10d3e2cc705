"""The record process as it runs: killed at any place, the database killed or away, stopped in good order."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from threading import Event

import msgspec
import psycopg
import pytest

from collector.config import Config, write_effective
from collector.journal import Journal
from collector.ledger.exporter import PostgresSpanExporter
from collector.ledger.journals import Journals, lock_journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.recorder import Recorder
from collector.store.embedded import start_postgres
from collector.store.schema import migrate
from tests.integration.ledger.test_exporter import assert_rollups_are_the_calls, count_of

DYING = str(Path(__file__).with_name("dying_record.py"))


@pytest.fixture
def config_file(tmp_path, database_url):
    return write_config(tmp_path, database_url)


def write_config(tmp_path, url, listen="127.0.0.1:0", batch_calls=50):
    config = Config.model_validate(
        {
            "state_dir": str(tmp_path),
            "journal": {"dir": str(tmp_path / "journal")},
            "database": {"url": url},
            "record": {"listen": listen, "batch_calls": batch_calls, "interval_ms": 20},
        }
    )
    path = tmp_path / "config.json"
    write_effective(config, path)
    return path


@pytest.fixture
def journals(tmp_path):
    """Two relay workers' journals."""
    made = [
        Journal(tmp_path / "journal" / name, segment_bytes=64 * 1024, fsync_ms=100) for name in ("w0", "w1")
    ]
    yield made
    for journal in made:
        journal.close()


@pytest.fixture
def start(config_file):
    """Starts record processes, and ends those that a test leaves behind."""
    started = []

    def start(*dying):
        module = [DYING, *dying] if dying else ["-m", "collector.ledger"]
        process = subprocess.Popen(
            [sys.executable, *module, "--config-file", str(config_file)], stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


def stop(process):
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 0, said
    return said


def append(journals, calls):
    for number, call in enumerate(calls):
        assert journals[number % len(journals)].append(call)


def await_count(database, count, seconds=30):
    deadline = time.monotonic() + seconds
    while count_of(database) != count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert count_of(database) == count


def assert_all_are_there_once(database, calls):
    found = [call_id.bytes for (call_id,) in database.execute("SELECT call_id FROM calls")]
    assert len(found) == len(set(found))
    assert set(found) == {call.call_id for call in calls}
    assert_rollups_are_the_calls(database)
    assert count_of(database, "quarantine") == 0


def test_what_stands_in_the_journals_is_recorded_and_the_end_is_drained(
    start, tmp_path, journals, database, varied_calls
):
    calls = varied_calls(900)
    append(journals, calls[:500])
    process = start()
    await_count(database, 500)
    append(journals, calls[500:])
    said = stop(process)
    assert_all_are_there_once(database, calls)
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[-1]["text"].startswith("stopped: 900 calls recorded, 0 bytes wait")
    for journal, name in zip(journals, ("w0", "w1"), strict=True):  # acknowledged segments are gone
        assert journal.position.segment > 1
        assert len(list((tmp_path / "journal" / name).glob("*.journal"))) == 1


@pytest.mark.parametrize("place", ["before_commit", "after_commit"])
def test_killed_at_the_bad_moment(start, journals, database, varied_calls, place):
    calls = varied_calls(600)
    append(journals, calls)
    for batch in ("1", "3", "2"):
        process = start(place, batch)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    said = stop_when(start(), lambda: count_of(database) == 600)
    assert "quarantined" not in said
    assert_all_are_there_once(database, calls)


def stop_when(process, done, seconds=40):
    deadline = time.monotonic() + seconds
    while not done() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return stop(process)


def test_killed_at_random_under_load(start, journals, database, varied_calls):
    rng = random.Random(11)
    calls = varied_calls(1500)
    for first in range(0, 1500, 300):
        process = start()
        for at in range(first, first + 300, 20):
            append(journals, calls[at : at + 20])
            time.sleep(rng.random() * 0.06)
        process.kill()
        process.communicate()
    stop_when(start(), lambda: count_of(database) == 1500)
    assert_all_are_there_once(database, calls)


def test_the_database_killed_under_load_and_back(tmp_path, open_dir, journals, varied_calls):
    postgres = start_postgres(open_dir / "postgres")
    migrate(postgres.url)
    config_file = write_config(tmp_path, postgres.url)
    calls = varied_calls(1200)
    process = subprocess.Popen(
        [sys.executable, "-m", "collector.ledger", "--config-file", str(config_file)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for kill in range(3):
            for at in range(kill * 400, kill * 400 + 400, 40):
                append(journals, calls[at : at + 40])
                time.sleep(0.02)
            os.kill(postgres.pid, signal.SIGKILL)
            time.sleep(0.3)
            postgres.stop()
            postgres = start_postgres(open_dir / "postgres")
        with psycopg.connect(postgres.url, autocommit=True) as database:
            await_count(database, 1200)
            stop(process)
            assert_all_are_there_once(database, calls)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        postgres.stop()


def test_frames_that_are_no_call_are_put_aside(start, tmp_path, journals, database, varied_calls):
    calls = varied_calls(60)
    append(journals, calls)
    damaged = next((tmp_path / "journal" / "w0").glob("*.journal"))
    content = bytearray(damaged.read_bytes())
    content[200] ^= 0xFF
    damaged.write_bytes(content)
    stop_when(start(), lambda: count_of(database) == 59)
    assert count_of(database) == 59
    reason, frame = database.execute("SELECT reason, frame FROM quarantine").fetchone()
    assert reason
    assert frame
    assert_rollups_are_the_calls(database)


def test_metrics_and_health(start, tmp_path, database_url, journals, database, varied_calls):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write_config(tmp_path, database_url, f"127.0.0.1:{port}")
    calls = varied_calls(120)
    append(journals, calls)
    process = start()
    await_count(database, 120)
    deadline = time.monotonic() + 10
    while "sizewise_recorded_calls_total 120.0" not in (text := get(port, "/metrics")):
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    assert "sizewise_database_up 1.0" in text
    assert "sizewise_journal_lag_bytes 0.0" in text
    tokens = sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if is_input_sum(line))
    assert tokens == sum(call.usage.input_tokens for call in calls if call.usage)
    assert 'gen_ai_client_operation_duration_seconds_bucket{le="+Inf"} 120.0' in text
    health = json.loads(get(port, "/healthz"))
    assert (health["database"], health["recorded_calls"]) == ("up", 120)
    stop(process)


def is_input_sum(line):
    return line.startswith("gen_ai_client_token_usage_sum") and 'gen_ai_token_type="input"' in line


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
        return reply.read().decode()


def test_one_record_works_on_a_hosts_journals(start, tmp_path, journals):
    process = start()
    lock = tmp_path / "journal" / "record.lock"
    deadline = time.monotonic() + 20
    while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(Exception, match=f"held by process {process.pid}"):
        lock_journals(tmp_path / "journal", patience_s=0)
    stop(process)


def test_a_call_that_breaks_our_own_code_holds_up_no_other(
    tmp_path, journals, database_url, database, prices, varied_calls, monkeypatch
):
    calls = varied_calls(30)
    append(journals, calls)
    poison = calls[7].call_id
    price = prices.price
    monkeypatch.setattr(prices, "price", lambda call: 1 / 0 if call.call_id == poison else price(call))
    exporter = PostgresSpanExporter(database_url, prices.versions)
    recorder = Recorder(Journals(tmp_path / "journal"), exporter, prices, RecordMetrics())
    done = Event()
    done.set()
    recorder.run(done)
    assert count_of(database) == 29
    (reason,) = database.execute("SELECT reason FROM quarantine").fetchone()
    assert "ZeroDivisionError" in reason


def test_the_answer_to_a_commit_is_lost(
    tmp_path, journals, database_url, database, prices, varied_calls, monkeypatch
):
    """The transaction is committed, the connection breaks before record knows: nothing is written twice."""
    calls = varied_calls(100)
    append(journals, calls)
    exporter = PostgresSpanExporter(database_url, prices.versions)
    commit, lost = exporter.tables.commit, []

    def lose_answer(*arguments):
        added = commit(*arguments)
        if len(lost) < 2:
            lost.append(1)
            exporter.tables.connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return added

    monkeypatch.setattr(exporter.tables, "commit", lose_answer)
    metrics = RecordMetrics()
    recorder = Recorder(Journals(tmp_path / "journal"), exporter, prices, metrics, batch_calls=20)
    assert recorder.try_pass() is False
    assert metrics.database_up is False
    done = Event()
    done.set()
    recorder.run(done)
    assert_all_are_there_once(database, calls)


def test_a_call_from_before_the_retention_is_put_aside_with_its_frame(
    start, journals, database, varied_calls
):
    calls = varied_calls(3)
    old = msgspec.structs.replace(calls[0], started_at_ns=calls[0].started_at_ns - 500 * 86_400 * 10**9)
    append(journals, [old, *calls[1:]])
    stop_when(start(), lambda: count_of(database) == 2)
    reason, frame = database.execute("SELECT reason, frame FROM quarantine").fetchone()
    assert "neither within the last 400 days" in reason
    assert old.response_id.encode() in frame
