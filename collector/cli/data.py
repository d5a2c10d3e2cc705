"""`sizewise migrate | report`, and how they come by a database.

It is the given one, the embedded one that runs, or an embedded one started for the length of the command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from collector.cli.options import ConfigFile

if TYPE_CHECKING:
    import psycopg

    from collector.config import Config


def register(app: typer.Typer) -> None:
    app.command()(migrate)
    app.command()(report)


def migrate(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Also align the ledger's sums to a changed reporting.timezone.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Bring the database to this version's schema. `sizewise up` does it by itself."""
    import psycopg

    from collector.config import load_config
    from collector.store.rebuild import rebuild_rollups
    from collector.store.schema import migrate as migrate_schema

    settings = load_config(config).config
    zone = settings.reporting.timezone
    with database(settings, make=True) as url:
        migrate_schema(url, zone=None if rebuild else zone)
        if rebuild:
            with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
                rebuild_rollups(connection, zone)
            typer.echo(f"The ledger's hours and days are aligned to {zone}.")
    typer.echo("The database has this version's schema.")


def report(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="In the reporting zone; else this one.")] = "",
    by: Annotated[
        str, typer.Option(help="Comma-separated: team, model, route, upstream, ...")
    ] = "team,model",
    format: Annotated[Literal["table", "csv", "json"], typer.Option()] = "table",
    config: ConfigFile = None,
) -> None:
    """What a month cost, by whatever it should be divided by."""
    from datetime import UTC, datetime

    from collector.config import load_config
    from collector.ledger.shelf import shelf_of
    from collector.spend import report as spend
    from collector.spend.actual import reporting_zone
    from collector.spend.bill import month_bill
    from collector.spend.period import month_of, month_period
    from collector.spend.render import render_csv, render_json, render_table

    settings = load_config(config).config
    render = {"table": render_table, "csv": render_csv, "json": render_json}[format]
    with connected(settings) as connection:
        zone, now = reporting_zone(connection), datetime.now(UTC)
        made = spend.report(
            connection,
            tenant=settings.tenant,
            period=month_period(month or month_of(now, zone), zone),
            dimensions=[name.strip() for name in by.split(",") if name.strip()],
            zone=zone,
        )
        contracts = None
        if format == "table":  # lines of contracts are none of the rows that a script reads: see /api/v1/bill
            asked = month or month_of(now, zone)
            book = shelf_of(settings).read()
            contracts = month_bill(connection, book, tenant=settings.tenant, month=asked, zone=zone, now=now)
    typer.echo(render(made), nl=False)
    if contracts is not None and contracts.lines:
        typer.echo("")
        for line in contracts.lines:
            left = f", {line.left_usd:f} left" if line.left_usd is not None else ""
            of = f"{line.used_usd:f} of {line.agreed_usd:f} used{left}"
            typer.echo(f"{line.kind} {line.name}: {line.line_usd:+f} dollars  ({of})")
        typer.echo(f"To be paid: {contracts.bill_usd:f} dollars{'' if contracts.over else ' so far'}")


@contextmanager
def connected(config: "Config") -> "Iterator[psycopg.Connection[Any]]":
    """A connection to the ledger that is there; what can go wrong on the way is said."""
    import psycopg

    from collector.errors import StoreError

    with database(config, make=False) as url:
        try:
            with psycopg.connect(url, connect_timeout=10) as connection:
                yield connection
        except psycopg.errors.UndefinedTable:
            raise StoreError(
                "The database has no schema yet, or an older one: run `sizewise migrate` or `sizewise up`."
            ) from None
        except psycopg.OperationalError as problem:
            raise StoreError(f"The database can't be reached: {' '.join(str(problem).split())}") from None


@contextmanager
def database(config: "Config", *, make: bool) -> Iterator[str]:
    """The URL of a database that answers. With `make`, an embedded one is made where there is none."""
    if config.database_url:
        yield config.database_url
        return
    from collector.errors import StoreError
    from collector.store.embedded import running_url, start_postgres
    from collector.store.embedded.places import find_home

    folder = config.database.data_dir
    url = running_url(folder)
    if url:
        yield url
        return
    if not make and not find_home(folder).cluster.exists():
        raise StoreError(f"There is no ledger in {folder} yet: `sizewise up` makes one.")
    server = start_postgres(folder)
    try:
        yield server.url
    finally:
        server.stop()
