"""The public price list, `genai-prices`: what it says of one provider, model, instant and service tier.

Unknown stays unknown: no such provider or model, an entry without rates, or a served tier that the list has
no price for, is None and never the next best guess. The one assumption made is written into the origin.
"""

from datetime import datetime
from decimal import Decimal

import genai_prices
from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    PriceContext,
    Provider,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from collector.ledger.rates import Listed, Prices

ORIGIN = f"genai-prices {genai_prices.__version__}"

# What the tiers without a surcharge are called.
STANDARD_TIERS = {"", "default", "standard", "auto", "on_demand"}

HOUR_CACHE = "cache_write_1h_mtok"


def find_listed(provider_id: str, models: tuple[str, ...], at: datetime, service_tier: str) -> Listed | None:
    """The first of `models` that the list of `provider_id` knows; "" is nobody's list."""
    providers = get_snapshot().providers
    provider = find_provider_by_id(providers, provider_id) if provider_id else None
    if provider is None:
        return None
    for model in models:
        info = provider.find_model(model, all_providers=providers) if model else None
        if info is not None:
            return resolve(provider, info, at, service_tier)
    return None


def resolve(provider: Provider, model: ModelInfo, at: datetime, service_tier: str) -> Listed | None:
    prices = tier_prices(model, at, service_tier)
    listed = vars(prices).items() if prices is not None else ()
    known: Prices = {key: value for key, value in listed if isinstance(value, Decimal | TieredPrices)}
    if not known:
        return None
    origin = ORIGIN + ("" if service_tier in STANDARD_TIERS else f", {service_tier} tier")
    origin += assume_hour_cache(model.id, known)
    return Listed(
        provider.id,
        model.id,
        origin,
        known,
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


def changes_by_hour(model: ModelInfo) -> bool:
    dated = [] if isinstance(model.prices, ModelPrice) else [price.constraint for price in model.prices]
    dated += [variant.constraint for variant in model.price_variants or ()]
    return any(isinstance(constraint, TimeOfDateConstraint) for constraint in dated)


def assume_hour_cache(model: str, known: Prices) -> str:
    """Anthropic asks twice the input's price for a cache kept for an hour; some entries leave it out.

    Left out, those tokens would go for the price of five minutes: the assumption is made, and said.
    """
    base = known.get("input_mtok")
    if "claude" not in model or base is None or HOUR_CACHE in known or "cache_write_mtok" not in known:
        return ""
    known[HOUR_CACHE] = (
        TieredPrices(base.base * 2, [Tier(tier.start, tier.price * 2) for tier in base.tiers])
        if isinstance(base, TieredPrices)
        else base * 2
    )
    return f", {HOUR_CACHE} assumed 2 x input_mtok"
