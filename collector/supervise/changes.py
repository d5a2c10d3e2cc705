"""What of the configuration reaches whom, and what a reload may change. Pure."""

import os
from collections.abc import Callable

from pydantic import SecretStr

from collector.config import Config
from collector.errors import SizewiseError


def child_environment(consumed: frozenset[str]) -> dict[str, str]:
    """Without what the configuration was read from: children get that through 0600 files."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in consumed and not name.startswith("SIZEWISE_")
    }


def with_database_url(config: Config, url: str) -> Config:
    database = config.database.model_copy(update={"url": SecretStr(url)})
    return config.model_copy(update={"database": database})


def refuse_fixed_changes(old: Config, new: Config) -> None:
    fixed: dict[str, Callable[[Config], object]] = {
        "state_dir": lambda c: c.state_dir,
        "relay.listen": lambda c: c.relay.listen,
        "web.listen": lambda c: c.web.listen,
        "journal.dir": lambda c: c.journal.dir,
        "database.url": lambda c: c.database_url,
        "database.data_dir": lambda c: c.database.data_dir,
    }
    changed = [key for key, read in fixed.items() if read(old) != read(new)]
    if changed:
        raise SizewiseError(f"{', '.join(changed)} can't change while it runs: stop and start Sizewise.")


def part_of(config: Config, kind: str) -> dict[str, object]:
    """What record or web reads of the configuration: all but what belongs to others alone."""
    others = {"relay", "web"} if kind == "record" else {"relay", "record", "journal"}
    return config.model_dump(mode="json", context={"reveal": True}, exclude=others)
