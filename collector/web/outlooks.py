"""The projection that pages show: made once an hour for everybody, and never the reason why a page fails.

The first one of a process takes a second or two, because scikit-learn is loaded for it and not before: a web
that nobody looks at stays small.
"""

import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from collector.store.buckets import hour_bucket

if TYPE_CHECKING:
    from collector.spend.outlook import Forecast

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outlooks:
    lock: threading.Lock = field(default_factory=threading.Lock)
    key: tuple[str, str, datetime] | None = None
    made: "Forecast | None" = None

    def of(self, connection: Connection[Any], tenant: str, zone: str, now: datetime) -> "Forecast | None":
        """None where it could not be made; a database that is down is for the caller to tell."""
        key = (tenant, zone, hour_bucket(now, zone))
        with self.lock:
            if key != self.key:
                self.made = self.make(connection, tenant, zone, now)
                self.key = key
            return self.made

    def make(self, connection: Connection[Any], tenant: str, zone: str, now: datetime) -> "Forecast | None":
        from collector.spend.outlook import forecast

        try:
            return forecast(connection, tenant=tenant, now=now, zone=zone)
        except (ArithmeticError, ValueError, LookupError):
            log.exception("the month could not be foreseen")
            return None
