"""What one request asks of the simulator beside its answer: `[[sim: tokens=64 gap_ms=10]]` or `x-sim: ...`.

Enters text; leaves a Directives, or a DirectiveError that lists what is allowed. Strict, since a test whose
misspelt wish is ignored passes for the wrong reason. The header goes before the last user message, and that
before the system text. Directives are part of the prompt and are counted as such.
"""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from collector.errors import SizewiseError

Count = Annotated[int, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0)]


class DirectiveError(SizewiseError):
    """A directive that is unknown or has a value it can't have."""


class Directives(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`..._after=N` strikes when N tokens have been sent, before the next event; with N=0 before the first.

    In a whole (not streamed) reply, error_after and engine_death_after answer 500, and cut, reset and stall
    send half of the body first. They strike only if the answer has at least N tokens.
    """

    tokens: Count | None = None  # how many the model would say; max_tokens still cuts it
    tokens_per_chunk: Annotated[int, Meta(ge=1)] | None = None
    first_ms: Milliseconds | None = None  # until the first token
    gap_ms: Milliseconds | None = None  # between token events
    slow_head_ms: Milliseconds | None = None  # the head comes in two halves, this long before and between
    usage: Literal["none", "last", "every", "with_choices"] | None = None
    cached: Count | None = None  # prompt tokens read from cache (none given: 0)
    cache_write: Count | None = None  # prompt tokens written to cache (Anthropic; 5 minutes)
    cache_write_1h: Count | None = None  # and for one hour
    reasoning: Count | None = None  # hidden tokens, part of the output
    service_tier: str | None = None  # the tier served
    tool: bool = False  # call the first tool although tool_choice is auto
    finish: Literal["stop", "length", "content_filter"] | None = None
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    retry_after: Count | None = None  # seconds, in the head of an error (429 has 1 anyway)
    error_after: Count | None = None  # an error event of the API, then the end
    engine_death_after: Count | None = None  # as vLLM when its engine dies: error, [DONE], no usage
    cut_after: Count | None = None  # the socket is closed
    reset_after: Count | None = None  # the socket is reset (RST)
    stall_after: Count | None = None  # nothing more comes, the socket stays open
    reject_stream_options: Literal[400, 422] | None = None
    one_byte_writes: bool = False
    crlf: bool = False  # lines of events end with CR LF
    gzip: Literal["0", "1", "force"] = "0"  # 1: when the client accepts it
    read_until_close: bool = False  # neither length nor chunks: the body ends with the connection
    http10: bool = False  # an HTTP/1.0 reply
    huge_kb: Count | None = None  # the first token carries so many kilobytes


_ALLOWED = {field.name: field for field in msgspec.structs.fields(Directives)}
_IN_TEXT = re.compile(r"\[\[sim:([^\]]*)\]\]")


def parse_directives(*texts: str) -> Directives:
    """Of several bare texts ("tokens=3 gap_ms=5") the later one wins, word by word."""
    values: dict[str, str] = {}
    for text in texts:
        for word in text.split():
            name, equals, value = word.partition("=")
            if not equals or name not in _ALLOWED:
                raise DirectiveError(f"sim directive {word!r} is not known; allowed: {describe_directives()}")
            values[name] = value
    if not values:
        return _NONE
    try:
        return msgspec.convert(values, Directives, strict=False)
    except msgspec.ValidationError as error:
        raise DirectiveError(f"sim directive: {error}; allowed: {describe_directives()}") from None


def find_directives(text: str) -> list[str]:
    """What stands within [[sim: ...]] in a prompt."""
    return _IN_TEXT.findall(text) if "[[sim:" in text else []


def describe_directives() -> str:
    return ", ".join(f"{name}={_describe_values(name)}" for name in sorted(_ALLOWED))


def _describe_values(name: str) -> str:
    schema = msgspec.json.schema(_ALLOWED[name].type)
    kinds = schema.get("anyOf", [schema])
    choices = [str(choice) for kind in kinds for choice in kind.get("enum", ())]
    if choices:
        return "|".join(choices)
    plain = {"integer": "N", "number": "N", "string": "TEXT", "boolean": "0|1"}
    return next(plain[kind["type"]] for kind in kinds if kind.get("type") in plain)


_NONE = Directives()
