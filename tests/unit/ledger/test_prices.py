"""Prices: against arithmetic done by hand, and against the list's own calculator."""

import warnings
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as ListUsage
from genai_prices.data_snapshot import get_snapshot
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collector.call import Call, Usage
from collector.ledger.prices import PriceList
from collector.ledger.rates import COUNTED_BY

NOON = int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
PRICES = PriceList()
PRIORITY, DEFAULT = {"service_tier": "priority"}, {"service_tier": "default"}
MODELS = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]


def call(provider="openai", model="gpt-4o", usage=None, **fields):
    fields = {"operation": "chat", "status": 200, "started_at_ns": NOON, **fields}
    return Call(call_id=bytes(16), provider=provider, model=model, usage=usage, **fields)


def price(*args, **fields):
    return PRICES.price(call(*args, **fields))


@pytest.mark.parametrize(
    ("provider", "model", "usage", "fields", "cost_usd"),
    [
        # 1000 x 2.50 + 200 x 10 a million
        ("openai", "gpt-4o", Usage(input_tokens=1000, output_tokens=200), {}, "0.0045"),
        # 900 x 2.50 + 100 x 1.25 + 0
        (
            "openai",
            "gpt-4o",
            Usage(input_tokens=1000, output_tokens=0, cache_read_tokens=100),
            {},
            "0.002375",
        ),
        # reasoning is part of the output: 500 x 10
        ("openai", "gpt-5", Usage(input_tokens=0, output_tokens=500, reasoning_tokens=400), {}, "0.005"),
        # priority costs 4.25 and 17
        (
            "openai",
            "gpt-4o",
            Usage(input_tokens=1000, output_tokens=200),
            {"service_tier": "priority"},
            "0.00765",
        ),
        # "default" is no tier of its own
        (
            "openai",
            "gpt-4o",
            Usage(input_tokens=1000, output_tokens=200),
            {"service_tier": "default"},
            "0.0045",
        ),
        # 100 x 3 + 500 x 0.30 + 300 x 3.75 + 100 x 6 (an hour) + 50 x 15
        (
            "anthropic",
            "claude-sonnet-4-0",
            Usage(
                input_tokens=1000,
                output_tokens=50,
                cache_read_tokens=500,
                cache_write_tokens=400,
                cache_write_1h_tokens=100,
            ),
            {},
            "0.002925",
        ),
        # above 200,000 every unit has the long price: 200,000 x 6 + 1 x 0.60 + 10 x 22.50
        (
            "anthropic",
            "claude-sonnet-4-5",
            Usage(input_tokens=200_001, output_tokens=10, cache_read_tokens=1),
            {},
            "1.2002256",
        ),
        # at the threshold the short one: 200,000 x 3 + 10 x 15
        ("anthropic", "claude-sonnet-4-5", Usage(input_tokens=200_000, output_tokens=10), {}, "0.60015"),
        # searches by the thousand: 3 x 10 / 1000
        (
            "anthropic",
            "claude-sonnet-4-0",
            Usage(input_tokens=0, output_tokens=0, web_searches=3),
            {},
            "0.03",
        ),
        # audio has its own price inside the input: 40 x 0.30 + 60 x 1 + 10 x 2.50
        (
            "google",
            "gemini-2.5-flash",
            Usage(input_tokens=100, output_tokens=10, input_audio_tokens=60),
            {},
            "0.000097",
        ),
        # 90 s at 0.36 an hour; the least that is billed elsewhere is 10 s at 0.111
        ("openai", "whisper-1", Usage(audio_seconds=90.0), {"operation": "audio_transcriptions"}, "0.009"),
        (
            "openai",
            "text-embedding-3-small",
            Usage(input_tokens=1_000_000),
            {"operation": "embeddings"},
            "0.02",
        ),
    ],
)
def test_cases_by_hand(provider, model, usage, fields, cost_usd):
    priced = price(provider, model, usage, **fields)
    assert priced.price_state == "priced"
    assert priced.cost_usd == Decimal(cost_usd)
    assert sum(priced.parts.values()) == priced.cost_usd


def test_an_hour_of_cache_costs_twice_the_input_where_the_list_says_nothing():
    entries = [
        (provider.id, model.id)
        for provider in get_snapshot().providers
        for model in provider.models
        if "claude" in model.id and PRICES_OF(model) and not PRICES_OF(model).cache_write_1h_mtok
    ]
    provider, model = next(entry for entry in entries if entry[0] in {"aws", "openrouter", "azure", "google"})
    usage = Usage(input_tokens=10, output_tokens=0, cache_write_tokens=10, cache_write_1h_tokens=10)
    priced = price(provider, model, usage)
    rates = priced.band.version.rates
    assert Decimal(rates["cache_write_1h_mtok"]) == 2 * Decimal(rates["input_mtok"])
    assert "assumed 2 x input_mtok" in priced.band.version.origin
    assert priced.cost_usd == 10 * Decimal(rates["cache_write_1h_mtok"]) / 1_000_000


def PRICES_OF(model):  # noqa: N802
    prices = model.get_prices(datetime(2026, 11, 1, tzinfo=UTC))
    return prices if prices.cache_write_mtok and prices.input_mtok else None


