import uuid
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.call import Call, Usage, new_call_id
from collector.errors import SizewiseError
from collector.ledger.prices import PriceList
from collector.spend.arithmetic import arithmetic
from collector.spend.calls import Cursor, read_cursor, windows

AT_NS = 1_790_000_000_000_000_000
PRICES = PriceList()


def row_for(provider: str, model: str, usage: Usage) -> dict[str, object]:
    call = Call(
        call_id=new_call_id(AT_NS),
        started_at_ns=AT_NS,
        provider=provider,
        model=model,
        usage=usage,
        status=200,
    )
    priced = PRICES.price(call)
    version = PRICES.versions.get(priced.price_id)
    return {
        **msgspec.structs.asdict(usage),
        "cost_usd": priced.cost_usd,
        "price_rates": version.rates if version else None,
    }


counts = st.integers(0, 300_000)


@given(counts, counts, counts, st.sampled_from([("openai", "gpt-4o"), ("anthropic", "claude-haiku-4-5")]))
def test_the_lines_add_up_to_what_the_ledger_has(
    fresh: int, cached: int, out: int, of: tuple[str, str]
) -> None:
    usage = Usage(input_tokens=fresh + cached, cache_read_tokens=cached, output_tokens=out)
    row = row_for(*of, usage)
    found = arithmetic(row)
    assert found is not None
    assert found.rest_usd == 0
    assert found.sum_usd == row["cost_usd"]
    assert sum(line.quantity for line in found.lines) == fresh + cached + out


def test_every_line_can_be_multiplied_by_hand() -> None:
    found = arithmetic(
        row_for("openai", "gpt-4o", Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=10))
    )
    assert found is not None
    assert [(line.title, line.quantity) for line in found.lines] == [
        ("Input, not from cache", 600),
        ("Input, read from cache", 400),
        ("Output", 10),
    ]
    for line in found.lines:
        assert line.unit == "1M"
        assert line.cost_usd == line.quantity * line.rate_usd / 1_000_000


def test_a_cost_that_the_rates_do_not_explain_is_said() -> None:
    row = row_for("openai", "gpt-4o", Usage(input_tokens=1000, output_tokens=10))
    found = arithmetic(row | {"cost_usd": row["cost_usd"] + Decimal("0.5")})  # type: ignore[operator]
    assert found is not None
    assert found.rest_usd == Decimal("0.5")


def test_without_price_or_with_unknown_units_nothing_is_made_up() -> None:
    assert arithmetic({"price_rates": None, "cost_usd": None}) is None
    assert arithmetic({"price_rates": {"moon_mtok": "1"}, "cost_usd": Decimal(1)}) is None


def test_a_cursor_reads_back() -> None:
    cursor = Cursor(datetime(2026, 10, 1, 2, 3, 4, 5, tzinfo=UTC), uuid.UUID(int=7))
    assert read_cursor(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text", ["", "x", "2026-10-01T00:00:00.000000Z_", "2026-99-01T00:00:00.000000Z_" + "0" * 36]
)
def test_no_cursor_is_guessed(text: str) -> None:
    with pytest.raises(SizewiseError, match="no cursor"):
        read_cursor(text)


@given(st.integers(0, 2**128 - 1))
def test_any_id_has_a_window_to_search(value: int) -> None:
    assert windows(uuid.UUID(int=value))[-1][0].year == 1970
