"""`sizewise prices reprice`: calls of the past at the prices of today, shown first, and never in silence."""

import getpass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from collector.cli.data import connected
from collector.cli.options import AsJson, ConfigFile, echo_json

if TYPE_CHECKING:
    from collector.ledger.reprice import Repricing


def reprice(
    start: Annotated[str, typer.Option("--from", metavar="DATE", help="In the reporting zone.")],
    end: Annotated[str, typer.Option("--to", metavar="DATE", help="The first day not included.")],
    model: Annotated[str, typer.Option(help="As asked for or as served; else all.")] = "",
    why: Annotated[str, typer.Option(help="For the audit. Required unless --dry-run.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Price calls of the past anew, by the books and lists as they are now."""
    if not dry_run and not why.strip():
        raise typer.BadParameter('say why, for the audit: --why "..." (or look first with --dry-run)')
    from collector.config import load_config
    from collector.ledger.reprice import reprice as reprice_calls
    from collector.ledger.shelf import price_list
    from collector.spend.actual import reporting_zone
    from collector.spend.period import span_period

    settings = load_config(config).config
    prices = price_list(settings)
    with connected(settings) as connection:
        period = span_period(start, end, reporting_zone(connection))
        found = reprice_calls(
            connection,
            prices,
            tenant=settings.tenant,
            start=period.start,
            end=period.end,
            model=model,
            who=getpass.getuser(),
            why=why.strip(),
            dry_run=dry_run,
        )
    if json:
        echo_json(values_of(found, period.start, period.end, dry_run=dry_run))
        return
    for one in found.models:
        new = f", {one.newly_priced:,} of them had no price" if one.newly_priced else ""
        name = f"{one.provider or '(own server)'} / {one.model}"
        typer.echo(f"{name}: {one.before_usd:f} -> {one.after_usd:f} dollars, {one.calls:,} calls{new}")
    difference = found.after_usd - found.before_usd
    verb = "would change" if dry_run else "changed"
    typer.echo(f"{found.changed:,} of {found.calls:,} calls {verb}, by {difference:+f} dollars.")
    if found.without_price:
        typer.echo(f"{found.without_price:,} calls have no price today and keep what they have.")
    if found.audit_id:
        typer.echo(f"Audit: {found.audit_id}")


def values_of(found: "Repricing", start: datetime, end: datetime, *, dry_run: bool) -> dict[str, object]:
    import msgspec

    values: dict[str, object] = msgspec.to_builtins(found)
    return {"from": start.isoformat(), "to": end.isoformat(), "dry_run": dry_run, **values}
