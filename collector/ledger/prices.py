"""What a call cost. Enters: a Call. Leaves: `Priced`: the money, how sure it is, the version of the rates.

The user's own book is asked first, then the public list; a discount of the book applies to either.

Invariants
- The cost is the sum of its parts exactly: both are integers of 1e-18 dollars until the very end.
- Absent is not zero: a count that the rates need and the call lacks leaves the cost unknown (None).
- Tokens that cost nothing are "free" only where a list says so; otherwise they are "unpriced".
- A server of one's own (provider "") never gets a vendor's list price.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from collector.call import Call, Usage
from collector.ledger.book import Book, Wanted
from collector.ledger.pricelist import find_listed
from collector.ledger.rates import Band, Listed, PriceVersion, Rate, Rates, as_rates

PriceState = Literal["priced", "free", "unpriced", "unknown_usage", "not_billed"]

DAY_NS = 86_400 * 1_000_000_000
MINUTE_NS = 60 * 1_000_000_000
LAST_MINUTE = 253_402_300_799 // 60  # of the year 9999: a call may claim any instant

# Nobody bills a call that no model answered.
UNANSWERED = {"refused", "upstream_unreachable"}
# Replies of these have no output, so its absence says nothing.
WITHOUT_OUTPUT = {"embeddings", "rerank", "moderations", "audio_transcriptions", "audio_translations"}
# Clients choose model names: the cache of resolved rates must not grow with their imagination.
MOST_RATES = 4096


class Priced(msgspec.Struct, frozen=True):
    """The price of one call."""

    cost_usd: Decimal | None
    price_state: PriceState
    price_id: str = ""
    band: Band | None = None
    amounts: tuple[int, ...] = ()  # 1e-18 dollars, in the order of band.rates

    @property
    def parts(self) -> dict[str, Decimal]:
        """What each unit cost; sums to cost_usd exactly. Named as in the version's rates."""
        rates = self.band.rates if self.band else ()
        pairs = zip(rates, self.amounts, strict=True)
        return {rate.unit: dollars(amount) for rate, amount in pairs if amount}


NOTHING = Decimal(0)
UNPRICED = Priced(None, "unpriced")
UNKNOWN_USAGE = Priced(None, "unknown_usage")
NOT_BILLED = Priced(NOTHING, "not_billed")


