"""The one screen that `up` shows: what runs where, and what to try next. Values in, text out."""

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from collector.config import Config, Route
from collector.config.effective import demands_keys
from collector.config.refuse import is_loopback
from collector.supervise.sockets import reachable_address
from collector.supervise.status import DatabaseStatus


def render_screen(
    config: Config,
    addresses: Mapping[str, str],
    database: DatabaseStatus,
    *,
    workers: int,
    config_file: str,
    model: str,
    version: str,
) -> str:
    rows: list[tuple[str, str]] = []
    if "relay" in addresses:
        count = "1 worker" if workers == 1 else f"{workers} workers"
        rows.append(("relay", f"http://{addresses['relay']}  ({count})"))
    if "web" in addresses:
        rows.append(("page", f"http://{addresses['web']}"))
    if database.kind != "none":
        rows.append(("database", _database(config, database)))
    rows.append(("journal", str(config.journal.dir)))
    rows.append(("config", config_file or "defaults (no sizewise.yaml here, which is fine)"))
    blocks = [f"Sizewise {version}", _table(rows)]
    if "relay" in addresses:
        upstreams = [(name, upstream.url) for name, upstream in config.upstreams.items()]
        blocks.append("Upstreams\n" + _table(upstreams))
        blocks.append("Routes, first match wins\n" + _table([_route(route) for route in config.routes]))
        blocks.append(_try_next(config, addresses, model))
    return "\n\n".join(blocks) + "\n"


def _database(config: Config, database: DatabaseStatus) -> str:
    where = {
        "embedded": f"embedded Postgres in {config.database.data_dir}",
        "shared": "the embedded Postgres of the supervisor that runs here already",
        "external": "as `database.url` says",
    }[database.kind]
    if database.state == "ready":
        return where
    problem = database.problem or database.state
    return f"{where}: NOT READY ({problem}). Calls go on and wait in the journal."


def _route(route: Route) -> tuple[str, str]:
    patterns = [f"{what} {value}" for what, value in (("model", route.model), ("path", route.path)) if value]
    return " and ".join(patterns) or "everything else", f"-> {route.to}"


def _try_next(config: Config, addresses: Mapping[str, str], model: str) -> str:
    base = f"http://{reachable_address(addresses['relay'])}"
    lines = ["Try", *(f"  {line}" for line in _curl(config, base, model))]
    lines += ["", "Then change one line in your programs", f'  OpenAI(base_url="{base}/v1")']
    lines.append(f'  Anthropic(base_url="{base}")')
    if "web" in addresses:
        page = f"http://{reachable_address(addresses['web'])}"
        lines += ["", f"and see what it cost: {page}", "or `sizewise report`. Ctrl-C stops everything."]
    return "\n".join(lines)


def _curl(config: Config, base: str, model: str) -> list[str]:
    """For the upstream that takes everything else; with a key from the shell where it needs one.

    (Not in a variable of our own name: those are settings, and an unknown one is refused.)
    """
    name = next((route.to for route in reversed(config.routes)), "")
    upstream = config.upstreams.get(name)
    host = urlsplit(upstream.url).netloc if upstream else ""
    own_key = upstream is not None and not is_loopback(host if ":" in host else f"{host}:80")
    if upstream and (upstream.key.get_secret_value() or upstream.headers):
        own_key = False
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "Say hello."}]}
    if upstream and upstream.api == "anthropic":
        body["max_tokens"] = 64
        headers = ["-H 'anthropic-version: 2023-06-01'"]
        path, key = "/v1/messages", '-H "x-api-key: $ANTHROPIC_API_KEY"'
    else:
        headers = []
        path, key = "/v1/chat/completions", '-H "authorization: Bearer $OPENAI_API_KEY"'
    first = []
    if demands_keys(config):
        own_key, key = True, '-H "authorization: Bearer $KEY"'
        first = ["KEY=$(sizewise keys create --team YOURS)"]
    headers = ["-H 'content-type: application/json'", *headers, *([key] if own_key else [])]
    return [*first, f"curl {base}{path} {' '.join(headers)} \\", f"  -d '{json.dumps(body)}'"]


def _table(rows: list[tuple[str, str]]) -> str:
    width = max((len(left) for left, _ in rows), default=0)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows)
