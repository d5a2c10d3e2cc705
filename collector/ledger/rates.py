"""What a model's units cost, as flat rates ready for integer arithmetic.

Enters: `Listed`, the prices of one model on one day from whichever list. Leaves: `Rates`, one `PriceVersion`
for each band of input size. A long-context tier applies to every unit of its request, so each band is a price
version of its own, and a version's rates are plain numbers that a person can multiply.
"""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from genai_prices.data_units import unit_data
from genai_prices.types import Tier, TieredPrices
from genai_prices.units import UnitDef, UnitRegistry

# The list's units that a Usage can count, and where; the other units of the list are never in a call.
COUNTED_BY = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "cache_audio_read_tokens": "cache_audio_read_tokens",
    "input_image_tokens": "input_image_tokens",
    "output_image_tokens": "output_image_tokens",
    "output_reasoning_tokens": "reasoning_tokens",
    "cache_image_read_tokens": None,  # no API says so yet: a model that prices it needs it to be known
    "web_searches": "web_searches",
    "audio_seconds": "audio_seconds",
    "input_audio_seconds": "audio_seconds",
    "rerank_searches": "search_units",
    "requests": "",
    "images": "images",
    "tool_uses": "tool_uses",
}

# Units that only a book of one's own prices.
OWN_UNITS = {
    f"{name}_kcount": UnitDef(name, f"{name}_kcount", 1000, {"family": name})
    for name in ("images", "tool_uses")
}

Prices = dict[str, Decimal | TieredPrices]  # the list's name of the unit -> dollars


class Listed(NamedTuple):
    """What a list says of one model on one day, in dollars."""

    provider: str
    model: str
    origin: str
    prices: Prices
    minimum_audio_s: int = 0
    by_minute: bool = False  # they change within the day
    free: bool = False  # said to be free, whatever was used
    without_tokens: bool = False  # all that is paid for is requests, images, ...: tokens come with them


class PriceVersion(NamedTuple):
    """The rates that calls were priced with: stored once, named by a digest of the rest, never changed."""

    price_id: str
    provider: str
    model: str
    origin: str
    rates: dict[str, str]  # the list's name of the unit, such as input_mtok -> dollars


class Rate(NamedTuple):
    """One unit's rate as integers: its share of a call is (attos * count) / per."""

    unit: str  # as in PriceVersion.rates
    field: str | None  # of Usage; "" counts the request itself
    attos: int
    per: int
    inside: tuple[int, ...]  # earlier rates whose counts are part of this one's, so not charged twice
    overlaps: tuple[int, ...]  # later rates that meet here: if all have counts, ours must be known


class Band(NamedTuple):
    version: PriceVersion
    rates: tuple[Rate, ...]  # the most specific first


class Rates(NamedTuple):
    """What one model costs on one day in one tier, by how large the input is."""

    bands: tuple[tuple[int, Band], ...]  # applies above so many input tokens; the largest first; 0 is last
    prices_input: bool
    prices_output: bool
    minimum_audio_s: int
    by_minute: bool  # the rates change within the day
    free: bool = False
    without_tokens: bool = False

    def band(self, input_tokens: int) -> Band:
        for start, band in self.bands:
            if input_tokens > start:
                return band
        return self.bands[-1][1]


@cache
def registry() -> UnitRegistry:
    return UnitRegistry(unit_data)


def unit_of(key: str) -> UnitDef:
    """Raises KeyError for a unit that no list has."""
    return OWN_UNITS.get(key) or registry().unit_for_price_key(key)


def as_rates(listed: Listed) -> Rates:
    prices = listed.prices
    starts = sorted({tier.start for value in prices.values() for tier in tiers_of(value)} | {0}, reverse=True)
    return Rates(
        bands=tuple((start, band(listed, start)) for start in starts),
        prices_input="input_mtok" in prices,
        prices_output="output_mtok" in prices,
        minimum_audio_s=listed.minimum_audio_s,
        by_minute=listed.by_minute,
        free=listed.free,
        without_tokens=listed.without_tokens,
    )


def scale(prices: Prices, factor: Decimal) -> Prices:
    """Each price times a factor, to the 12th decimal of a dollar."""
    return {key: scale_one(value, factor) for key, value in prices.items()}


def scale_one(value: Decimal | TieredPrices, factor: Decimal) -> Decimal | TieredPrices:
    if isinstance(value, TieredPrices):
        tiers = [Tier(tier.start, rounded(tier.price * factor)) for tier in value.tiers]
        return TieredPrices(rounded(value.base * factor), tiers)
    return rounded(value * factor)


def rounded(price: Decimal) -> Decimal:
    """Exact as long as it can be said in 12 decimals; `:f` must not carry zeros that say nothing."""
    short = round(price, 12).normalize()
    return short if short else Decimal(0)


def tiers_of(value: Decimal | TieredPrices) -> list[Tier]:
    return value.tiers if isinstance(value, TieredPrices) else []


def band(listed: Listed, start: int) -> Band:
    flat = {key: rate_above(value, start) for key, value in listed.prices.items()}
    origin = listed.origin + (f", above {start} input tokens" if start else "")
    rates = {key: f"{flat[key]:f}" for key in sorted(flat)}
    content = json.dumps([listed.provider, listed.model, origin, rates])
    price_id = hashlib.sha256(content.encode()).hexdigest()[:20]
    return Band(PriceVersion(price_id, listed.provider, listed.model, origin, rates), compile_rates(flat))


def rate_above(value: Decimal | TieredPrices, start: int) -> Decimal:
    """The rate for inputs larger than `start`, up to the next threshold."""
    if not isinstance(value, TieredPrices):
        return value
    return next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)


def compile_rates(flat: Mapping[str, Decimal]) -> tuple[Rate, ...]:
    """Most specific first, so that a unit's own count is what its more specific ones have left over."""
    listed = [unit_of(key) for key in flat]
    counted = [unit for unit in listed if unit.usage_key in COUNTED_BY]
    counted.sort(key=lambda unit: (-len(unit.dimensions), unit.usage_key))
    return tuple(compile_rate(unit, flat[unit.price_key], counted) for unit in counted)


def compile_rate(unit: UnitDef, rate: Decimal, counted: list[UnitDef]) -> Rate:
    above = [other for other in counted if other is not unit and within(unit, other)]
    nearest = [one for one in above if not any(other is not one and within(other, one) for other in above)]
    return Rate(
        unit=unit.price_key,
        field=COUNTED_BY[unit.usage_key],
        inside=tuple(at for at, other in enumerate(counted) if other is not unit and within(other, unit)),
        overlaps=tuple(counted.index(one) for one in nearest) if len(nearest) > 1 else (),
        **in_integers(rate, unit),
    )


def within(unit: UnitDef, other: UnitDef) -> bool:
    return other.dimensions.items() <= unit.dimensions.items()


def in_integers(rate: Decimal, unit: UnitDef) -> dict[str, int]:
    """Money is added up in integers of 1e-18 dollars, exact and quick; seconds count in microseconds."""
    attos, per = int(rate.scaleb(18)), unit.per
    if unit.usage_key.endswith("_seconds"):
        per *= 1_000_000
    return {"attos": attos // per, "per": 1} if attos % per == 0 else {"attos": attos, "per": per}