class PriceList:
    """Prices calls; keeps what it resolved, and the versions it used."""

    def __init__(self, book: Book | None = None, aliases: Mapping[str, str] | None = None) -> None:
        self.versions: dict[str, PriceVersion] = {}
        self._rates: dict[tuple[object, ...], Rates | None] = {}
        self._aliases = dict(aliases or {})
        self.use(book or Book())

    def use(self, book: Book) -> None:
        """From now on. Versions that calls on their way were priced with stay known."""
        self._book, self._by_team, self._by_region = book, book.by_team, book.by_region
        self._rates.clear()

    def price(self, call: Call) -> Priced:
        usage = call.usage
        if usage is None or not says_anything(usage):
            answered = call.outcome not in UNANSWERED and call.status < 400
            return UNKNOWN_USAGE if answered else NOT_BILLED
        rates = self.rates_for(call)
        if rates is None:
            return UNPRICED
        band = rates.band(usage.input_tokens or 0)
        if rates.free:
            return Priced(NOTHING, "free", band.version.price_id, band, (0,) * len(band.rates))
        amounts = multiply(band, usage, rates, call.operation)
        if amounts is None:
            return UNKNOWN_USAGE
        total = sum(amounts)
        state: PriceState = "priced" if total else state_of_nothing(band, usage)
        if state == "unpriced" or not fully_priced(rates, usage, total):
            return UNPRICED
        return Priced(dollars(total), state, band.version.price_id, band, tuple(amounts))

    def rates_for(self, call: Call) -> Rates | None:
        """Resolved once per provider, models, UTC day and tier (per minute where the day has hours), and per
        team and zone where the book tells these apart."""
        day = call.started_at_ns // DAY_NS
        key: tuple[object, ...] = (call.provider, call.served_model, call.model, day, call.service_tier)
        if self._by_team:
            key = (*key, call.team)
        if self._by_region:
            key = (*key, call.zone)
        try:
            rates = self._rates[key]
        except KeyError:
            rates = self.resolve(call, key)
        if rates is not None and rates.by_minute:
            minute = (*key, call.started_at_ns // MINUTE_NS)
            rates = self._rates[minute] if minute in self._rates else self.resolve(call, minute)
        return rates

    def resolve(self, call: Call, key: tuple[object, ...]) -> Rates | None:
        minute = min(max(call.started_at_ns // MINUTE_NS, 0), LAST_MINUTE)
        at = datetime.fromtimestamp(minute * 60, UTC)
        models = (call.served_model, call.model)
        found = self.find(Wanted(call.provider, models, call.service_tier, call.team, call.zone), at)
        rates = None if found is None else as_rates(found)
        if len(self._rates) >= MOST_RATES:
            self._rates.clear()
        self._rates[key] = rates
        for _, band in rates.bands if rates else ():
            self.versions[band.version.price_id] = band.version
        return rates

    def find(self, wanted: Wanted, at: datetime) -> Listed | None:
        """An alias goes before the names that it stands for: whoever wrote it knows what is behind them."""
        names = wanted.models
        targets = tuple(self._aliases[name] for name in names if name in self._aliases)
        wanted = wanted._replace(models=targets + names)
        found = self._book.find(wanted, at.date())
        if found is not None:
            return found
        found = find_listed(wanted.provider, wanted.models, at, wanted.service_tier)
        return None if found is None else self._book.discounted(found, wanted, at.date())


def says_anything(usage: Usage) -> bool:
    return (
        usage.input_tokens is not None
        or usage.output_tokens is not None
        or any(value is not None for value in msgspec.structs.astuple(usage))
    )


def multiply(band: Band, usage: Usage, rates: Rates, operation: str) -> list[int] | None:
    """The amount of each rate; None when a count that matters is missing or contradicts another."""
    if usage.input_tokens is None and rates.prices_input and not usage.audio_seconds:
        return None
    if usage.output_tokens is None and rates.prices_output and operation not in WITHOUT_OUTPUT:
        return None
    own: list[int] = []
    amounts: list[int] = []
    for rate in band.rates:
        count = count_of(rate, usage, rates)
        if count is None:
            if rate.overlaps and all(count_of(band.rates[at], usage, rates) for at in rate.overlaps):
                return None
            count = 0
        for at in rate.inside:
            count -= own[at]
        if count < 0:
            return None
        own.append(count)
        amount = rate.attos * count
        amounts.append(amount if rate.per == 1 else (amount + rate.per // 2) // rate.per)
    return amounts


def count_of(rate: Rate, usage: Usage, rates: Rates) -> int | None:
    field = rate.field
    if field is None:
        return None
    if not field:
        return 1
    count = getattr(usage, field)
    if field == "audio_seconds" and count is not None:
        return round(Decimal(repr(max(count, rates.minimum_audio_s) if count else 0)).scaleb(6))
    return count  # type: ignore[no-any-return]


def state_of_nothing(band: Band, usage: Usage) -> PriceState:
    """Why nothing is to be paid: nothing was used, or the list says that it is free."""
    used = any(counted for counted in msgspec.structs.astuple(usage))
    if not used:
        return "priced"
    explicit = [rate for rate in band.rates if rate.field and getattr(usage, rate.field)]
    return "free" if explicit and not any(rate.attos for rate in explicit) else "unpriced"


def fully_priced(rates: Rates, usage: Usage, total: int) -> bool:
    """Output tokens without a rate for output, or input without one for input, are not simply left out."""
    if rates.without_tokens:
        return True
    if usage.output_tokens and not rates.prices_output and not usage.audio_seconds:
        return False
    return not (usage.input_tokens and not rates.prices_input and not total)


def dollars(attos: int) -> Decimal:
    return Decimal(attos).scaleb(-18).normalize() if attos else Decimal(0)
