"""A record process that kills itself at a chosen place: `dying_record.py PLACE BATCH record-arguments`.

PLACE: before_commit (rows copied, cursor moved, nothing committed), after_commit (the journal not yet told).
"""

import os
import signal
import sys
from typing import Any

from collector.ledger import __main__ as record
from collector.ledger import exporter
from collector.ledger.database import LedgerTables

place, batch = sys.argv[1], int(sys.argv[2])
batches = iter(range(1, batch + 1))


def die_at_last() -> None:
    if next(batches) == batch:
        os.kill(os.getpid(), signal.SIGKILL)


class DyingTables(LedgerTables):
    def quarantine(self, *arguments: Any) -> None:
        super().quarantine(*arguments)
        if place == "before_commit":
            die_at_last()

    def commit(self, *arguments: Any) -> Any:
        added = super().commit(*arguments)
        if place == "after_commit":
            die_at_last()
        return added


exporter.LedgerTables = DyingTables  # type: ignore[misc]
sys.argv = ["record", *sys.argv[3:]]
sys.exit(record.main())
