"""`sizewise invoice import | pull | coverage`: what providers ask for, and what of it the ledger explains."""

import getpass
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from collector.cli.data import connected
from collector.cli.options import AsJson, ConfigFile, echo_json

if TYPE_CHECKING:
    from collector.config import Config
    from collector.spend.invoice_lines import Invoice

app = typer.Typer(help="Invoices: hold the ledger against them.", no_args_is_help=True)
MOST_BYTES = 1024**3


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Read OpenAI's or Anthropic's costs, a FOCUS file, or an AWS, Azure or Google Cloud cost export."""
    from collector.config import load_config
    from collector.errors import SizewiseError
    from collector.spend.invoice_lines import read_invoice

    settings = load_config(config).config
    if file.stat().st_size > MOST_BYTES:
        raise SizewiseError(f"{file} is larger than {MOST_BYTES // 2**20} MiB: export fewer days at once.")
    content = file.read_bytes()
    invoice = read_invoice(content, file.name)
    keep(settings, invoice, content, file.name, json=json)


@app.command()
def pull(
    provider: Annotated[Literal["openai", "anthropic"], typer.Argument()],
    start: Annotated[str, typer.Option("--from", metavar="DATE", help="UTC; else a week ago.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="DATE", help="Not included; else today.")] = "",
    url: Annotated[str, typer.Option(help="Of another address that speaks the same API.")] = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Fetch costs by the provider's cost API, with OPENAI_ADMIN_KEY or ANTHROPIC_ADMIN_KEY."""
    from collector.config import load_config
    from collector.errors import SizewiseError
    from collector.spend.invoice_lines import read_invoice
    from collector.spend.pulling import COST_APIS, pull_costs

    today, api = datetime.now(UTC).date(), COST_APIS[provider]
    first, last = read_day(start, today - timedelta(days=7)), read_day(end, today)
    if first >= last:
        raise typer.BadParameter(f"--from {first} is not before --to {last} (which is not included)")
    key = os.environ.get(api.key_variable, "").strip()
    if not key:
        raise SizewiseError(f"{api.key_variable} is not set: {provider}'s cost API wants an admin key.")
    settings = load_config(config).config
    content = pull_costs(api, key, first, last, url=url)
    name = f"{provider} {first} to {last}"
    keep(settings, read_invoice(content, name), content, name, json=json)


def read_day(text: str, otherwise: date) -> date:
    try:
        return date.fromisoformat(text) if text else otherwise
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day: YYYY-MM-DD") from None


def keep(settings: "Config", invoice: "Invoice", content: bytes, name: str, *, json: bool) -> None:
    from collector.spend.invoices import add_invoice

    with connected(settings) as connection:
        who = getpass.getuser()
        added = add_invoice(connection, invoice, content, tenant=settings.tenant, file_name=name, who=who)
    total = f"{sum(line.cost_usd for line in invoice.lines):f}"
    if json:
        told = {
            "form": invoice.form,
            "lines": len(invoice.lines),
            "skipped": invoice.skipped,
            "total_usd": total,
        }
        echo_json(told | {"added": added, "tried_on_a_real_export": invoice.tried})
        return
    typer.echo(f"{invoice.form}: {len(invoice.lines):,} lines, {total} dollars.")
    if invoice.skipped:
        typer.echo(f"{invoice.skipped:,} rows of the bill are no model's and were left out.")
    if not added:
        typer.echo("The ledger has this very file already: nothing was added.")
    if not invoice.tried:
        typer.echo(
            "Read by the published columns; this form was not yet tried on a real export: check the total."
        )


@app.command()
def coverage(
    month: Annotated[
        str, typer.Option(metavar="YYYY-MM", help="In UTC, as providers bill; else this one.")
    ] = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """How much of a month's invoices the ledger explains, and why not the rest."""
    from collector.config import load_config
    from collector.spend.invoices import coverage_values, find_coverage
    from collector.spend.period import read_month, shift_month

    settings = load_config(config).config
    asked = month or f"{datetime.now(UTC):%Y-%m}"
    first, last = (date(*read_month(text), 1) for text in (asked, shift_month(asked, 1)))
    with connected(settings) as connection:
        found = find_coverage(connection, tenant=settings.tenant, first=first, last=last)
    if json:
        echo_json({"month": asked, **coverage_values(found)})
        return
    if found.share is None:
        typer.echo(f"No invoice speaks of {asked}: `sizewise invoice import FILE` brings one.")
        return
    of = f"{found.ledger_usd:f} of {found.invoice_usd:f} dollars ({100 * found.share:f} %)"
    typer.echo(f"{asked}: the ledger has {of}.")
    for cause, usd in found.causes.items():
        typer.echo(f"    {cause}: {usd:+f} dollars")
