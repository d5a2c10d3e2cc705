"""A book of one's own: against arithmetic done by hand, and who wins over whom."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.call import Call, Usage
from collector.ledger.book_file import read_book
from collector.ledger.prices import PriceList
from collector.spend.arithmetic import arithmetic

USAGE = Usage(input_tokens=1000, output_tokens=200)


@pytest.fixture
def book_of(tmp_path):
    def make(text, name="acme.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return read_book(path)

    return make


def at(day):
    return int(datetime.fromisoformat(f"{day}T12:00:00+00:00").astimezone(UTC).timestamp()) * 10**9


def price(book, model="gpt-4o", usage=USAGE, day="2026-11-01", aliases=None, provider="openai", **fields):
    call = Call(
        call_id=bytes(16),
        started_at_ns=at(day),
        provider=provider,
        model=model,
        usage=usage,
        operation="chat",
        status=200,
        **fields,
    )
    return PriceList(book, aliases).price(call)


@pytest.mark.parametrize(
    ("text", "call", "cost_usd", "origin"),
    [
        # 1000 x 2 + 200 x 8 a million
        ('prices: [{model: "gpt-4*", input: 2, output: 8}]', {}, "0.0036", "acme.yaml"),
        # the whole input is long: 300,000 x 4 + 200 x 8, since the tier doesn't name the output
        (
            "prices: [{model: gpt-4o, input: 2, output: 8, tiers: [{above_input_tokens: 200000, input: 4}]}]",
            {"usage": Usage(input_tokens=300_000, output_tokens=200)},
            "1.2016",
            "acme.yaml, above 200000 input tokens",
        ),
        # 1000 x 2.25 x 1.08 + 200 x 9 x 1.08 until October, at 1.10 from November on
        (
            "{currency: EUR, exchange: [{from: 2026-01-01, usd: 1.08}, {from: 2026-11-01, usd: 1.1}],"
            " prices: [{model: gpt-4o, input: 2.25, output: 9, from: 2026-01-01}]}",
            {"day": "2026-10-31"},
            "0.004374",
            "acme.yaml, EUR at 1.08 dollars",
        ),
        (
            "{currency: EUR, exchange: [{from: 2026-01-01, usd: 1.08}, {from: 2026-11-01, usd: 1.1}],"
            " prices: [{model: gpt-4o, input: 2.25, output: 9, from: 2026-01-01}]}",
            {},
            "0.004455",
            "acme.yaml, EUR at 1.1 dollars",
        ),
        # the list's 0.0045 less an eighth
        ("discounts: [{provider: openai, percent: 12.5}]", {}, "0.0039375", "12.5 % off (acme.yaml)"),
        # one's own price is discounted too, unless it is net
        (
            "{prices: [{model: gpt-4o, input: 2, output: 8}], discounts: [{percent: 50}]}",
            {},
            "0.0018",
            "acme.yaml, 50 % off (acme.yaml)",
        ),
        (
            "{prices: [{model: gpt-4o, input: 2, output: 8, net: true}], discounts: [{percent: 50}]}",
            {},
            "0.0036",
            "acme.yaml",
        ),
        # 3 images at 40 a thousand, 2 reranks at 2, the request itself at 5
        (
            "prices: [{model: m, provider: '', per_1k_images: 40, per_1k_reranks: 2, per_1k_requests: 5}]",
            {"model": "m", "provider": "", "usage": Usage(images=3, search_units=2, input_tokens=7)},
            "0.129",
            "acme.yaml",
        ),
        # 90 s at 0.006 a minute
        (
            "prices: [{model: ears, audio_minute: 0.006}]",
            {"model": "ears", "usage": Usage(audio_seconds=90.0)},
            "0.009",
            "acme.yaml",
        ),
        # an hour of cache is twice the input in a book as well: 10 x 3 x 2
        (
            "prices: [{model: claude-x, provider: anthropic, input: 3, output: 15, cache_write: 3.75}]",
            {
                "model": "claude-x",
                "provider": "anthropic",
                "usage": Usage(
                    input_tokens=10, output_tokens=0, cache_write_tokens=10, cache_write_1h_tokens=10
                ),
            },
            "0.00006",
            "acme.yaml, cache_write_1h_mtok assumed 2 x input_mtok",
        ),
    ],
)
def test_cases_by_hand(book_of, text, call, cost_usd, origin):
    priced = price(book_of(text), **call)
    assert (priced.price_state, priced.cost_usd) == ("priced", Decimal(cost_usd))
    assert priced.band.version.origin.endswith(origin)
    assert sum(priced.parts.values()) == priced.cost_usd


TEAMS = """
prices:
  - {model: gpt-4o, team: "search*", input: 1, output: 1}
  - {model: gpt-4o, region: eu-*, input: 3, output: 3}
  - {model: gpt-4o, service_tier: priority, input: 9, output: 9}
  - {model: gpt-4o, to: 2026-07-01, input: 4, output: 4}
  - {model: gpt-4o, from: 2026-07-01, input: 5, output: 5}
