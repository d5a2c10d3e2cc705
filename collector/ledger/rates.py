"""What a model's units cost: the price list `genai-prices`, resolved for one provider, model, instant and
service tier into flat rates.

Enters: provider, model names, instant, served tier. Leaves: `Rates`, one `PriceVersion` for each band of
input size, ready for integer arithmetic. A long-context tier applies to every unit of its request, so each
band is a price version of its own, and a version's rates are plain numbers that a person can multiply.

Unknown stays unknown: no such provider or model, an entry without rates, or a served tier that the list has
no price for, is None and never the next best guess. The one assumption made is written into the origin.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple

import genai_prices
from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    PriceContext,
    Provider,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.units import UnitDef, UnitRegistry

ORIGIN = f"genai-prices {genai_prices.__version__}"

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
    "requests": "",
}

# What the tiers without a surcharge are called.
STANDARD_TIERS = {"", "default", "standard", "auto", "on_demand"}


HOUR_CACHE = "cache_write_1h_mtok"

Prices = dict[str, Decimal | TieredPrices]  # the list's name of the unit -> dollars


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

    def band(self, input_tokens: int) -> Band:
        for start, band in self.bands:
            if input_tokens > start:
                return band
        return self.bands[-1][1]


@cache
def registry() -> UnitRegistry:
    return UnitRegistry(unit_data)


def find_rates(provider_id: str, models: tuple[str, ...], at: datetime, service_tier: str) -> Rates | None:
    """The rates of the first of `models` that the list of `provider_id` knows; "" is nobody's list."""
    providers = get_snapshot().providers
    provider = find_provider_by_id(providers, provider_id) if provider_id else None
    if provider is None:
        return None
    for model in models:
        info = provider.find_model(model, all_providers=providers) if model else None
        if info is not None:
            return resolve(provider, info, at, service_tier)
    return None


def resolve(provider: Provider, model: ModelInfo, at: datetime, service_tier: str) -> Rates | None:
    prices = tier_prices(model, at, service_tier)
    listed = vars(prices).items() if prices is not None else ()
    known: Prices = {key: value for key, value in listed if isinstance(value, Decimal | TieredPrices)}
    if not known:
        return None
    origin = ORIGIN + ("" if service_tier in STANDARD_TIERS else f", {service_tier} tier")
    origin += assume_hour_cache(model, known)
    starts = sorted({tier.start for value in known.values() for tier in tiers_of(value)} | {0}, reverse=True)
    return Rates(
        bands=tuple((start, band(provider, model, origin, known, start)) for start in starts),
        prices_input="input_mtok" in known,
        prices_output="output_mtok" in known,
        minimum_audio_s=10 if provider.id == "groq" and model.id.startswith("whisper") else 0,
        by_minute=changes_by_hour(model),
    )


def tier_prices(model: ModelInfo, at: datetime, service_tier: str) -> ModelPrice | None:
    """The standard prices, or those of another served tier; None where the list has none for it."""
    if service_tier in STANDARD_TIERS:
        return model.get_prices(at)
    context: PriceContext = (
        {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier}
    )
    for variant in model.price_variants or ():
        in_force = variant.constraint is None or variant.constraint.active(at)
        if in_force and variant.when == context:
            return model.get_prices(at, context)
    return None


def tiers_of(value: Decimal | TieredPrices) -> list[Tier]:
    return value.tiers if isinstance(value, TieredPrices) else []


def changes_by_hour(model: ModelInfo) -> bool:
    dated = [] if isinstance(model.prices, ModelPrice) else [price.constraint for price in model.prices]
    dated += [variant.constraint for variant in model.price_variants or ()]
    return any(isinstance(constraint, TimeOfDateConstraint) for constraint in dated)


def assume_hour_cache(model: ModelInfo, known: Prices) -> str:
    """Anthropic asks twice the input's price for a cache kept for an hour; some entries leave it out.

    Left out, those tokens would go for the price of five minutes: the assumption is made, and said.
    """
    base = known.get("input_mtok")
    if "claude" not in model.id or base is None or HOUR_CACHE in known or "cache_write_mtok" not in known:
        return ""
    known[HOUR_CACHE] = (
        TieredPrices(base.base * 2, [Tier(tier.start, tier.price * 2) for tier in base.tiers])
        if isinstance(base, TieredPrices)
        else base * 2
    )
    return f", {HOUR_CACHE} assumed 2 x input_mtok"


def band(provider: Provider, model: ModelInfo, origin: str, known: Prices, start: int) -> Band:
    flat = {key: rate_above(value, start) for key, value in known.items()}
    origin += f", above {start} input tokens" if start else ""
    rates = {key: f"{flat[key]:f}" for key in sorted(flat)}
    content = json.dumps([provider.id, model.id, origin, rates])
    price_id = hashlib.sha256(content.encode()).hexdigest()[:20]
    return Band(PriceVersion(price_id, provider.id, model.id, origin, rates), compile_rates(flat))


def rate_above(value: Decimal | TieredPrices, start: int) -> Decimal:
    """The rate for inputs larger than `start`, up to the next threshold."""
    if not isinstance(value, TieredPrices):
        return value
    return next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)


def compile_rates(flat: Mapping[str, Decimal]) -> tuple[Rate, ...]:
    """Most specific first, so that a unit's own count is what its more specific ones have left over."""
    listed = [registry().unit_for_price_key(key) for key in flat]
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
