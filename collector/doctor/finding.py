"""A finding: what was looked at, how bad it is, and what to do about it.

Codes are stable, so that scripts can rely on them: `group.what`. `about` names the one thing of several that
it is about (an upstream, a journal, a setting). A finding that is not ok always says why it matters and what
to do.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

Severity = Literal["ok", "warning", "problem"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    severity: Severity
    found: str
    about: str = ""
    why: str = ""
    remedy: str = ""
    values: dict[str, Any] = {}

    @property
    def group(self) -> str:
        return self.code.partition(".")[0]


def ok(code: str, found: str, about: str = "", **values: Any) -> Finding:
    return Finding(code=code, severity="ok", found=found, about=about, values=values)


def warning(code: str, found: str, why: str, remedy: str, about: str = "", **values: Any) -> Finding:
    return Finding(
        code=code, severity="warning", found=found, why=why, remedy=remedy, about=about, values=values
    )


def problem(code: str, found: str, why: str, remedy: str, about: str = "", **values: Any) -> Finding:
    return Finding(
        code=code, severity="problem", found=found, why=why, remedy=remedy, about=about, values=values
    )


def has_problem(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "problem" for finding in findings)


def shown_bytes(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:,.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError


def shown_ms(ms: float) -> str:
    """Three digits at most, and a unit that fits: 0.08 ms, 12 ms, 1.2 s."""
    if abs(ms) >= 1000:
        return f"{ms / 1000:.1f} s"
    return f"{ms:.0f} ms" if abs(ms) >= 10 else f"{ms:.1f} ms" if abs(ms) >= 1 else f"{ms:.2f} ms"


def shown_seconds(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s" if abs(seconds) >= 10 else f"{seconds:.1f} s"
