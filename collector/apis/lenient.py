"""Reading JSON that is not quite what its API promises: every field that fits is kept, the others are named.

Readers decode with strict types first, which is fast. Only when that fails is the same JSON read here,
so a string where a number belongs costs that number, never the whole reply.
"""

import json
import re
import types
from typing import Any, NamedTuple, TypeVar, get_args

import msgspec

# Where the APIs put their counts: in a usage of some name, or among the other members.
_OF_USAGE = re.compile(r"usage|tokens|[cC]ount$|billed_units|invocationMetrics|meta_info|timings|seconds")

StructT = TypeVar("StructT", bound=msgspec.Struct)


class Misfit(NamedTuple):
    path: str  # usage.prompt_tokens
    value: object

    def describe(self) -> str:
        return f"{self.path} is {self.value!r}"[:80]


def decode_leniently(data: bytes, kind: type[StructT]) -> tuple[StructT, list[Misfit]]:
    """Raises ValueError (or RecursionError) only when the data is no JSON object at all."""
    value = json.loads(data.decode("utf-8", "replace"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return _fit(value, kind, "")


def describe_unreadable(problem: BaseException) -> str:
    """Why JSON could not be read, without quoting it: it may be the user's text."""
    if isinstance(problem, RecursionError):
        return "nested too deeply to read"
    return "not valid JSON" if isinstance(problem, json.JSONDecodeError) else str(problem)[:80]


def usage_misfit(misfits: list[Misfit]) -> str:
    """What of the usage does not fit: all of that usage is unknown then."""
    return next((misfit.describe() for misfit in misfits if _OF_USAGE.search(misfit.path)), "")


def _fit(value: dict[str, Any], kind: type[StructT], above: str) -> tuple[StructT, list[Misfit]]:
    struct, misfits = kind(), []
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in value:
            continue
        given, path = value[field.encode_name], above + field.encode_name
        nested = _struct_in(field.type)
        try:
            fitted = _convert(given, field.type)
        except (msgspec.ValidationError, ValueError, OverflowError):
            if nested is None or not isinstance(given, dict):
                misfits.append(Misfit(path, given))
                continue
            fitted, inner = _fit(given, nested, path + ".")
            misfits += inner
        setattr(struct, field.name, _encodable(fitted) if isinstance(fitted, str) else fitted)
    return struct, misfits


def _encodable(text: str) -> str:
    """JSON may hold half a surrogate pair, which no UTF-8 can."""
    return text.encode("utf-8", "replace").decode()


def _convert(given: object, kind: Any) -> object:
    if kind is msgspec.Raw or msgspec.Raw in get_args(kind):
        return msgspec.Raw(json.dumps(given).encode())
    return msgspec.convert(given, kind)


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    options = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None
