"""`sizewise config check | show`."""

import typer

from collector.cli.options import AsJson, ConfigFile, echo_json

app = typer.Typer(
    help="Check the configuration, or show it with the origin of every value.", no_args_is_help=True
)


@app.command()
def check(config: ConfigFile = None) -> None:
    """Check file, variables and price books; list every problem there is."""
    from collector.config import load_config
    from collector.ledger.shelf import shelf_of

    loaded = load_config(config)
    shelf_of(loaded.config).read()
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    where = f"{loaded.file}" if loaded.file else "no file, defaults"
    count = f"{len(loaded.config.upstreams)} upstreams, {len(loaded.config.routes)} routes"
    typer.echo(f"The configuration is right ({where}; {count}).")


@app.command()
def show(config: ConfigFile = None, json: AsJson = False) -> None:
    """Show the effective configuration: each value, secrets masked, and where it comes from."""
    from collector.config import list_settings, load_config, render_settings

    loaded = load_config(config)
    if json:
        echo_json({key: {"value": value, "from": origin} for key, value, origin in list_settings(loaded)})
    else:
        typer.echo(render_settings(loaded))
