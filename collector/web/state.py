"""What every handler needs: the configuration, the database, the clock. One per app, made in `app.py`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from psycopg import Connection

from collector.config import Config
from collector.spend.actual import reporting_zone
from collector.web.database import Database
from collector.web.outlooks import Outlooks


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class State:
    config: Config
    database: Database
    clock: Callable[[], datetime] = field(default=now)
    outlooks: Outlooks = field(default_factory=Outlooks)

    @property
    def tenant(self) -> str:
        return self.config.tenant

    def zone(self, connection: Connection[Any]) -> str:
        """The ledger's own: the rollups' days begin there, whatever the configuration says by now."""
        return reporting_zone(connection)


def state_of(request: Request) -> State:
    found: State = request.app.state.sizewise
    return found


Here = Annotated[State, Depends(state_of)]
