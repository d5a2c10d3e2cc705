"""The top-level members of a JSON object, found without decoding it: bytes enter, spans leave.

For bodies of which only the beginning is known, and for changing one value without touching another byte.
Follows strings and nesting, so a "model" inside a message is never taken for the request's own.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

MAX_TOKENS = 200_000  # strings and brackets looked at: some 50 ms at most

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*'
_MEMBER = re.compile(rb"[\s,]*(" + _STRING + rb'")\s*:\s*', re.DOTALL)
# The closing quote is optional: a string cut off is one token too, and nothing is searched inside it.
_TOKEN = re.compile(rb"[\[\]{}]|" + _STRING + rb'("?)', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,}\]]+(?=[\s,}])")


class Member(NamedTuple):
    key: str
    start: int  # of the value
    end: int


def scan_members(body: bytes, start: int = 0) -> Iterator[Member]:
    """Members in order, up to the first that is cut off or malformed."""
    brace = find_brace(body, start)
    if brace < 0:
        return
    position, budget = brace + 1, MAX_TOKENS
    while budget > 0 and (found := _MEMBER.match(body, position)):
        end, used = _value_end(body, found.end(), budget)
        key = _decode_key(found.group(1))
        if end < 0 or key is None:
            return
        yield Member(key, found.end(), end)
        position, budget = end, budget - used - 1


def find_brace(body: bytes, start: int = 0) -> int:
    """Where the object opens; -1 when the body is no object."""
    start = skip_space(body, start)
    return start if body[start : start + 1] == b"{" else -1


def skip_space(body: bytes, start: int) -> int:
    while body[start : start + 1] in (b" ", b"\n", b"\r", b"\t"):
        start += 1
    return start


def _value_end(body: bytes, start: int, budget: int) -> tuple[int, int]:
    """The end of the value and how many tokens it took; -1 when it is cut off."""
    if body[start : start + 1] not in (b'"', b"{", b"["):
        found = _SCALAR.match(body, start)
        return (found.end() if found else -1), 1
    depth = 0
    for used, token in enumerate(_TOKEN.finditer(body, start), 1):
        first = body[token.start()]
        if first == 0x22:
            if not token.group(1):
                break
        else:
            depth += 1 if first in b"{[" else -1
        if depth == 0:
            return token.end(), used
        if used >= budget:
            break
    return -1, budget


def _decode_key(quoted: bytes) -> str | None:
    try:
        return msgspec.json.decode(quoted, type=str)
    except (msgspec.MsgspecError, ValueError):
        return None
