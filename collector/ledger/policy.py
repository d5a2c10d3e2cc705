"""Publishes the policy: keys, caps and what is spent of them, as one small file for the relays of this host.

Enters: the ledger, the caps of the configuration, the clock. Leaves: the file, about every second when
something changed, and every ten seconds in any case, so that its age tells that somebody still looks.

Invariants
- One file is one snapshot of the database.
- No trouble here stops recording: the file stays as it was, and grows old where everybody can see it.

A cap can be passed by what the calls under way cost, and by what is called until the relay hears of it: that
is about a second, and however far record lags behind the journals.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import psycopg
from psycopg import IsolationLevel

from collector.ledger.caps import Connection, PolicyReader, find_windows
from collector.policy import CapRule, Policy, write_policy

log = logging.getLogger(__name__)

PAUSE_S = 1.0
LOOK_AGAIN_S = 10.0  # also for what no mark tells of: spans that came without a journal
SHARE = 10  # at most one part in so many of the time goes into reading
OPTIONS: dict[str, Any] = {"autocommit": True, "connect_timeout": 5, "application_name": "sizewise policy"}


class PolicyPublisher:
    """Runs in a thread of record with a connection of its own: a slow batch holds up no revoked key."""

    def __init__(
        self,
        url: str,
        path: Path,
        *,
        tenant: str,
        rules: Sequence[CapRule] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url, self._path, self._clock = url, path, clock
        self._reader = PolicyReader(tenant, rules)
        self._connection: Connection | None = None
        self._marks: tuple[Any, ...] = ()
        self._policy: Policy | None = None
        self._reached: set[CapRule] = set()
        self._troubled = False

    def start(self, stop: Event) -> Thread:
        thread = Thread(target=self._run, args=(stop,), name="policy", daemon=True)
        thread.start()
        return thread

    def _run(self, stop: Event) -> None:
        pause_s = 0.0
        while not stop.wait(pause_s):
            began = monotonic()
            self.try_publish()
            pause_s = max(PAUSE_S, SHARE * (monotonic() - began))
        self.disconnect()

    def try_publish(self) -> bool:
        """Never raises: recording goes on whatever happens here."""
        try:
            written = self.publish()
        except Exception as problem:
            if not self._troubled:
                log.warning("relays go on with the keys and caps they have: %s", one_line(problem))
            self._troubled = True
            self.disconnect()
            return False
        self._troubled = False
        return written

    def publish(self) -> bool:
        """Whether a file was written."""
        if self._connection is None:
            self._connection = psycopg.connect(self._url, **OPTIONS)
            self._connection.isolation_level = IsolationLevel.REPEATABLE_READ
            self._connection.read_only = True
        now = self._clock()
        with self._connection.transaction():
            found = self._reader.read_marks(self._connection)
            zone = str(found[-1] or "UTC")
            windows = find_windows(now, zone)
            marks = (*found, windows)
            old = self._policy
            if old and marks == self._marks and 0 <= now.timestamp() - old.made_at_s < LOOK_AGAIN_S:
                return False
            policy = self._reader.read(self._connection, now, windows, zone)
        write_policy(policy, self._path)
        self._policy, self._marks = policy, marks
        self._tell(policy)
        return True

    def _tell(self, policy: Policy) -> None:
        reached = {cap.rule for cap in policy.caps if cap.spent_usd >= cap.rule.limit_usd}
        for rule in reached - self._reached:
            log.warning(
                "the cap of %s %s is reached ($%s a %s)", rule.kind, rule.name, rule.limit_usd, rule.per
            )
        self._reached = reached

    def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


def one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300] or type(problem).__name__
