"""The effective configuration to be read: every key, its value (secrets masked) and its origin."""

from collections.abc import Iterator
from typing import Any

from collector.config.load import Loaded
from collector.config.refuse import hide_password
from collector.config.sources import Key, dotted


def list_settings(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """(key, value, origin) of every setting, in the order of the model."""
    values = loaded.config.model_dump(mode="json")
    return [(dotted(key), _clean(value), str(loaded.origin(key))) for key, value in _leaves(values, ())]


def render_settings(loaded: Loaded) -> str:
    """One line a setting, `key: value  # origin`, aligned; YAML comments need no explanation."""
    rows = [(f"{key}: {_text(value)}", origin) for key, value, origin in list_settings(loaded)]
    width = min(max(len(left) for left, _ in rows), 60)
    return "\n".join(f"{left:<{width}}  # {origin}" for left, origin in rows)


def _leaves(value: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _leaves(below, (*key, name))
    elif isinstance(value, list) and value:
        for i, below in enumerate(value):
            yield from _leaves(below, (*key, i))
    else:
        yield key, value


def _clean(value: Any) -> Any:
    return hide_password(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == "":
        return "-"
    return str(value)
