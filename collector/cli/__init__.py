"""The command line: wires processes together and prints. Exit 0 done, 1 it could not, 2 wrong use.

Heavy modules are imported inside the commands, so that `--help` answers at once. This is the only room that
writes to the terminal; a SizewiseError becomes one clear text on stderr, without a traceback.
"""

import sys
from typing import Annotated

import typer

from collector.cli import capacity, config, data, doctor, forecast, invoice, journal, keys, prices, run
from collector.errors import SizewiseError

app = typer.Typer(
    name="sizewise",
    help="What every model call cost, for whom, and whether a smaller model would do.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from collector import __version__

        typer.echo(f"sizewise {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and exit.")
]


@app.callback()
def _root(version: Version = False) -> None:
    pass


run.register(app)
app.add_typer(config.app, name="config")
data.register(app)
forecast.register(app)
doctor.register(app)
capacity.register(app)
app.add_typer(journal.app, name="journal")
app.add_typer(prices.app, name="prices")
app.add_typer(invoice.app, name="invoice")
app.add_typer(keys.app, name="keys")


def main() -> None:
    try:
        app()
    except SizewiseError as problem:
        typer.echo(f"sizewise: {problem}", err=True)
        sys.exit(1)
    except OSError as problem:  # a full disk, a folder without rights: its text names the file
        typer.echo(f"sizewise: {problem}", err=True)
        sys.exit(1)
