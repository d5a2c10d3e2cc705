"""What it costs to bring a call from the journal into Postgres, beside plain INSERTs of the same rows.

The whole path is run, in batches of 2,000: read, CRC, decode, price, span, row, COPY, rollups, latency bins,
cursor, commit, acknowledge. CPU per call of this process by its own clock, of the server by the run times of
its backends and helpers (/proc/PID/schedstat, else utime + stime). The embedded Postgres has its ordinary,
durable settings. Rounds of both kinds alternate; medians.
"""

import os
import random
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.calls import make_calls
from collector.call import Call
from collector.journal import Journal
from collector.ledger.book_file import read_book
from collector.ledger.copying import COLUMNS
from collector.ledger.exporter import PostgresSpanExporter
from collector.ledger.journals import Journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.prices import PriceList
from collector.ledger.recorder import Recorder, calm_garbage_collection
from collector.ledger.rows import Row, read_span
from collector.ledger.spans import call_span
from collector.store.embedded import start_postgres
from collector.store.schema import migrate

BATCH = 2000


def run() -> dict[str, float | None]:
    quick = os.environ.get("BENCH_QUICK") == "1"
    seed = int(os.environ.get("BENCH_SEED", "1"))
    rounds, batches = (3, 6) if quick else (7, 12)
    folder = Path(tempfile.mkdtemp(prefix="sizewise-bench-"))
    folder.chmod(0o711)
    postgres = start_postgres(folder / "postgres")
    try:
        migrate(postgres.url)
        return measure(postgres.url, postgres.pid, folder, seed, rounds, batches)
    finally:
        postgres.stop()
        shutil.rmtree(folder)


def measure(
    url: str, postmaster: int, folder: Path, seed: int, rounds: int, batches: int
) -> dict[str, float | None]:
    rng = random.Random(seed)
    path = Path(folder / "journals")
    journal = Journal(path / "w0", segment_bytes=16 * 1024 * 1024, fsync_ms=100)
    prices, metrics = PriceList(), RecordMetrics()
    calm_garbage_collection()
    exporter = PostgresSpanExporter(url, prices.versions)
    recorder = Recorder(Journals(path), exporter, prices, metrics, batch_calls=BATCH)
    inserter = psycopg.connect(url)
    measured: dict[str, list[tuple[float, float, float]]] = {"record": [], "insert": []}
    for turn in range(rounds + 1):  # the first warms caches and partitions up
        calls = make_calls(BATCH * batches, rng, now_ns=time.time_ns(), days=0.1)
        for call in calls:
            journal.append(call)
        settle(url)
        recorded = metrics.recorded
        costs = clocked(lambda: record_all(recorder), postmaster, len(calls))
        assert metrics.recorded - recorded == len(calls), "not every call was recorded"
        rows = plain_rows(calls[: BATCH * max(batches // 4, 1)], prices)
        settle(url)
        plain = clocked(lambda: insert_all(inserter, rows), postmaster, len(rows))  # noqa: B023
        if turn:
            measured["record"].append(costs)
            measured["insert"].append(plain)
    check(url, metrics)
    inserter.close()
    exporter.shutdown()
    journal.close()
    return report(measured) | {"price_us": price_lookup_us(calls, folder)}


def settle(url: str) -> None:
    """What earlier rounds left to be written later is not this one's cost."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def record_all(recorder: Recorder) -> None:
    while recorder.record_once():
        pass


def plain_rows(calls: list[Call], prices: PriceList) -> list[tuple[Any, ...]]:
    """The same rows, as a program would hand them to INSERT."""
    source = uuid.uuid4()
    return [plain_row(read_span(call_span(call, prices.price(call), source.bytes))) for call in calls]


def plain_row(row: Row) -> tuple[Any, ...]:
    values = row._asdict()
    for name in ("source_id", "call_id", "trace_id"):
        values[name] = uuid.UUID(bytes=values[name]) if values[name] else None
    values["other_usage"] = values["other_usage"].decode() if values["other_usage"] else None
    values["price_id"] = values["price_id"] or None
    for name, value in values.items():
        if name.endswith("_us") and name != "started_at_us" and value is not None:
            values[name] = value / 1000
    values["started_at_us"] = datetime.fromtimestamp(row.started_at_us / 1e6, UTC)
    return tuple(values.values())


def insert_all(connection: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> None:
    marks = ", ".join(["%s"] * len(COLUMNS))
    statement = f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES ({marks})"
    for first in range(0, len(rows), BATCH):
        with connection.cursor() as cursor:
            cursor.executemany(statement.encode(), rows[first : first + BATCH])
        connection.commit()


def clocked(work: Callable[[], None], postmaster: int, calls: int) -> tuple[float, float, float]:
    """Microseconds a call: this process, the server, and on the wall."""
    server, mine, wall = server_seconds(postmaster), time.process_time(), time.perf_counter()
    work()
    took = time.perf_counter() - wall
    used = time.process_time() - mine, server_seconds(postmaster) - server
    return used[0] / calls * 1e6, used[1] / calls * 1e6, took / calls * 1e6


def server_seconds(postmaster: int) -> float:
    """CPU of the postmaster and its living children; none of them ends within a measurement."""
    family = [postmaster]
    for task in Path(f"/proc/{postmaster}/task").iterdir():
        family += [int(pid) for pid in (task / "children").read_text().split()]
    return sum(map(cpu_seconds, family))


def cpu_seconds(pid: int) -> float:
    try:
        ran = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        ran = 0
    if ran:
        return ran / 1e9
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def price_lookup_us(calls: list[Call], folder: Path) -> float:
    """What pricing alone takes of one call, with a book that tells teams apart; the best of five."""
    path = folder / "book.yaml"
    path.write_text(
        '{prices: [{model: gpt-4o, team: "search*", input: 2, output: 8}], discounts: [{percent: 5}]}'
    )
    price = PriceList(read_book(path)).price
    took = []
    for _ in range(5):
        began = time.process_time()
        for call in calls:
            price(call)
        took.append((time.process_time() - began) / len(calls) * 1e6)
    print(f"of that the price, with a book of one's own: {min(took):.2f} us a call")
    return round(min(took), 2)


def check(url: str, metrics: RecordMetrics) -> None:
    """Quick and wrong would be no figure."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT sum(calls) FROM rollup_hours").fetchone()
        held = connection.execute("SELECT sum(calls) FROM cursors").fetchone()
    assert found == held == (metrics.recorded,), (found, held, metrics.recorded)


def report(measured: dict[str, list[tuple[float, float, float]]]) -> dict[str, float | None]:
    medians = {
        kind: [statistics.median(values) for values in zip(*rounds, strict=True)]
        for kind, rounds in measured.items()
    }
    print(f"journal -> Postgres, batches of {BATCH}, us of CPU a call (medians of {len(measured['record'])})")
    print(f"{'':24}{'client':>10}{'server':>10}{'together':>10}{'calls/s':>10}")
    for kind, text in (("record", "record, the whole path"), ("insert", "plain INSERTs alone")):
        client, server, wall = medians[kind]
        print(f"{text:24}{client:10.1f}{server:10.1f}{client + server:10.1f}{1e6 / wall:10.0f}")
    record, insert = medians["record"], medians["insert"]
    return {
        "client_us": round(record[0], 2),
        "server_us": round(record[1], 2),
        "calls_per_s": round(1e6 / record[2]),
        "insert_client_us": round(insert[0], 2),
        "insert_server_us": round(insert[1], 2),
    }
