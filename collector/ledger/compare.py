"""Prices to be looked at: those of one model, and what another book would change. Pure.

Enters: a PriceList or two. Leaves: flat lines of texts and decimals, the same for a table and for a script.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import NamedTuple

from genai_prices.data_snapshot import get_snapshot

from collector.ledger.book import Book, Wanted, matches
from collector.ledger.prices import PriceList
from collector.ledger.rates import Listed, as_rates

UNIT_TEXTS = {"mtok": "1M tokens", "kcount": "1,000", "hours": "hour", "mchars": "1M characters"}


class PriceLine(NamedTuple):
    """One rate, above so many input tokens."""

    provider: str
    model: str
    origin: str
    price_id: str
    unit: str
    usd: Decimal
    per: str
    above_input_tokens: int
    free: bool


class Change(NamedTuple):
    provider: str
    model: str
    unit: str
    above_input_tokens: int
    old_usd: Decimal | None
    new_usd: Decimal | None
    old_origin: str
    new_origin: str

    @property
    def percent(self) -> Decimal | None:
        if not self.old_usd or self.new_usd is None:
            return None
        return round((self.new_usd / self.old_usd - 1) * 100, 1)


def list_models() -> list[tuple[str, str]]:
    """Provider and model of everything the public list knows."""
    return [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]


def find_prices(prices: PriceList, wanted: Wanted, day: date) -> Listed | None:
    return prices.find(wanted, datetime.combine(day, time(12), UTC))


def show_model(prices: PriceList, wanted: Wanted, day: date, *, any_provider: bool) -> list[PriceLine]:
    """Without a provider, of each one whose list has the model, and of a server of one's own."""
    providers = [wanted.provider]
    if any_provider:
        providers = ["", *[provider.id for provider in get_snapshot().providers]]
    lines: list[PriceLine] = []
    for provider in providers:
        found = find_prices(prices, wanted._replace(provider=provider), day)
        if found is not None:
            lines += price_lines(found)
    return lines


def price_lines(found: Listed) -> list[PriceLine]:
    lines = []
    for start, band in reversed(as_rates(found).bands):
        version = band.version
        for unit, usd in version.rates.items():
            per = UNIT_TEXTS.get(unit.rpartition("_")[2], "unit")
            told = (version.provider, version.model, version.origin, version.price_id)
            lines.append(PriceLine(*told, unit, Decimal(usd), per, start, found.free))
    return lines


def compare(old: PriceList, new: PriceList, book: Book, today: date) -> list[Change]:
    """What `book`, already part of `new`, changes: for each model that it speaks of, by name or by pattern,
    today, or on the first day that a price is in force."""
    days: dict[tuple[Wanted, date], None] = {}
    for entry in book.entries:
        start = entry.span.start
        day = start if start is not None and start > today else today
        if not entry.span.holds(day):
            continue
        team, region = (sample(pattern) for pattern in (entry.team, entry.region))
        for provider, model in meant(entry.provider, entry.model):
            days[Wanted(provider, (model,), sample(entry.service_tier), team, region), day] = None
    for one in book.discounts:
        start = one.span.start
        day = start if start is not None and start > today else today
        for provider, model in meant(one.provider, one.model) if one.span.holds(day) else ():
            days[Wanted(provider, (model,), "", sample(one.team)), day] = None
    return [change for wanted, day in days for change in changes_of(old, new, wanted, day)]


def changes_of(old: PriceList, new: PriceList, wanted: Wanted, day: date) -> Iterable[Change]:
    before, after = (
        {(line.unit, line.above_input_tokens): line for line in price_lines(found)} if found else {}
        for found in (find_prices(old, wanted, day), find_prices(new, wanted, day))
    )
    for key in dict.fromkeys([*before, *after]):
        was, will = before.get(key), after.get(key)
        if was is None or will is None or was.usd != will.usd:
            yield Change(
                wanted.provider,
                wanted.models[0],
                *key,
                was.usd if was else None,
                will.usd if will else None,
                was.origin if was else "",
                will.origin if will else "",
            )


def meant(provider: str, model: str) -> list[tuple[str, str]]:
    """The models that two patterns speak of; a plain name stands for itself, listed or not."""
    known = [pair for pair in list_models() if matches(provider, pair[0]) and matches(model, pair[1])]
    if not is_pattern(model):
        providers = sorted({name for name, _ in known}) if is_pattern(provider) else [provider]
        return [(name, model) for name in providers or [""]]
    return known


def is_pattern(text: str) -> bool:
    return any(letter in text for letter in "*?[")


def sample(pattern: str) -> str:
    """A name that the pattern matches, where it is a plain name or `name*`."""
    return "" if pattern == "*" else pattern.rstrip("*")
