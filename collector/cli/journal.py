"""`sizewise journal status | verify`: what lies on this host's disk, and whether it is whole."""

import uuid
from typing import TYPE_CHECKING, Any

import typer

from collector.cli.options import AsJson, ConfigFile, echo_json

if TYPE_CHECKING:
    from collector.config import Config

app = typer.Typer(help="Look at the journals of this host.", no_args_is_help=True)


@app.command()
def status(config: ConfigFile = None, json: AsJson = False) -> None:
    """How much there is, and how much of it the database doesn't have yet."""
    from collector.config import load_config
    from collector.journal.audit import status as read_status

    settings = load_config(config).config
    known = _positions(settings)
    found = read_status(settings.journal.dir, known or {})
    if json:
        echo_json({"database_reached": known is not None, "journals": found})
        return
    if not found:
        typer.echo(f"No journal in {settings.journal.dir} yet.")
    for one in found:
        writer = "being written" if one.locked else "not being written"
        lag = (
            f"{one.lag_bytes:,} bytes not in the database yet"
            if known is not None
            else "database not reached"
        )
        typer.echo(f"{one.path}: {one.segments} segments, {one.bytes:,} bytes, {writer}, {lag}")


@app.command()
def verify(config: ConfigFile = None, json: AsJson = False) -> None:
    """Read every frame. Exit 1 if one is bad."""
    from collector.config import load_config
    from collector.journal.audit import verify as read_all

    settings = load_config(config).config
    found = read_all(settings.journal.dir)
    if json:
        echo_json({"journals": found})
    elif not found:
        typer.echo(f"No journal in {settings.journal.dir} yet.")
    else:
        for one in found:
            torn = f", {one.torn_tail_bytes} bytes of an unfinished frame" if one.torn_tail_bytes else ""
            typer.echo(
                f"{one.path}: {one.frames:,} frames in {one.segments} segments, {one.bad_frames} bad{torn}"
            )
            for bad in one.bad:
                typer.echo(f"  bad: segment {bad.segment} at byte {bad.offset}: {bad.reason}")
    if any(one.bad_frames for one in found):
        raise typer.Exit(1)


def _positions(config: "Config") -> dict[uuid.UUID, Any] | None:
    """How far the database has each journal; None when it can't be asked (it is not started for that)."""
    import psycopg

    from collector.errors import StoreError
    from collector.journal.segment import Position
    from collector.store.embedded import running_url

    try:
        url = config.database_url or running_url(config.database.data_dir)
        if not url:
            return None
        with psycopg.connect(url, connect_timeout=3) as connection:
            rows = connection.execute("SELECT source_id, segment, byte_offset FROM cursors").fetchall()
    except (psycopg.Error, StoreError):
        return None
    return {source_id: Position(segment, offset) for source_id, segment, offset in rows}
