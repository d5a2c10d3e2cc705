"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="sizewise.yaml; else SIZEWISE_CONFIG, ./, /etc/sizewise/."),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def echo_json(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
