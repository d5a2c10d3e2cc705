from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import SizewiseError
from collector.sizing.capacity import (
    BYTES,
    break_even_tokens,
    cheapest_fleet,
    instances_for,
    month_usd,
    peak_load,
    plan_fleet,
    published_month,
    read_billions,
    read_tokens,
    replicas_for,
    roi,
    weights_gb,
)
from collector.sizing.instances import find_instance, read_instances

INSTANCES = read_instances()


@pytest.mark.parametrize(("name", "usd"), [("g5.xlarge", "734.38"), ("p4d.24xlarge", "16029.08")])
def test_the_published_months(name: str, usd: str) -> None:
    assert month_usd(INSTANCES[name]) == Decimal(usd)


def test_every_instance_says_where_its_price_is_from() -> None:
    assert all(one.source and one.as_of for one in INSTANCES.values())
    assert INSTANCES["p5.48xlarge"].memory_gb == 640


@pytest.mark.parametrize(
    ("billions", "precision", "gb"),
    [(7, "bf16", "14"), (70, "fp16", "140"), (8, "BF16", "16"), (8, "int4", "4"), (70, "int8", "70")],
)
def test_published_weights(billions: int, precision: str, gb: str) -> None:
    assert weights_gb(Decimal(billions), precision) == Decimal(gb)


@given(st.decimals("0.1", "1000", places=1))
def test_int4_is_a_quarter_of_sixteen_bits(billions: Decimal) -> None:
    assert weights_gb(billions, "int4") * 4 == weights_gb(billions, "bf16")


@pytest.mark.parametrize(
    ("billions", "low", "high"), [(7, "600", "600"), (30, "3000", "3000"), (70, "12000", "18000")]
)
def test_a_hundred_million_tokens_a_day(billions: int, low: str, high: str) -> None:
    assert published_month(read_tokens("100M"), Decimal(billions)) == (Decimal(low), Decimal(high))


def test_a_size_that_nobody_published_has_no_published_cost() -> None:
    assert published_month(1000, Decimal(13)) is None


@pytest.mark.parametrize(
    ("text", "billions"),
    [
        ("70b", "70"),
        ("llama-3.1-8B-instruct", "8"),
        ("Qwen2.5_0.5b", "0.5"),
        ("meta-llama/Llama-3.1-70B", "70"),
    ],
)
def test_sizes_are_read_from_names(text: str, billions: str) -> None:
    assert read_billions(text) == Decimal(billions)


@pytest.mark.parametrize("text", ["gpt-4o", "", "0b", "8bit", "mixtral-8x7b", "qwen3-30b-a3b-7b"])
def test_names_without_one_size_are_refused(text: str) -> None:
    with pytest.raises(SizewiseError, match="how many parameters"):
        read_billions(text)


@pytest.mark.parametrize(
    ("text", "tokens"), [("100M", 10**8), ("2.5b", 25 * 10**8), ("80k", 80_000), ("1,234", 1234)]
)
def test_tokens_are_read(text: str, tokens: int) -> None:
    assert read_tokens(text) == tokens


@pytest.mark.parametrize("text", ["", "0", "-5", "1.5", "100X", "M", "0.0001k"])
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    with pytest.raises(SizewiseError, match="write 100M"):
        read_tokens(text)


def test_the_mean_would_rent_a_third_of_what_the_peak_needs() -> None:
    loads = [Decimal(100)] * 97 + [Decimal(300)] * 3
    assert peak_load(loads) == 300
    assert replicas_for(peak_load(loads), Decimal(143)) == 3
    assert replicas_for(Decimal(100), Decimal(143)) == 1
    fleet = plan_fleet(INSTANCES["g5.xlarge"], Decimal(8), "bf16", replicas=3, spares=1)
    assert (fleet.instances, fleet.month_usd) == (4, 4 * Decimal("734.38"))


def test_without_load_nothing_is_sized() -> None:
    with pytest.raises(SizewiseError, match="no load"):
        peak_load([])
    with pytest.raises(SizewiseError, match="above 0"):
        replicas_for(Decimal(1), Decimal(0))


def test_seventy_billion_fits_where_it_fits() -> None:
    assert instances_for(INSTANCES["p4d.24xlarge"], Decimal(70), "bf16") == 1
    assert instances_for(INSTANCES["g5.xlarge"], Decimal(70), "int4") == 2
    assert instances_for(INSTANCES["g5.xlarge"], Decimal(8), "bf16") == 1
    cheapest = cheapest_fleet(INSTANCES.values(), Decimal(70), "int4", copies=2)
    assert cheapest is not None
    assert cheapest.instance.name == "g6e.xlarge"
    assert cheapest.month_usd == 2 * month_usd(INSTANCES["g6e.xlarge"])
    assert cheapest_fleet(INSTANCES.values(), Decimal(2000), "bf16") is None


@given(st.sampled_from(sorted(BYTES)), st.decimals("0.5", "500", places=1))
def test_a_fleet_always_holds_its_model(precision: str, billions: Decimal) -> None:
    for one in INSTANCES.values():
        assert instances_for(one, billions, precision) * one.memory_gb > weights_gb(billions, precision)


def test_break_even_and_roi() -> None:
    assert break_even_tokens(Decimal("734.38"), Decimal("0.5")) == 1_468_760_000
    assert roi(Decimal(300), Decimal(100)) == 2
    assert roi(Decimal(300), Decimal(0)) is None
    with pytest.raises(SizewiseError, match="no break-even"):
        break_even_tokens(Decimal(1), Decimal(0))


def test_a_precision_or_instance_that_is_unknown_names_those_that_are() -> None:
    with pytest.raises(SizewiseError, match="bf16"):
        weights_gb(Decimal(7), "int3")
    with pytest.raises(SizewiseError, match=r"g5\.xlarge"):
        find_instance("x9", INSTANCES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "source, as_of and instances"),
        ("{source: s, as_of: d, instances: {a: {gpu: L4}}}", "instance a has exactly"),
        (
            "{source: s, as_of: d, instances: {a: {gpu: L4, gpus: 0, gpu_memory_gb: 1, hourly_usd: '1'}}}",
            "above 0",
        ),
        (
            "{source: s, as_of: d, instances: {a: {gpu: L4, gpus: 1, gpu_memory_gb: 1, hourly_usd: x}}}",
            "a decimal",
        ),
    ],
)
def test_a_catalogue_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(SizewiseError, match=said):
        read_instances(file)
