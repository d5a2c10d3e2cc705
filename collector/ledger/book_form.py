"""The shape of a price book, as a person writes it: every key, and what is allowed. One book in YAML:

    currency: EUR                       # absent: USD; with it the rates of exchange, each from its day on
    exchange: [{from: 2026-01-01, usd: 1.08}]
    prices:                             # the first that matches wins
      - {provider: openai, model: "gpt-4o*", input: 2.25, output: 9, cache_read: 1.1, from: 2026-07-01}
      - {model: "llama-*", team: research, free: true}
    discounts:   [{provider: anthropic, percent: 12.5}]
    commitments: [{name: ptu-1, kind: ptu, provider: azure, model: "gpt-4o*", per_month: 5000}]
    credits:     [{name: start-up, provider: google, amount: 10000, from: 2026-01-01, to: 2027-01-01}]
    chargeback:  [{team: "*", percent: 8}]

or its prices alone as CSV, one a row, with the same names as columns. Tokens are priced by the million,
requests, searches, images and the like by the thousand, audio by the minute. `from` is the first UTC day,
`to` the first day after.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from collector.ledger.book import Span

Pattern = Annotated[str, Field(min_length=1, max_length=200)]
Money = Annotated[Decimal, Field(ge=0, le=10**12, decimal_places=12, allow_inf_nan=False)]
Above = Annotated[Decimal, Field(gt=0, le=10**12, decimal_places=12, allow_inf_nan=False)]
Percent = Annotated[Decimal, Field(gt=0, le=100, decimal_places=6, allow_inf_nan=False)]
Surcharge = Annotated[Decimal, Field(ge=0, le=1000, decimal_places=6, allow_inf_nan=False)]

# A key of a book -> the price list's name of the unit, and how many times it holds the book's own.
UNITS = {
    "input": ("input_mtok", 1),
    "output": ("output_mtok", 1),
    "cache_read": ("cache_read_mtok", 1),
    "cache_write": ("cache_write_mtok", 1),
    "cache_write_1h": ("cache_write_1h_mtok", 1),
    "reasoning": ("output_reasoning_mtok", 1),
    "input_audio": ("input_audio_mtok", 1),
    "output_audio": ("output_audio_mtok", 1),
    "cache_audio_read": ("cache_audio_read_mtok", 1),
    "input_image": ("input_image_mtok", 1),
    "output_image": ("output_image_mtok", 1),
    "audio_minute": ("audio_hours", 60),
    "per_1k_requests": ("requests_kcount", 1),
    "per_1k_searches": ("web_searches_kcount", 1),
    "per_1k_reranks": ("rerank_searches_kcount", 1),
    "per_1k_images": ("images_kcount", 1),
    "per_1k_tools": ("tool_uses_kcount", 1),
}


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=False)


class UnitPrices(Form):
    input: Money | None = None
    output: Money | None = None
    cache_read: Money | None = None
    cache_write: Money | None = None
    cache_write_1h: Money | None = None
    reasoning: Money | None = None
    input_audio: Money | None = None
    output_audio: Money | None = None
    cache_audio_read: Money | None = None
    input_image: Money | None = None
    output_image: Money | None = None
    audio_minute: Money | None = None
    per_1k_requests: Money | None = None
    per_1k_searches: Money | None = None
    per_1k_reranks: Money | None = None
    per_1k_images: Money | None = None
    per_1k_tools: Money | None = None

    def by_unit(self) -> dict[str, Decimal]:
        given = {unit: (getattr(self, key), times) for key, (unit, times) in UNITS.items()}
        return {unit: price * times for unit, (price, times) in given.items() if price is not None}


class TierForm(UnitPrices):
    """What all tokens of a request cost once its input is larger."""

    above_input_tokens: Annotated[int, Field(gt=0)]


class Dated(Form):
    start: date | None = Field(default=None, alias="from")
    end: date | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _check_days(self) -> "Dated":
        if self.start and self.end and self.end <= self.start:
            raise ValueError(f"`to` ({self.end}) is the first day after, and must come after `from`")
        return self

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)


class EntryForm(Dated, UnitPrices):
    model: Pattern
    provider: str = "*"  # "" is a server of one's own
    service_tier: str = ""
    region: Pattern = "*"
    team: str = "*"
    free: bool = False
    net: bool = False
    note: str = ""
    tiers: list[TierForm] = []

    @model_validator(mode="after")
    def _check_prices(self) -> "EntryForm":
        given = self.by_unit()
        if self.free and (given or self.tiers):
            raise ValueError("it is `free: true` and has prices: keep one of them")
        if not self.free and not any(given.values()):
            raise ValueError(f"has no price above 0; what costs nothing says `free: true`; units: {ALLOWED}")
        starts = [tier.above_input_tokens for tier in self.tiers]
        if len(set(starts)) < len(starts):
            raise ValueError("two tiers begin above the same number of input tokens")
        for tier in self.tiers:
            if unknown := sorted(set(tier.by_unit()) - set(given)):
                raise ValueError(f"a tier prices {', '.join(unknown)}, which has no price below it")
            if not tier.by_unit():
                raise ValueError("a tier has no price")
        return self


class DiscountForm(Dated):
    provider: str = "*"
    model: Pattern = "*"
    team: str = "*"
    percent: Percent


class CommitmentForm(Dated):
    name: Pattern
    kind: Literal["ptu", "minimum"]
    provider: str = "*"
    model: Pattern = "*"
    per_month: Above


class CreditForm(Dated):
    name: Pattern
    provider: str = "*"
    amount: Above

    @model_validator(mode="after")
    def _check_start(self) -> "CreditForm":
        if self.start is None:
            raise ValueError("`from` is required: a credit is used up from a day on")
        return self


class MarkupForm(Dated):
    team: str = "*"
    percent: Surcharge


class ExchangeForm(Form):
    start: date = Field(alias="from")
    usd: Above


class BookForm(Form):
    name: str = ""
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    exchange: list[ExchangeForm] = []
    prices: list[EntryForm] = []
    discounts: list[DiscountForm] = []
    commitments: list[CommitmentForm] = []
    credits: list[CreditForm] = []
    chargeback: list[MarkupForm] = []

    @model_validator(mode="after")
    def _check_exchange(self) -> "BookForm":
        days = [one.start for one in self.exchange]
        if self.currency != "USD" and not days:
            raise ValueError(f"prices in {self.currency} need `exchange: [{{from: DAY, usd: RATE}}]`")
        if self.currency == "USD" and days:
            raise ValueError("`exchange` has no use where prices are in USD")
        if days != sorted(set(days)):
            raise ValueError("`exchange` must rise by `from`, each day once")
        return self


ALLOWED = ", ".join(UNITS)

__all__ = ["UNITS", "BookForm", "EntryForm"]
