"""What is wrong with a price book, each problem with key, value, what is allowed, file and line. Pure."""

from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from collector.config.sources import Key, Origin, Problem, Source, did_you_mean, dotted, find_origin
from collector.ledger.book_form import BookForm, EntryForm

NEEDS = {"list_type": "allowed is a list (- ...)", "model_type": "allowed is a mapping (KEY: VALUE)"}


def check(source: Source, path: Path) -> tuple[BookForm | None, list[Problem]]:
    try:
        return BookForm.model_validate(source.values), []
    except ValidationError as refusal:
        return None, [describe(error, source, path) for error in refusal.errors(include_url=False)]


def describe(error: Any, source: Source, path: Path) -> Problem:
    key: Key = tuple(error["loc"])
    origin = find_origin(source.origins, key) if key else Origin(path, 1)
    what = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    name = dotted(key) or path.name
    if error["type"] == "extra_forbidden":
        allowed = keys_at(key[:-1])
        hint = did_you_mean(str(key[-1]), allowed)
        what = f"no such key; {hint + ' ' if hint else ''}allowed here: {', '.join(allowed)}"
        return Problem(name, "", what, origin)
    if error["type"] == "missing":
        return Problem(name, "", "is required", origin)
    if error["type"] in NEEDS:
        return Problem(name, "", NEEDS[error["type"]], origin)
    given = error.get("input")
    shown = "" if isinstance(given, dict | list | BaseModel) else repr(str(given))[:120]
    return Problem(name, shown, what, origin)


def keys_at(key: Key) -> list[str]:
    """The keys that stand below `key`, as they are written."""
    model: Any = BookForm
    for part in key:
        if isinstance(part, str) and part in model.model_fields:
            model = model.model_fields[part].annotation
            model = getattr(model, "__args__", (model,))[0]
    return [info.alias or name for name, info in model.model_fields.items()]


def check_across(form: BookForm, source: Source) -> list[Problem]:
    """What only several lines together show: two prices for the same thing, days without an exchange rate."""
    problems = []
    seen: dict[tuple[str, ...], list[tuple[int, EntryForm]]] = {}
    for at, entry in enumerate(form.prices):
        alike = seen.setdefault(
            (entry.provider, entry.model, entry.service_tier, entry.region, entry.team), []
        )
        for other_at, other in alike:
            if overlap(entry, other):
                line = find_origin(source.origins, ("prices", other_at)).line
                what = f"prices the same days as line {line} does: give one of them a `from` or `to`"
                problems.append(
                    Problem(f"prices[{at}]", entry.model, what, find_origin(source.origins, ("prices", at)))
                )
                break
        alike.append((at, entry))
    return problems + check_days(form, source)


def check_days(form: BookForm, source: Source) -> list[Problem]:
    if form.currency == "USD" or not form.exchange:
        return []
    first, problems = form.exchange[0].start, []
    for section in ("prices", "commitments", "credits"):
        for at, one in enumerate(getattr(form, section)):
            if (one.start or date.min) < first and not getattr(one, "free", False):
                what = f"begins before `exchange` has a rate ({first}): give it a `from`"
                key: Key = (section, at)
                problems.append(Problem(dotted(key), "", what, find_origin(source.origins, key)))
    return problems


def overlap(one: EntryForm, other: EntryForm) -> bool:
    return (one.start or date.min) < (other.end or date.max) and (other.start or date.min) < (
        one.end or date.max
    )
