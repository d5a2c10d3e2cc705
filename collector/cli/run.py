"""`sizewise up | relay | record | web | reload`: one supervisor for all kinds of process, or for one."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collector.cli.options import AsJson, ConfigFile, echo_json

if TYPE_CHECKING:
    from collector.config import Loaded
    from collector.supervise import Supervisor

RELOAD_WAIT_S = 20.0
SIMULATED_MODEL = "gpt-4o-mini"


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(relay)
    app.command()(record)
    app.command()(web)
    app.command()(reload)


def up(
    config: ConfigFile = None,
    upstream: Annotated[str, typer.Option(metavar="URL", help="One server to stand in front of.")] = "",
    simulate: Annotated[bool, typer.Option(help="Stand in front of simulated upstreams.")] = False,
) -> None:
    """Run everything on this machine: relay, record, pages, and a Postgres if none is given."""
    from collector.supervise import KINDS

    if upstream and simulate:
        raise typer.BadParameter("take either --upstream or --simulate")
    if simulate:
        port = free_port()
        _supervise(config, KINDS, simulated(port), simulator_port=port)
    else:
        _supervise(config, KINDS, in_front_of(upstream) if upstream else {})


def relay(config: ConfigFile = None) -> None:
    """Run only the relay: calls pass and are kept in the journal."""
    _supervise(config, frozenset({"relay"}), {})


def record(config: ConfigFile = None) -> None:
    """Run only record: journal to database."""
    _supervise(config, frozenset({"record"}), {})


def web(config: ConfigFile = None) -> None:
    """Run only the pages and the API."""
    _supervise(config, frozenset({"web"}), {})


def reload(config: ConfigFile = None, json: AsJson = False) -> None:
    """Have the running Sizewise read its configuration again. Refused as a whole if anything is wrong."""
    from collector.config import find_state_dir
    from collector.errors import SizewiseError
    from collector.supervise.reload import reload_running

    result = reload_running(find_state_dir(config), RELOAD_WAIT_S)
    if json:
        echo_json(result)
    elif result.ok:
        typer.echo(f"Reloaded: {result.text}.")
    if not result.ok:
        raise SizewiseError(f"Not reloaded, everything stays as it was. {result.text}")


def in_front_of(url: str) -> dict[str, Any]:
    from urllib.parse import urlsplit

    from collector.config.effective import guess_provider

    provider = guess_provider(urlsplit(url).hostname or "") if "//" in url else ""
    api = "anthropic" if provider == "anthropic" else "openai"
    name = provider or "upstream"
    return {"upstreams": {name: {"url": url, "api": api}}, "routes": [{"to": name}]}


def simulated(port: int) -> dict[str, Any]:
    """Providers are named so that list prices apply; each call is marked as simulated in the ledger."""
    url = f"http://127.0.0.1:{port}"
    openai = ("gpt-*", "chatgpt-*", "o[0-9]*", "text-embedding-*")
    routes = [
        {"path": "/v1/messages*", "to": "simulated-anthropic"},
        {"model": "claude-*", "to": "simulated-anthropic"},
        *({"model": model, "to": "simulated-openai"} for model in openai),
        {"to": "simulated-vllm"},
    ]
    return {
        "upstreams": {
            "simulated-openai": {"url": url, "api": "openai", "provider": "openai"},
            "simulated-anthropic": {"url": url, "api": "anthropic", "provider": "anthropic"},
            "simulated-vllm": {"url": url, "api": "openai", "metrics": "/metrics"},
        },
        "routes": [{**route, "environment": "simulated"} for route in routes],
    }


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _supervise(
    config: Path | None, kinds: frozenset[str], overrides: dict[str, Any], simulator_port: int = 0
) -> None:
    import asyncio

    from collector.config import load_config
    from collector.supervise import Supervisor

    def load() -> "Loaded":
        return load_config(config, overrides=overrides)

    _log_to_stderr()
    supervisor = Supervisor(load, kinds, simulator_port=simulator_port)
    for warning in supervisor.loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    asyncio.run(_run(supervisor, SIMULATED_MODEL if simulator_port else ""))


async def _run(supervisor: "Supervisor", model: str) -> None:
    import asyncio

    running = asyncio.create_task(supervisor.run())
    started = asyncio.create_task(supervisor.started.wait())
    await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
    if started.done() and not running.done():
        shown = asyncio.create_task(_show(supervisor, model))
        await running
        shown.cancel()
    started.cancel()
    await running


async def _show(supervisor: "Supervisor", model: str) -> None:
    from collector import __version__
    from collector.supervise import render_screen
    from collector.supervise.database import WorkThread
    from collector.supervise.models import find_model

    find: Callable[[], str] = (lambda: model) if model else (lambda: find_model(supervisor.config))
    status = supervisor.status()
    text = render_screen(
        supervisor.config,
        status.addresses,
        status.database,
        workers=sum(process.kind == "relay" for process in status.processes),
        config_file=status.config_file,
        model=await WorkThread("model").submit(find) if "relay" in status.addresses else "",
        version=__version__,
    )
    bold = sys.stdout.isatty()
    first, rest = text.split("\n", 1)
    typer.echo(f"\n{typer.style(first, bold=True) if bold else first}\n{rest}")


def _log_to_stderr() -> None:
    """Short lines for a person who watches; else JSON lines, as the other processes write them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    if not sys.stderr.isatty():
        handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    for name in ("sizewise", "collector"):
        logging.getLogger(name).setLevel(logging.INFO)


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json
        from datetime import UTC, datetime

        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "at": at,
            "level": record.levelname.lower(),
            "process": "supervisor",
            "text": record.getMessage(),
        }
        return json.dumps(line, ensure_ascii=False)
