"""Findings in, the text that a person reads out; plain words, so that it reads the same in a log.

`style` may colour a word (the command line passes one for a terminal); nothing is told by colour alone.
"""

import textwrap
from collections.abc import Callable, Sequence
from itertools import groupby

from collector.doctor.finding import Finding, Severity

WORDS: dict[Severity, str] = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}
WIDTH = max(len(word) for word in WORDS.values())
INDENT = " " * (WIDTH + 4)
Style = Callable[[str, Severity], str]


def plain(word: str, severity: Severity) -> str:
    return word


def render(findings: Sequence[Finding], *, style: Style = plain, columns: int = 100) -> str:
    blocks = [
        "\n".join([group, *(_show(finding, style, columns) for finding in members)])
        for group, members in groupby(findings, key=lambda finding: finding.group)
    ]
    return "\n\n".join([*blocks, summary(findings)]) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    counts = {word: sum(finding.severity == word for finding in findings) for word in WORDS}
    problems, warnings = counts["problem"], counts["warning"]
    said = [
        f"{problems} problem{'' if problems == 1 else 's'}",
        f"{warnings} warning{'' if warnings == 1 else 's'}",
        f"{counts['ok']} ok",
    ]
    return ", ".join(said) + "."


def _show(finding: Finding, style: Style, columns: int) -> str:
    word = style(f"{WORDS[finding.severity]:<{WIDTH}}", finding.severity)
    about = f"{finding.about}: " if finding.about else ""
    lines = [f"  {word}  {_wrap(about + finding.found, columns)}"]
    if finding.why:
        lines.append(INDENT + _wrap(f"Why: {finding.why}", columns))
    if finding.remedy:
        lines.append(INDENT + _wrap(f"Do:  {finding.remedy}", columns))
    return "\n".join(lines)


def _wrap(text: str, columns: int) -> str:
    """Never within a word: commands and paths are there to be copied."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += textwrap.wrap(
            line, max(40, columns - len(INDENT)), break_long_words=False, break_on_hyphens=False
        ) or [""]
    return f"\n{INDENT}".join(lines)
