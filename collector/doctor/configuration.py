"""The configuration: is it right, and if not, everything that is wrong with it, problem by problem."""

from collections.abc import Mapping
from pathlib import Path

from collector.config import Loaded, load_config
from collector.doctor.finding import Finding, ok, problem, warning
from collector.errors import ConfigError

REFUSED = "Nothing starts with a configuration that is refused, and a running Sizewise does not take it over."
REMEDY = "mend it there, then `sizewise config check`"


def read_configuration(
    path: Path | None, environ: Mapping[str, str] | None = None
) -> tuple[Loaded | None, list[Finding]]:
    try:
        loaded = load_config(path, environ)
    except ConfigError as refusal:
        return None, judge_refusal(str(refusal))
    return loaded, judge(loaded)


def judge(loaded: Loaded) -> list[Finding]:
    config = loaded.config
    where = str(loaded.file) if loaded.file else "no file, defaults"
    counts = f"{len(config.upstreams)} upstreams, {len(config.routes)} routes"
    found = [ok("config.right", f"the configuration is right ({where}; {counts})")]
    why = "What was meant is perhaps not what is done."
    return found + [warning("config.doubtful", text, why, REMEDY) for text in loaded.warnings]


def judge_refusal(text: str) -> list[Finding]:
    """The first line counts the problems, the others are one problem each."""
    lines = [line.strip() for line in text.splitlines()]
    wrong = [line for line in lines[1:] if line] or lines[:1]
    return [problem("config.refused", line, REFUSED, REMEDY) for line in wrong]
