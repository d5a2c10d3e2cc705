"""Prices: which models of the last week have none, which calls told no usage, and how old the list is."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, StartDateConstraint

from collector.doctor.database import ModelFact
from collector.doctor.finding import Finding, ok, problem, warning
from collector.errors import SizewiseError
from collector.ledger.book_file import read_book

OLD_DAYS = 120
NOTABLE_SHARE = 0.05


def newest_change(today: date) -> date | None:
    """The day on which the list's newest price came into force: the list is at least that young."""
    starts = [
        dated.constraint.start_date
        for provider in get_snapshot().providers
        for model in provider.models
        for dated in (() if isinstance(model.prices, ModelPrice) else model.prices)
        if isinstance(dated.constraint, StartDateConstraint)
    ]
    return max((start for start in starts if start <= today), default=None)


def list_version() -> str:
    return genai_prices.__version__


def judge_list(version: str, newest: date | None, today: date) -> list[Finding]:
    values: dict[str, Any] = {"version": version, "newest": str(newest) if newest else None}
    if newest is None:
        return [ok("prices.list", f"the price list is genai-prices {version}", **values)]
    days = (today - newest).days
    text = f"the price list is genai-prices {version}; its newest price is of {newest}, {days} days ago"
    if days <= OLD_DAYS:
        return [ok("prices.list", text, **values)]
    why = "Prices that changed since are not in it: newer calls may be priced wrongly, or not at all."
    return [warning("prices.old", text, why, "pip install --upgrade genai-prices, then restart", **values)]


def judge_books(paths: Sequence[Path]) -> list[Finding]:
    """The user's own price books, each read as record reads it."""
    found = []
    for path in paths:
        try:
            book = read_book(path)
        except (SizewiseError, OSError) as failure:
            why = "record goes on with what it read last, or without: calls may be priced by the public list."
            remedy = f"mend it there, then try it: `sizewise prices diff {path}`"
            text = " ".join(str(failure).split())
            found.append(problem("prices.book_refused", text, why, remedy, str(path)))
        else:
            count = len(book.entries)
            found.append(ok("prices.book", f"{count} prices of your own", str(path), entries=count))
    return found


def judge_models(models: Sequence[ModelFact] | None, providers: dict[str, list[str]]) -> list[Finding]:
    """`providers`: provider to the upstreams whose calls are priced by it."""
    if models is None:
        return []
    found = [_unpriced(one, providers) for one in models if one.unpriced]
    found += [_unknown_usage(one) for one in models if one.unknown_usage > max(1, one.calls * NOTABLE_SHARE)]
    if not found:
        calls = sum(one.calls for one in models)
        text = f"each of the {calls:,} calls of the last 7 days has a price (models: {len(models)})"
        found.append(ok("prices.complete", text if models else "no calls in the last 7 days", calls=calls))
    return found


def _unpriced(one: ModelFact, providers: dict[str, list[str]]) -> Finding:
    model = one.model or "(no model named)"
    text = f"{one.unpriced:,} of {one.calls:,} calls of the last 7 days have no price"
    why = "They are in no total: what was spent is more than what is shown."
    values = {"provider": one.provider, "model": one.model, "unpriced": one.unpriced, "tokens": one.tokens}
    if one.provider:
        known = f"the price list has no price for it at {one.provider}"
        remedy = f"{known}: pip install --upgrade genai-prices, or price it in a book (`prices.books`)"
    else:
        names = providers.get("") or ["NAME"]
        setting = f"upstreams.{names[0] if len(names) == 1 else 'NAME'}"
        remedy = (
            f"a server of your own has no list price: say what it runs on with `{setting}.hosting`; "
            f"if it is a provider's, whose prices apply with `{setting}.provider`; "
            "or price it in a book of your own (`prices.books`)"
        )
    return warning("prices.unpriced", text, why, remedy, model, **values)


def _unknown_usage(one: ModelFact) -> Finding:
    text = f"{one.unknown_usage:,} of {one.calls:,} calls of the last 7 days told no usage"
    why = "Without tokens there is no cost: they are in no total."
    remedy = (
        "see why with `sizewise doctor --call`; a stream tells its usage only if asked "
        "(`upstreams.NAME.asks_usage: true`), and the page of such a call gives its reason"
    )
    values = {"provider": one.provider, "model": one.model, "unknown_usage": one.unknown_usage}
    return warning("prices.unknown_usage", text, why, remedy, one.model or "(no model named)", **values)
