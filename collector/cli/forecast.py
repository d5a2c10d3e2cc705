"""`sizewise forecast`: where this month will end."""

from typing import Annotated, Literal

import typer

from collector.cli.options import AsJson, ConfigFile, echo_json


def register(app: typer.Typer) -> None:
    app.command()(forecast)


def forecast(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="This one, which is the default.")] = "",
    by: Annotated[Literal["", "team"], typer.Option(help="team: each of them too.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Where the month will end, and how sure that is."""
    from datetime import UTC, datetime

    from collector.cli.data import connected
    from collector.config import load_config
    from collector.errors import SizewiseError
    from collector.spend import outlook
    from collector.spend.actual import reporting_zone
    from collector.spend.outlook_text import forecast_values, render_forecast
    from collector.spend.period import month_of, month_period

    settings = load_config(config).config
    with connected(settings) as connection:
        zone, now = reporting_zone(connection), datetime.now(UTC)
        asked = month_period(month or month_of(now, zone), zone)
        if asked.name != month_of(now, zone):
            over = asked.end <= now
            raise SizewiseError(
                f"{asked.name} is {'over' if over else 'not begun'}: only the month that is under way "
                f"({month_of(now, zone)}) is foreseen"
                + (f"; `sizewise report --month {asked.name}` says what it cost." if over else ".")
            )
        made = outlook.forecast(connection, tenant=settings.tenant, now=now, zone=zone, by_team=by == "team")
    if as_json:
        echo_json(forecast_values(made))
    else:
        typer.echo(render_forecast(made), nl=False)
