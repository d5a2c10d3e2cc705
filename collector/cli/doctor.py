"""`sizewise doctor`: what is wrong here and what to do; with `--prove`, what the sidecar costs in time."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collector.cli.options import AsJson, ConfigFile, echo_json

if TYPE_CHECKING:
    from collector.doctor import Finding

COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "problem": typer.colors.RED}


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    config: ConfigFile = None,
    json: AsJson = False,
    call: Annotated[
        bool, typer.Option("--call", help="Also ask each upstream for completions of one token: these cost.")
    ] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Measure what the sidecar adds to a call, instead.")
    ] = False,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="For --call and --prove: whose completions to ask for.")
    ] = "",
    upstream: Annotated[str, typer.Option(metavar="NAME", help="For --prove: the one to measure.")] = "",
    rounds: Annotated[int, typer.Option(min=6, max=100_000, help="For --prove: requests to compare.")] = 200,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For --prove: a Sizewise key, if one is demanded."),
    ] = None,
    calls: Annotated[
        int, typer.Option(min=6, max=10_000, help="For --prove --model: completions to compare.")
    ] = 20,
) -> None:
    """Look at everything that Sizewise stands on here. Exit 1 if there is a problem."""
    from collector.doctor import examine, has_problem, render

    if prove:
        findings = _prove(config, key_file, upstream, model, rounds, calls)
    else:
        findings = examine(config, call=call, model=model)
    if json:
        echo_json(findings)
    else:
        terminal = sys.stdout.isatty()
        typer.echo(
            render(findings, style=_coloured, columns=_columns()) if terminal else render(findings), nl=False
        )
    if has_problem(findings):
        raise typer.Exit(1)


def _prove(
    config: Path | None, key_file: Path | None, upstream: str, model: str, rounds: int, calls: int
) -> "list[Finding]":
    from collector.doctor import prove
    from collector.doctor.running import find_ledger_share, find_relay, find_upstream

    relay, plan, settings = find_relay(config, key_file)
    try:
        return prove(
            find_upstream(plan, upstream),
            relay,
            ledger=find_ledger_share(settings),
            rounds=rounds,
            calls=calls,
            model=model,
            progress=_show_progress,
        )
    finally:
        _show_progress("")


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{text}", err=True, nl=False)


def _coloured(word: str, severity: str) -> str:
    return typer.style(word, fg=COLOURS[severity], bold=severity == "problem")


def _columns() -> int:
    import shutil

    return min(120, shutil.get_terminal_size().columns)
