"""The user's own prices, before any public list. Pure: entries, read and checked (book_file.py), enter;
what a model costs on a day, for a team, in a tier and region, leaves.

Invariants
- The first entry that matches wins, in the order of the books and of their lines; so does the first discount.
- An entry without a service tier speaks of the standard tiers alone: who is served faster or later pays what
  an entry for that tier says, else what the public list says of it.
- A rate in another currency becomes dollars by the rate of exchange of the call's day, and says so.
- Where an entry gives a unit no rate, it is charged as what it is a part of (cached input as input).
"""

import fnmatch
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Literal, NamedTuple

from collector.ledger.pricelist import STANDARD_TIERS, assume_hour_cache
from collector.ledger.rates import Listed, Prices, scale

HUNDRED = Decimal(100)


class Place(NamedTuple):
    """Where something stands: the book's name, and file and line for a person who wants to change it."""

    book: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Currency(NamedTuple):
    """What one unit was worth in dollars, from each day on; the days rise. USD has none."""

    name: str = "USD"
    rates: tuple[tuple[date, Decimal], ...] = ()

    def usd_on(self, day: date) -> Decimal | None:
        """None before the first known day: then nothing is known."""
        if self.name == "USD":
            return Decimal(1)
        return next((usd for start, usd in reversed(self.rates) if start <= day), None)


class Span(NamedTuple):
    """Whole UTC days, the end excluded; an absent bound is none."""

    start: date | None = None
    end: date | None = None

    def holds(self, day: date) -> bool:
        return (self.start is None or self.start <= day) and (self.end is None or day < self.end)


class Entry(NamedTuple):
    place: Place
    provider: str  # patterns, as in file names; "*" is any
    model: str
    span: Span
    service_tier: str  # "" the standard tiers
    region: str
    team: str
    prices: Prices  # in `currency`, by the price list's names of the units
    currency: Currency
    free: bool = False
    net: bool = False  # no discount applies


class Discount(NamedTuple):
    place: Place
    provider: str
    model: str
    team: str
    span: Span
    percent: Decimal


class Commitment(NamedTuple):
    """Paid by the month, used or not. `ptu`: the fee is all that is paid for those calls. `minimum`: what is
    used beyond it is paid too."""

    place: Place
    name: str
    kind: Literal["ptu", "minimum"]
    provider: str
    model: str
    span: Span
    per_month: Decimal
    currency: Currency


class Credit(NamedTuple):
    """Paid in advance or given: used up by what is spent in its time."""

    place: Place
    name: str
    provider: str
    span: Span
    amount: Decimal
    currency: Currency


class Markup(NamedTuple):
    place: Place
    team: str
    span: Span
    percent: Decimal


class Book(NamedTuple):
    """All books as one."""

    entries: tuple[Entry, ...] = ()
    discounts: tuple[Discount, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    credits: tuple[Credit, ...] = ()
    markups: tuple[Markup, ...] = ()

    @property
    def by_team(self) -> bool:
        teams = [entry.team for entry in self.entries] + [one.team for one in self.discounts]
        return any(team != "*" for team in teams)

    @property
    def by_region(self) -> bool:
        return any(entry.region != "*" for entry in self.entries)

    def find(self, wanted: "Wanted", day: date) -> Listed | None:
        for model in wanted.models:
            for entry in self.entries if model else ():
                if applies(entry, wanted, model) and entry.span.holds(day):
                    found = price_by(entry, model, wanted.provider, day)
                    return found if found is None or entry.net else self.discounted(found, wanted, day)
        return None

    def discounted(self, found: Listed, wanted: "Wanted", day: date) -> Listed:
        for one in self.discounts:
            named = any(matches(one.model, model) for model in (found.model, *wanted.models) if model)
            ours = matches(one.provider, wanted.provider) and matches(one.team, wanted.team)
            if named and ours and one.span.holds(day):
                prices = scale(found.prices, 1 - one.percent / HUNDRED)
                origin = f"{found.origin}, {one.percent.normalize():f} % off ({one.place.book})"
                return found._replace(prices=prices, origin=origin)
        return found


class Wanted(NamedTuple):
    """Whose price is asked for."""

    provider: str
    models: tuple[str, ...]  # the first that a list knows
    service_tier: str = ""
    team: str = ""
    region: str = ""


def merge(books: Iterable[Book]) -> Book:
    listed = list(books)
    return Book(
        entries=tuple(one for book in listed for one in book.entries),
        discounts=tuple(one for book in listed for one in book.discounts),
        commitments=tuple(one for book in listed for one in book.commitments),
        credits=tuple(one for book in listed for one in book.credits),
        markups=tuple(one for book in listed for one in book.markups),
    )


def applies(entry: Entry, wanted: Wanted, model: str) -> bool:
    tier = wanted.service_tier
    return (
        matches(entry.model, model)
        and matches(entry.provider, wanted.provider)
        and (matches(entry.service_tier, tier) if entry.service_tier else tier in STANDARD_TIERS)
        and matches(entry.team, wanted.team)
        and matches(entry.region, wanted.region)
    )


def price_by(entry: Entry, model: str, provider: str, day: date) -> Listed | None:
    usd = entry.currency.usd_on(day)
    if usd is None:
        return None
    prices, origin = dict(entry.prices), entry.place.book
    origin += f", {entry.service_tier} tier" if entry.service_tier else ""
    origin += f", region {entry.region}" if entry.region != "*" else ""
    origin += f", team {entry.team}" if entry.team != "*" else ""
    origin += assume_hour_cache(model, prices)
    if usd != 1:
        prices = scale(prices, usd)
        origin += f", {entry.currency.name} at {usd:f} dollars"
    without_tokens = not any(key.endswith("_mtok") for key in prices)
    return Listed(
        provider,
        entry.model,
        origin,
        prices,
        free=entry.free,
        without_tokens=without_tokens,
    )


def matches(pattern: str, text: str) -> bool:
    return pattern == "*" or compiled(pattern.lower()).match(text.lower()) is not None


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))
