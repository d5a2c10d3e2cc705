"""What of the configuration reaches whom, and what a reload may change. Pure."""

from collections.abc import Callable, Mapping

from pydantic import SecretStr

from collector.config import Config
from collector.errors import SizewiseError

# What a child process may inherit. All else stays here: nobody knows which variables hold secrets, and
# what a process was started with can be read as long as it lives.
INHERITED = {
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_ARENA_MAX", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGCHANNELBINDING", "PGCONNECT_TIMEOUT"),
}
INHERITED_PREFIXES = ("LC_", "PYTHON", "PGSSL")


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
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
