"""`sizewise prices list | show | import | diff`: what calls cost, by which list, and new prices by file."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collector.cli.data import connected
from collector.cli.options import AsJson, ConfigFile, echo_json
from collector.cli.reprice import reprice

if TYPE_CHECKING:
    from collector.config import Config
    from collector.ledger.book import Entry
    from collector.ledger.compare import Change

app = typer.Typer(help="Prices: look them up, and bring your own.", no_args_is_help=True)
app.command()(reprice)
BookFile = Annotated[Path, typer.Argument(metavar="FILE", help="A price book: *.yaml, *.yml or *.csv.")]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text) if text else datetime.now(UTC).date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day: YYYY-MM-DD") from None


@app.command(name="list")
def list_(
    unpriced: Annotated[
        bool, typer.Option("--unpriced", help="Instead: called models without a price.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, max=4000, help="How far back --unpriced looks.")] = 30,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """The entries of your own books, in the order in which they are asked; behind them the public list."""
    from collector.config import load_config

    settings = load_config(config).config
    if unpriced:
        _list_unpriced(settings, days, json)
        return
    from collector.ledger.compare import list_models
    from collector.ledger.pricelist import ORIGIN
    from collector.ledger.shelf import shelf_of

    shelf = shelf_of(settings)
    book = shelf.read()
    if json:
        echo_json(
            {
                "books": [str(path) for path in shelf.paths()],
                "entries": [_entry_values(entry) for entry in book.entries],
                "discounts": [_terms(one) for one in book.discounts],
                "commitments": [_terms(one) for one in book.commitments],
                "credits": [_terms(one) for one in book.credits],
                "chargeback": [_terms(one) for one in book.markups],
                "aliases": settings.prices.aliases,
                "public_list": {"name": ORIGIN, "models": len(list_models())},
            }
        )
        return
    for entry in book.entries:
        values = _entry_values(entry)
        rates = "free" if entry.free else ", ".join(f"{unit} {usd}" for unit, usd in values["rates"].items())
        given = [(name, values[name]) for name in ("from", "to", "team", "region")]
        limits = [f"{name} {value}" for name, value in given if value not in {"", "*"}]
        tier = [f"{entry.service_tier} tier"] if entry.service_tier else []
        shown = f"{entry.provider or '(own server)'} / {entry.model}: {rates} {entry.currency.name}"
        typer.echo(f"{shown}  {' '.join([*limits, *tier, f'({entry.place})'])}")
    for name in ("discounts", "commitments", "credits", "markups"):
        if getattr(book, name):
            typer.echo(f"{len(getattr(book, name))} {name}")
    for alias, model in settings.prices.aliases.items():
        typer.echo(f"{alias} is {model}")
    typer.echo(f"then {ORIGIN}: {len(list_models())} models of public lists.")


def _entry_values(entry: "Entry") -> dict[str, Any]:
    from collector.ledger.rates import rate_above, tiers_of

    tiers = {tier.start for value in entry.prices.values() for tier in tiers_of(value)}
    return {
        "provider": entry.provider,
        "model": entry.model,
        "from": str(entry.span.start or ""),
        "to": str(entry.span.end or ""),
        "service_tier": entry.service_tier,
        "region": entry.region,
        "team": entry.team,
        "currency": entry.currency.name,
        "rates": {unit: f"{rate_above(value, 0):f}" for unit, value in entry.prices.items()},
        "tiers": sorted(tiers),
        "free": entry.free,
        "net": entry.net,
        "at": str(entry.place),
    }


def _terms(one: Any) -> dict[str, Any]:
    values = one._asdict()
    span = values.pop("span")
    shown = {name: value for name, value in values.items() if name not in {"place", "currency"}}
    shown = {name: value if isinstance(value, str) else f"{value:f}" for name, value in shown.items()}
    currency = {"currency": one.currency.name} if "currency" in values else {}
    return shown | currency | {"from": str(span.start or ""), "to": str(span.end or ""), "at": str(one.place)}


def _list_unpriced(settings: "Config", days: int, json: bool) -> None:
    from collector.spend.unpriced import unpriced_models, unpriced_values

    now = datetime.now(UTC)
    start, end = now - timedelta(days=days), now + timedelta(days=2)
    with connected(settings) as connection:
        found = unpriced_models(connection, tenant=settings.tenant, start=start, end=end)
    if json:
        echo_json([unpriced_values(one) for one in found])
    elif not found:
        typer.echo(f"Every call of the last {days} days that had usage has a price.")
    for one in () if json else found:
        name = f"{one.provider or '(own server)'} / {one.model or '(no name)'}"
        typer.echo(f"{name}: {one.unpriced:,} calls without a price")
        typer.echo(f"    {one.remedy}")


@app.command()
def show(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    on: Annotated[str, typer.Option(metavar="DATE", help="YYYY-MM-DD, UTC; else today.")] = "",
    provider: Annotated[str | None, typer.Option(help='Whose; "" is a server of your own; else all.')] = None,
    tier: Annotated[str, typer.Option(help="The service tier that was served.")] = "",
    team: Annotated[str, typer.Option()] = "",
    region: Annotated[str, typer.Option(help="The upstream's zone.")] = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """What a model costs on a day, and which list says so. Exit 1 where none does."""
    from collector.config import load_config
    from collector.errors import SizewiseError
    from collector.ledger.book import Wanted
    from collector.ledger.compare import show_model
    from collector.ledger.shelf import price_list

    day = _day(on)
    wanted = Wanted(provider or "", (model,), tier, team, region)
    prices = price_list(load_config(config).config)
    lines = show_model(prices, wanted, day, any_provider=provider is None)
    if not lines:
        whose = "no provider" if provider is None else f"provider {provider!r}"
        in_tier = f" in tier {tier}" if tier else ""
        raise SizewiseError(
            f"{model} has no price on {day} ({whose} lists it{in_tier}): its calls are "
            "counted as unpriced. A price book gives it one: `sizewise prices import FILE`."
        )
    if json:
        echo_json([{**line._asdict(), "usd": f"{line.usd:f}"} for line in lines])
        return
    heading = None
    for line in lines:
        if heading != (line.provider, line.origin):
            heading = (line.provider, line.origin)
            typer.echo(f"{line.provider or '(own server)'} / {line.model} on {day}  ({line.origin})")
        typer.echo(f"    {line.unit:24} {'free' if line.free else f'{line.usd:f} dollars per {line.per}'}")


@app.command(name="import")
def import_(file: BookFile, config: ConfigFile = None, json: AsJson = False) -> None:
    """Check a price book and put it in force: record prices new calls by it within seconds."""
    from collector.config import load_config
    from collector.ledger.shelf import shelf_of

    shelf = shelf_of(load_config(config).config)
    target = shelf.import_book(file)
    entries = len(shelf.read().entries)
    if json:
        echo_json({"imported": str(target), "entries": entries})
        return
    typer.echo(f"{target} is in force for calls from now on. Delete it to take it back.")
    typer.echo("Calls already in the ledger keep their price; `sizewise prices reprice` changes that.")


@app.command()
def diff(file: BookFile, config: ConfigFile = None, json: AsJson = False) -> None:
    """What would change if FILE were imported: each rate of each model that it speaks of."""
    from collector.config import load_config
    from collector.ledger.book import merge
    from collector.ledger.book_file import read_book
    from collector.ledger.compare import compare
    from collector.ledger.prices import PriceList
    from collector.ledger.shelf import shelf_of

    settings = load_config(config).config
    shelf, book = shelf_of(settings), read_book(file)
    paths: Sequence[Path] = sorted({*shelf.paths()[len(shelf.books) :], shelf.folder / file.name})
    books = [read_book(path) for path in shelf.books]
    books += [book if path.name == file.name else read_book(path) for path in paths]
    aliases = settings.prices.aliases
    new = PriceList(merge(books), aliases)
    changes = compare(PriceList(shelf.read(), aliases), new, book, datetime.now(UTC).date())
    if json:
        echo_json([_change_values(one) for one in changes])
        return
    for one in changes:
        old, fresh = (f"{usd:f}" if usd is not None else "no price" for usd in (one.old_usd, one.new_usd))
        above = f" above {one.above_input_tokens:,} input tokens" if one.above_input_tokens else ""
        percent = f" ({one.percent:+f} %)" if one.percent is not None else ""
        name = f"{one.provider or '(own server)'} / {one.model}"
        typer.echo(f"{name}  {one.unit}{above}: {old} -> {fresh}{percent}")
    typer.echo(f"{len(changes)} rates would change." if changes else "No rate would change.")


def _change_values(one: "Change") -> dict[str, Any]:
    values = {**one._asdict(), "percent": one.percent}
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in values.items()}