"""


@pytest.mark.parametrize(
    ("fields", "a_million"),
    [
        ({"team": "search-eu", "zone": "eu-west-1"}, 1),
        ({"zone": "eu-west-1"}, 3),
        ({"service_tier": "priority", "team": "search"}, 9),
        ({"service_tier": "default"}, 5),
        ({"day": "2026-06-30"}, 4),
        ({"day": "2026-07-01"}, 5),
    ],
)
def test_the_first_entry_that_matches_wins(book_of, fields, a_million):
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    assert price(book_of(TEAMS), usage=usage, **fields).cost_usd == a_million


def test_what_an_entry_does_not_speak_of_is_left_to_the_public_list(book_of):
    book = book_of("prices: [{model: gpt-4o, input: 1, output: 1}]")
    assert price(book, service_tier="priority").cost_usd == Decimal("0.00765")
    assert price(book, model="gpt-4o-mini").cost_usd == Decimal("0.00027")


def test_two_teams_share_no_rates_in_the_cache(book_of):
    prices = PriceList(book_of(TEAMS))
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    calls = [
        Call(
            call_id=bytes(16),
            started_at_ns=at("2026-11-01"),
            provider="openai",
            model="gpt-4o",
            team=team,
            usage=usage,
        )
        for team in ("search", "other", "search")
    ]
    assert [prices.price(call).cost_usd for call in calls] == [1, 5, 1]


def test_free_is_said_and_never_assumed(book_of):
    book = book_of('prices: [{model: "llama-*", provider: "", team: research, free: true}]')
    free = price(book, model="llama-8b", provider="", team="research")
    assert (free.price_state, free.cost_usd) == ("free", 0)
    assert free.price_id
    assert price(book, model="llama-8b", provider="", team="sales").price_state == "unpriced"


def test_a_unit_without_a_price_leaves_the_call_unpriced(book_of):
    assert price(book_of("prices: [{model: gpt-4o, input: 1}]")).price_state == "unpriced"
    images = book_of("prices: [{model: gpt-4o, per_1k_images: 1}]")
    assert price(images).price_state == "unpriced"  # tokens, and not one image


def test_an_alias_goes_before_the_names_it_stands_for(book_of):
    aliases = {"prod-chat": "gpt-4o-mini"}
    assert price(None, model="prod-chat", aliases=aliases).cost_usd == Decimal("0.00027")
    assert price(None, model="prod-chat", served_model="gpt-4o", aliases=aliases).cost_usd == Decimal(
        "0.00027"
    )
    own = book_of("prices: [{model: prod-chat, input: 1, output: 1}]")
    assert price(own, model="prod-chat").cost_usd == Decimal("0.0012")


def test_a_new_book_holds_for_the_next_call(book_of):
    prices = PriceList(book_of("prices: [{model: m, input: 1, output: 1}]"))
    call = Call(call_id=bytes(16), started_at_ns=at("2026-11-01"), model="m", usage=USAGE)
    first = prices.price(call)
    prices.use(book_of("prices: [{model: m, input: 2, output: 2}]", "other.yaml"))
    assert prices.price(call).cost_usd == 2 * first.cost_usd
    assert first.price_id in prices.versions


money = st.decimals(min_value="0.000001", max_value="1000", places=6)
counts = st.integers(0, 10**7)


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {"input": money, "output": money}, optional={"cache_read": money, "reasoning": money}
    ),
    st.decimals(min_value="0.01", max_value="99.99", places=2),
    st.decimals(min_value="0.01", max_value="200", places=4),
    counts,
    counts,
    counts,
    counts,
)
def test_parts_sum_to_the_cost_and_the_stored_rates_explain_it(
    tmp_path_factory, rates, percent, usd, read, rest, reasoning, output
):
    path = tmp_path_factory.mktemp("books") / "b.yaml"
    listed = ", ".join(f"{unit}: '{value}'" for unit, value in rates.items())
    path.write_text(
        f"{{currency: EUR, exchange: [{{from: 2026-01-01, usd: '{usd}'}}],"
        f" prices: [{{model: m, from: 2026-01-01, {listed}}}], discounts: [{{percent: '{percent}'}}]}}"
    )
    usage = Usage(
        input_tokens=read + rest,
        cache_read_tokens=read,
        output_tokens=output + reasoning,
        reasoning_tokens=reasoning,
    )
    priced = price(read_book(path), model="m", provider="", usage=usage)
    if priced.cost_usd is None:
        assert priced.price_state == "unpriced"
        return
    assert sum(priced.parts.values(), Decimal(0)) == priced.cost_usd
    row = {
        "price_rates": priced.band.version.rates,
        "cost_usd": priced.cost_usd,
        **{name: getattr(usage, name) for name in Usage.__struct_fields__},
    }
    assert arithmetic(row).rest_usd == 0


def test_money_before_the_first_rate_of_exchange_is_unknown(book_of):
    book = book_of(
        "{currency: EUR, exchange: [{from: 2026-01-01, usd: 1.1}],"
        " prices: [{model: m, from: 2026-01-01, input: 1}]}"
    )
    assert book.entries[0].currency.usd_on(date(2025, 12, 31)) is None
    assert book.entries[0].currency.usd_on(date(2026, 1, 1)) == Decimal("1.1")
