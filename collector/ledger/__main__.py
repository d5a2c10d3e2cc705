"""`python -m collector.ledger --config-file PATH`: one record process, from its config to its end.

SIGTERM or SIGINT: what stands in the journals is recorded first (bounded), then it exits with 0.
"""

import argparse
import json
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from collector.children import die_with_parent
from collector.config import Config, cap_rules, policy_path, read_effective
from collector.errors import SizewiseError
from collector.journal import JournalReader
from collector.ledger.exporter import PostgresSpanExporter
from collector.ledger.journals import Journals, lock_journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.policy import PolicyPublisher
from collector.ledger.prices import PriceList
from collector.ledger.recorder import Recorder, calm_garbage_collection
from collector.ledger.serving import serve
from collector.ledger.shelf import BookWatch, shelf_of

if TYPE_CHECKING:
    from collector.ledger.forwarding import Forwarder

log = logging.getLogger("collector.ledger")
STOP_S = 2.0


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "process": "record", "text": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m collector.ledger")
    parser.add_argument("--config-file", type=Path, required=True)
    arguments = parser.parse_args()
    stop = Event()
    stop_on_signals(stop)
    die_with_parent()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        record(read_effective(arguments.config_file), stop)
    except SizewiseError as problem:
        log.error("%s", problem)
        return 1
    except Exception:
        log.exception("record broke off; what was not recorded stands in the journals")
        return 1
    return 0


def stop_on_signals(stop: Event) -> None:
    """A thread waits for the signal. A handler would run in the main thread, which may stand within
    `stop.wait()` just then and hold the very lock that `stop.set()` needs: both would wait for ever.

    To be called before any other thread is started, since threads inherit which signals are blocked.
    """
    numbers = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def wait() -> None:
        signal.sigwait(numbers)
        stop.set()

    Thread(target=wait, name="signals", daemon=True).start()


def record(config: Config, stop: Event) -> None:
    lock_journals(config.journal.dir)
    metrics, prices = RecordMetrics(), PriceList(aliases=config.prices.aliases)
    books = BookWatch(shelf_of(config), prices)
    server = serve(config.record.listen, metrics)
    retention_days = config.database.retention_days
    url = config.database.url.get_secret_value()
    forwarder = make_forwarder(config)
    if server is not None and forwarder is not None:
        server.registry.register(forwarder)
    recorder = Recorder(
        Journals(config.journal.dir, forwarder.make_reader if forwarder else JournalReader),
        PostgresSpanExporter(url, prices.versions, retention_days=retention_days),
        prices,
        metrics,
        tenant_id=config.tenant,
        batch_calls=config.record.batch_calls,
        interval_s=config.record.interval_ms / 1000,
        retention_days=retention_days,
        look_at_books=books.look,
    )
    publisher = PolicyPublisher(url, policy_path(config), tenant=config.tenant, rules=cap_rules(config))
    log.info("recording %s, metrics on %s", config.journal.dir, config.record.listen)
    calm_garbage_collection()
    threads = [publisher.start(stop)]
    if forwarder is not None:
        threads.append(forwarder.start(stop))
    recorder.run(stop)
    for thread in threads:
        thread.join(STOP_S)
    if server is not None:
        server.shutdown()
    log.info("stopped: %d calls recorded, %d bytes wait", metrics.recorded, metrics.lag_bytes)


def make_forwarder(config: Config) -> "Forwarder | None":
    """What it needs is imported only where it is wanted."""
    if not config.otel.endpoint:
        return None
    from collector.ledger.collectors import make_exporter
    from collector.ledger.forwarding import Bounds, Forwarder

    prices = PriceList(aliases=config.prices.aliases)
    return Forwarder(
        config.journal.dir,
        make_exporter(config.otel),
        prices,
        Bounds(config.otel.max_lag_mb * 1024 * 1024, config.otel.max_lag_hours),
        look_at_books=BookWatch(shelf_of(config), prices).look,
    )


if __name__ == "__main__":
    sys.exit(main())
