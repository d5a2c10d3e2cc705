"""Calls that have usage and no price: listed by model, with what to write so that the next ones have one."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from collector.spend.scope import scoped


@dataclass(frozen=True, slots=True)
class UnpricedModel:
    provider: str  # "" a server of one's own
    model: str
    unpriced: int
    calls: int  # of the same model, priced ones included
    input_tokens: int  # of all of them: rollups don't tell which were the unpriced ones'
    output_tokens: int
    first_at: datetime  # the days on which there were any
    last_at: datetime

    @property
    def remedy(self) -> str:
        """What to do, with a line for a price book that wants only its figures."""
        named = f"provider: {quoted(self.provider)}, model: {quoted(self.model)}"
        entry = f"`- {{{named}, input: USD, output: USD}}` under `prices:`"
        if self.provider:
            return (
                f"say what a million tokens cost in a price book ({entry}), or, where this is the name of a "
                "deployment, which model it is with `prices.aliases`"
            )
        return (
            f"a server of your own has no list price: say what a million tokens cost in a book ({entry}), "
            "or `free: true`; where it is a provider's, say whose prices apply with `upstreams.NAME.provider`"
        )


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unpriced_models(
    connection: Connection[Any], *, tenant: str, start: datetime, end: datetime
) -> list[UnpricedModel]:
    """The most calls first."""
    values = {"tenant": tenant, "start": start, "end": end}
    with connection.cursor(row_factory=dict_row) as cursor:
        return [UnpricedModel(**row) for row in cursor.execute(scoped("spend_unpriced"), values)]


def unpriced_values(one: UnpricedModel) -> dict[str, Any]:
    dated = {"first_at": one.first_at.isoformat(), "last_at": one.last_at.isoformat()}
    return asdict(one) | dated | {"remedy": one.remedy}
