"""What a URL asks for, checked. Pure: the query's pairs come in, a question or a BadRequest leaves.

An unknown or repeated parameter is an error that lists the allowed ones: a mistyped filter that is
ignored in silence shows the wrong sum, and nobody notices.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_args

from collector.call import Outcome
from collector.errors import SizewiseError
from collector.spend.actual import UnknownDimension, check_dimensions
from collector.spend.calls import FILTERS, MAX_LIMIT, Cursor, read_cursor
from collector.spend.period import Period, month_period, read_instant, span_period

OUTCOMES: tuple[str, ...] = get_args(Outcome)
PRICE_STATES = ("priced", "free", "unpriced", "unknown_usage", "not_billed")
CHOICES = {"outcome": OUTCOMES, "price_state": PRICE_STATES}
CALLS_PARAMETERS = ("limit", "before", *FILTERS)
SPEND_PARAMETERS = ("month", "from", "to", "by")


class BadRequest(SizewiseError):  # noqa: N818  (the name that HTTP gives it)
    def __init__(self, code: str, message: str, allowed: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.allowed = list(allowed)


class NotFound(BadRequest):
    """As wrong as a bad request, but what is wrong is that it isn't there."""


class CallsQuestion(NamedTuple):
    limit: int
    before: Cursor | None
    filters: dict[str, Any]


class SpendQuestion(NamedTuple):
    period: Period
    dimensions: tuple[str, ...]


def single_values(pairs: Iterable[tuple[str, str]], allowed: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            raise BadRequest("unknown_parameter", f"unknown parameter {name[:80]!r}", allowed)
        if name in found:
            raise BadRequest("repeated_parameter", f"parameter {name!r} is given twice: give it once")
        if "\x00" in value:
            raise BadRequest("bad_value", f"{name} holds a NUL character")
        found[name] = value
    return found


def calls_question(pairs: Iterable[tuple[str, str]], zone: str, default_limit: int = 50) -> CallsQuestion:
    values = single_values(pairs, CALLS_PARAMETERS)
    limit = read_limit(values.pop("limit", str(default_limit)))
    try:
        cursor = values.pop("before", "")
        before = read_cursor(cursor) if cursor else None
    except SizewiseError as problem:
        raise BadRequest("bad_cursor", str(problem)) from None
    filters: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("from", "to"):
            filters[name] = read_time(name, value, zone)
        elif name in CHOICES and value not in CHOICES[name]:
            raise BadRequest("bad_value", f"{name} {value[:80]!r} is unknown", CHOICES[name])
        else:
            filters[name] = value
    return CallsQuestion(limit, before, filters)


def read_limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise BadRequest("bad_value", f"limit {text[:40]!r} is not a whole number from 1 to {MAX_LIMIT}")


def read_time(name: str, text: str, zone: str) -> Any:
    try:
        return read_instant(text, zone)
    except SizewiseError as problem:
        raise BadRequest("bad_value", f"{name}: {problem}") from None


def spend_question(pairs: Iterable[tuple[str, str]], zone: str, this_month: str) -> SpendQuestion:
    values = single_values(pairs, SPEND_PARAMETERS)
    try:
        dimensions = check_dimensions(filter(None, values.get("by", "team,model").split(",")))
    except UnknownDimension as problem:
        raise BadRequest("unknown_dimension", str(problem), UnknownDimension.allowed) from None
    if "month" in values and ("from" in values or "to" in values):
        raise BadRequest("bad_value", "give either month, or from and to")
    if ("from" in values) != ("to" in values):
        raise BadRequest("bad_value", "from and to belong together (to is not included)")
    try:
        if "from" in values:
            return SpendQuestion(span_period(values["from"], values["to"], zone), dimensions)
        return SpendQuestion(month_period(values.get("month", this_month), zone), dimensions)
    except SizewiseError as problem:
        raise BadRequest("bad_value", str(problem)) from None


def read_call_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise BadRequest("bad_value", f"{text[:80]!r} is no call's id: it is a UUID") from None