@pytest.mark.parametrize(
    ("fields", "state", "cost_usd"),
    [
        ({"outcome": "refused", "status": 0}, "not_billed", 0),
        ({"outcome": "upstream_unreachable", "status": 0}, "not_billed", 0),
        ({"outcome": "error", "status": 429}, "not_billed", 0),
        ({"outcome": "error", "status": 500}, "not_billed", 0),
        ({"outcome": "error", "status": 200}, "unknown_usage", None),  # an error in mid-stream: work was done
        ({"outcome": "interrupted", "status": 0}, "unknown_usage", None),
        ({"outcome": "client_left"}, "unknown_usage", None),
        ({"outcome": "ok"}, "unknown_usage", None),
        ({"outcome": "ok", "usage": Usage()}, "unknown_usage", None),
        ({"usage": Usage(output_tokens=5)}, "unknown_usage", None),  # absent is not zero
        ({"usage": Usage(input_tokens=5)}, "unknown_usage", None),
        ({"usage": Usage(input_tokens=5, output_tokens=0, cache_read_tokens=6)}, "unknown_usage", None),
        ({"usage": Usage(input_tokens=5, output_tokens=5), "provider": ""}, "unpriced", None),
        ({"usage": Usage(input_tokens=5, output_tokens=5), "provider": "nobody"}, "unpriced", None),
        ({"usage": Usage(input_tokens=5, output_tokens=5), "model": "my-own-model"}, "unpriced", None),
        ({"usage": Usage(input_tokens=5, output_tokens=5), "service_tier": "gold"}, "unpriced", None),
        ({"usage": Usage(input_tokens=0, output_tokens=0)}, "priced", 0),
        (
            {"usage": Usage(input_tokens=9, output_tokens=9), "model": "text-embedding-3-small"},
            "unpriced",
            None,
        ),
    ],
)
def test_states(fields, state, cost_usd):
    priced = price(**fields)
    assert (priced.price_state, priced.cost_usd) == (state, cost_usd)


def test_the_served_model_is_asked_first_and_the_requested_one_is_the_way_back():
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    assert price(model="gpt-4o", served_model="gpt-4o-mini-2024-07-18", usage=usage).cost_usd == Decimal(
        "0.15"
    )
    assert price(model="gpt-4o", served_model="deployment-7", usage=usage).cost_usd == Decimal("2.5")


def test_prices_follow_the_date_of_the_call():
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    early = int(datetime(2026, 3, 12, 23, 59, tzinfo=UTC).timestamp()) * 1_000_000_000
    late = early + 60 * 1_000_000_000
    assert price("anthropic", "claude-opus-4-6", usage, started_at_ns=early).cost_usd == 10
    assert price("anthropic", "claude-opus-4-6", usage, started_at_ns=late).cost_usd == 5


def test_a_version_is_told_by_its_content_alone():
    usage = Usage(input_tokens=1, output_tokens=1)
    first, again = PriceList(), PriceList()
    assert first.price(call(usage=usage)).price_id == again.price(call(usage=usage)).price_id
    long = Usage(input_tokens=300_000, output_tokens=1)
    one = first.price(call("anthropic", "claude-sonnet-4-5", usage))
    other = first.price(call("anthropic", "claude-sonnet-4-5", long))
    assert one.price_id != other.price_id
    assert first.versions[other.price_id].origin.endswith("above 200000 input tokens")


def test_model_names_that_clients_invent_do_not_fill_the_memory():
    prices = PriceList()
    for number in range(5000):
        prices.price(call(model=f"made-up-{number}", usage=Usage(input_tokens=1, output_tokens=1)))
    assert len(prices._rates) <= 4096


tokens = st.integers(0, 400_000)


@st.composite
def usages(draw):
    read, write, audio, rest = draw(tokens), draw(tokens), draw(st.integers(0, 100)), draw(tokens)
    hour = draw(st.integers(0, write))
    output, reasoning = draw(tokens), draw(st.integers(0, 100))
    return Usage(
        input_tokens=read + write + audio + rest,
        output_tokens=output + reasoning,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=hour,
        reasoning_tokens=reasoning,
        input_audio_tokens=audio,
        cache_audio_read_tokens=0,
        web_searches=draw(st.integers(0, 5)),
    )


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(MODELS), usages(), st.dates(date(2024, 1, 1), date(2027, 12, 31)), st.integers(0, 1439)
)
def test_the_cost_is_the_lists_own_and_its_parts_sum_to_it(entry, usage, day, minute):
    provider_id, model_id = entry
    at = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=UTC)
    one = call(provider_id, model_id, usage, started_at_ns=int(at.timestamp()) * 1_000_000_000)
    priced = PRICES.price(one)
    if priced.band is None:
        return
    assume("assumed" not in priced.band.version.origin)
    listed = {unit: getattr(usage, field) for unit, field in COUNTED_BY.items() if field}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = get_snapshot().calc(ListUsage(**listed), model_id, provider_id, None, at)
    # Some entries have rates of 17 decimals; a part is rounded at the 18th decimal of a dollar.
    assert abs(priced.cost_usd - theirs.total_price) <= Decimal("1e-18") * len(priced.band.rates)
    assert sum(priced.parts.values(), Decimal(0)) == priced.cost_usd
    assert isinstance(priced.cost_usd, Decimal)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.builds(
        Usage,
        input_tokens=st.none() | tokens,
        output_tokens=st.none() | tokens,
        cache_read_tokens=st.none() | tokens,
        cache_write_tokens=st.none() | tokens,
        cache_write_1h_tokens=st.none() | tokens,
        input_audio_tokens=st.none() | tokens,
        audio_seconds=st.none() | st.floats(0, 1e6),
    ),
)
def test_tokens_are_never_free_in_silence(entry, usage):
    priced = PRICES.price(call(*entry, usage))
    if priced.price_state == "priced" and not priced.cost_usd:
        assert not usage.input_tokens
        assert not usage.output_tokens
    if priced.price_state in {"unpriced", "unknown_usage"}:
        assert priced.cost_usd is None
