"""The kind of an error, out of whatever shape it came in: a short name for grouping, never the message.

Messages may quote the prompt or a key; a name is a few words. Seen: OpenAI's and Anthropic's objects,
vLLM's {"error":"Unauthorized"}, FastAPI's {"detail":"Not Found"} and lists, older vLLM's flat
{"object":"error","type":...}, and HTML from a proxy on the way.
"""

import json
import re
from typing import Any

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\- ]{0,47}")


def read_error(body: bytes, status: int) -> str:
    """The error of a reply whose status says it failed; http_503 and the like when it names none."""
    fallback = f"http_{status}"
    if len(body) > 1 << 20:
        return fallback
    try:
        return name_error(json.loads(body.decode("utf-8", "replace"))) or fallback
    except (ValueError, RecursionError):
        return fallback


def name_error(value: Any) -> str:
    """The name of the error in a decoded reply or event; "" when it holds none."""
    if isinstance(value, list):
        return name_error(value[0]) if value else ""
    if not isinstance(value, dict):
        return _name(value)
    for key in ("error", "detail"):
        if value.get(key):
            return name_error(value[key]) or "error"
    for key in ("type", "status", "code", "__type"):
        if (name := _name(value.get(key))) and name != "error":
            return name
    return ""


def _name(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10_000:
        return str(value)
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""
