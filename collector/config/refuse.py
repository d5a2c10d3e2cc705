"""What is wrong with the raw values, each problem with key, value, what is allowed and where.

A rule that spans sections is checked on the raw values too, so that it is reported together with whatever
else is wrong. No secret is ever shown.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from collector.config.model import MASK, Config
from collector.config.sources import Key, Origin, Problem, did_you_mean, dotted, find_origin

KEY_HEADERS = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}
MONTH_DAYS = 32
_BOOL = TypeAdapter(bool)
_DAYS = re.compile(r"[0-9]{1,6}", re.ASCII)

WANTED = {
    "model_type": "a mapping of settings (KEY: VALUE)",
    "dict_type": "a mapping (NAME: ...)",
    "list_type": "a list (- ...)",
    "string_type": "a text (in quotes, if it looks like a number)",
    "path_type": "a path",
}


def validate(raw: dict[str, Any], origins: Mapping[Key, Origin]) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(raw), []
    except ValidationError as refusal:
        problems = []
        for error in refusal.errors(include_url=False):
            key = _model_key(error["loc"])
            problem = _problem(error["type"], error["msg"], key, raw, origins)
            if problem not in problems:
                problems.append(problem)
        return None, problems


def _problem(kind: str, message: str, key: Key, raw: Any, origins: Mapping[Key, Origin]) -> Problem:
    origin = find_origin(origins, key)
    value = _value_at(raw, key)
    if kind == "extra_forbidden":
        fields = _fields_at(key[:-1])
        hint = did_you_mean(str(key[-1]), fields)
        allowed = f"allowed here: {', '.join(fields)}"
        return Problem(dotted(key), "", f"no such key; {hint + ' ' if hint else ''}{allowed}", origin)
    if kind == "missing":
        return Problem(dotted(key), "", "is required", origin)
    if kind in WANTED:
        shown = _shown(key, value) if kind in {"string_type", "path_type"} else ""  # a table may hold secrets
        return Problem(dotted(key), shown, f"allowed is {WANTED[kind]}", origin)
    what = message.removeprefix("Value error, ").removeprefix("Input ")
    if key == ("reporting", "timezone"):
        what += "; " + did_you_mean(str(value), available_timezones()) if value else ""
    return Problem(dotted(key), _shown(key, value), what.rstrip("; "), origin)


def _model_key(loc: tuple[str | int, ...]) -> Key:
    """Without what pydantic adds for the branches of a union (int, literal['auto'], ...)."""
    key: list[str | int] = []
    model: Any = Config
    for part in loc:
        if model is None:
            break
        key.append(part)
        model = _step(model, part)
    return tuple(key)


def _step(model: Any, part: str | int) -> Any:
    """What stands below `part`: a section, a table or list of sections (as a tuple of one), or None."""
    if isinstance(model, tuple):
        return model[0]
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    info = model.model_fields.get(str(part))
    if info is None:
        return None
    for candidate in (info.annotation, *getattr(info.annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            table = getattr(info.annotation, "__origin__", None) in {dict, list}
            return (candidate,) if table else candidate
    return (None,) if getattr(info.annotation, "__origin__", None) in {dict, list} else None


def _fields_at(key: Key) -> list[str]:
    model: Any = Config
    for part in key:
        model = _step(model, part)
    names = list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    return [*names, "key_file"] if key[:1] == ("upstreams",) and "key" in names else names


def _value_at(raw: Any, key: Key) -> Any:
    for part in key:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _shown(key: Key, value: Any) -> str:
    """Never a secret, nor a table that may hold one; a URL with a password in it hides that.

    (The key that a cap names is hidden as well: somebody will write the key itself there.)
    """
    secret = key[-1:] in {("key",), ("hash_secret",)} or "headers" in key or key == ("database", "url")
    secret = secret and key != ("relay", "tls", "key")  # a path
    if secret:
        return MASK
    if value is None or isinstance(value, dict | list | SecretStr):
        return ""
    text = hide_password(repr(str(value)) if isinstance(value, str | Path) else repr(value))
    return text if len(text) <= 120 else text[:117] + "..."


def hide_password(text: str) -> str:
    return re.sub(r"(://)[^/?#\s]*@", rf"\1{MASK}@", text)


def check_across(raw: dict[str, Any], origins: Mapping[Key, Origin]) -> list[Problem]:
    upstreams = raw.get("upstreams")
    names = [str(name) for name in upstreams] if isinstance(upstreams, dict) else []
    problems = []
    routes = raw.get("routes")
    for i, route in enumerate(routes if isinstance(routes, list) else []):
        to = route.get("to") if isinstance(route, dict) else None
        if isinstance(to, str) and to not in names:
            hint = did_you_mean(to, names)
            what = f"no upstream has this name; {hint + ' ' if hint else ''}allowed: {', '.join(names)}"
            key = ("routes", i, "to")
            problems.append(Problem(dotted(key), repr(to), what, find_origin(origins, key)))
    return problems + _check_exposure(raw, names, origins) + _check_retention(raw, origins)


def _check_exposure(raw: dict[str, Any], names: list[str], origins: Mapping[Key, Origin]) -> list[Problem]:
    """Whoever reaches a relay that holds upstream keys spends with them, unless it demands its own."""
    relay = raw.get("relay")
    relay = relay if isinstance(relay, dict) else {}
    listen, required = relay.get("listen", ""), relay.get("require_keys")
    if required is None or not _is_false(required):
        return []
    holding = [name for name in names if _holds_key(raw["upstreams"][name])]
    if not isinstance(listen, str) or not listen or is_loopback(listen) or not holding:
        return []
    what = (
        f"the relay holds a key for {', '.join(holding)}, and whoever reaches this address spends with it. "
        "Leave relay.require_keys true (`sizewise keys create` makes the keys), listen on 127.0.0.1, or take "
        "the key away and let every client send its own."
    )
    key = ("relay", "require_keys")
    return [Problem(dotted(key), repr(required), f"{listen}: {what}", find_origin(origins, key))]


def _check_retention(raw: dict[str, Any], origins: Mapping[Key, Origin]) -> list[Problem]:
    """What a key or a project spent is known only as long as its calls are kept."""
    database, caps = raw.get("database"), raw.get("caps")
    days = database.get("retention_days", MONTH_DAYS) if isinstance(database, dict) else MONTH_DAYS
    if not _DAYS.fullmatch(str(days)) or int(days) >= MONTH_DAYS or not isinstance(caps, list):
        return []
    problems = []
    for i, cap in enumerate(caps):
        if isinstance(cap, dict) and "usd_per_month" in cap and not cap.get("team"):
            key = ("caps", i, "usd_per_month")
            what = f"calls are kept for {days} days only; a month needs database.retention_days {MONTH_DAYS}"
            problems.append(Problem(dotted(key), "", what, find_origin(origins, key)))
    return problems


def _is_false(value: Any) -> bool:
    """As the model will read it; what it can't read it refuses by itself."""
    try:
        return not _BOOL.validate_python(value)
    except ValidationError:
        return False


def _holds_key(upstream: Any) -> bool:
    if not isinstance(upstream, dict):
        return False
    headers = upstream.get("headers")
    named = {str(name).lower() for name in headers} if isinstance(headers, dict) else set()
    return bool(upstream.get("key")) or bool(named & KEY_HEADERS)


def is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def render(problems: list[Problem]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "\n".join(f"  {problem}" for problem in problems)
    return f"The configuration is refused: {count}.\n{lines}"
