"""Sources in, one checked Config out, or one ConfigError with every problem in it.

Precedence: command line, then variables, then the file, then defaults. Each rule that spans sections (a route
names an upstream, upstream keys keep the relay on loopback) is checked on the raw values, so that it is
reported together with whatever else is wrong.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.config.certificates import check_certificates
from collector.config.environment import read_environment, variable_form
from collector.config.model import Config, with_default_paths
from collector.config.refuse import check_across, render, validate
from collector.config.sources import Key, Origin, Source, find_origin, read_yaml
from collector.errors import ConfigError

PLACES = (Path("sizewise.yaml"), Path("/etc/sizewise/sizewise.yaml"))
DEFAULT_UPSTREAMS: dict[str, Any] = {
    "openai": {"url": "https://api.openai.com", "api": "openai"},
    "anthropic": {"url": "https://api.anthropic.com", "api": "anthropic"},
}


@dataclass(frozen=True)
class Loaded:
    config: Config
    file: Path | None
    origins: Mapping[Key, Origin]
    warnings: list[str] = field(default_factory=list)

    def origin(self, key: Key) -> Origin:
        return find_origin(self.origins, key)


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """`overrides` come from the command line and replace whole top-level sections."""
    environ = os.environ if environ is None else environ
    path = find_file(path, environ)
    file = read_yaml(path, environ) if path else Source()
    raw, origins = file.values, file.origins
    if not raw.get("upstreams"):
        raw = {**raw, "upstreams": DEFAULT_UPSTREAMS}
    known = raw["upstreams"] if isinstance(raw["upstreams"], dict) else {}
    variables = read_environment(environ, {variable_form(str(name)): str(name) for name in known})
    raw = _merge(raw, variables.values)
    origins = {**origins, **variables.origins}
    for name, value in (overrides or {}).items():
        raw[name] = value
        origins = {key: origin for key, origin in origins.items() if key[:1] != (name,)}
        origins[(name,)] = Origin(text="command line")
    if not raw.get("routes"):
        raw["routes"] = _default_routes(raw["upstreams"])
    problems = file.problems + variables.problems
    config, refused = validate(raw, origins)
    problems += refused + check_across(raw, origins)
    problems += check_certificates(config, origins) if config is not None else []
    if problems or config is None:
        raise ConfigError(render(problems))
    return Loaded(config, path, origins, file.warnings + variables.warnings)


def find_state_dir(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """Where what runs here keeps its state, even if the rest of the configuration is wrong."""
    environ = os.environ if environ is None else environ
    path = find_file(path, environ)
    file = read_yaml(path, environ) if path else Source()
    given = read_environment(environ).values.get("state_dir") or file.values.get("state_dir")
    return Path(with_default_paths({"state_dir": given} if isinstance(given, str) else {})["state_dir"])


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """A file that was named must be there; of the usual places the first that exists is taken, if any."""
    if path is None and environ.get("SIZEWISE_CONFIG"):
        path = Path(environ["SIZEWISE_CONFIG"])
        if not path.is_file():
            raise ConfigError(f"SIZEWISE_CONFIG names {path}, which is no file.")
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"--config names {path}, which is no file.")
        return path
    return next((place for place in PLACES if place.is_file()), None)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


def _default_routes(upstreams: Any) -> list[dict[str, str]]:
    """Anthropic's own path to the first upstream of that API, everything else to the first of the others."""
    if not isinstance(upstreams, dict):
        return []
    table = {str(name): value for name, value in upstreams.items() if isinstance(value, dict)}
    anthropic = [name for name, value in table.items() if value.get("api") == "anthropic"]
    others = [name for name in table if name not in anthropic]
    routes = [{"path": "/v1/messages*", "to": anthropic[0]}] if anthropic and others else []
    return [*routes, {"to": (others or anthropic)[0]}] if table else []
