"""Rollups: sums to the last digit, whatever the zone; bins that hold what they say."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ledger.metrics import OTHER, RecordMetrics
from collector.ledger.prices import PriceList
from collector.ledger.rollups import Total, add_up, bin_of
from collector.ledger.rows import read_span
from collector.ledger.spans import call_span
from tests.unit.ledger.conftest import CALLS

PRICES = PriceList()
ZONES = ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"]


@settings(max_examples=60, deadline=None)
@given(st.lists(CALLS, max_size=12), st.sampled_from(ZONES))
def test_hours_and_days_sum_to_the_rows(calls, zone):
    rows = [read_span(call_span(call, PRICES.price(call), bytes(16))) for call in calls]
    added = add_up(rows).align(ZoneInfo(zone))
    for totals in (added.hours, added.days):
        assert sum(total.calls for total in totals) == len(rows)
        cost = sum((row.cost_usd or Decimal(0) for row in rows), Decimal(0))
        assert sum((total.cost_usd for total in totals), Decimal(0)) == cost
        assert sum(total.input_tokens for total in totals) == sum(row.input_tokens or 0 for row in rows)
        assert sum(total.unpriced for total in totals) == sum(row.price_state == "unpriced" for row in rows)
        keys = [(total.bucket, total.tenant_id, total.team, total.provider, total.model) for total in totals]
        assert keys == sorted(set(keys))
    assert all(total.bucket.astimezone(ZoneInfo(zone)).hour == 0 for total in added.days)
    by_measure = Counter()
    for one in added.latency:
        by_measure[one.measure] += one.calls
    assert by_measure["duration"] == len(rows)
    assert by_measure["relay"] == sum(row.relay_us is not None for row in rows)


@given(st.integers(2, 2**45))
def test_a_bin_holds_its_time(microseconds):
    number = bin_of(microseconds)
    assert 2 ** (number / 8) <= microseconds * (1 + 1e-12)
    assert microseconds < 2 ** ((number + 1) / 8) * (1 + 1e-12)


@pytest.mark.parametrize("microseconds", [0, 1])
def test_the_first_bin_holds_what_took_no_time(microseconds):
    assert bin_of(microseconds) == 0


def test_labels_are_bounded_and_junk_has_no_name():
    metrics = RecordMetrics()
    start = datetime(2026, 11, 1, tzinfo=ZoneInfo("UTC"))
    for number in range(500):
        used = Total(start + timedelta(0), "t", "", "openai", f"m{number}", calls=1, input_tokens=5)
        metrics.count_batch([used, Total(start, "t", "", "openai", f"junk{number}", calls=1)], [], 0, 0.01)
    usage = next(one for one in metrics.collect() if one.name == "gen_ai_client_token_usage")
    models = {sample.labels["gen_ai_request_model"] for sample in usage.samples}
    assert len(models) == 101
    assert OTHER[1] in models
    assert not any(model.startswith("junk") for model in models)
    total = sum(one.value for one in usage.samples if one.name.endswith("_sum"))
    assert total == 2500
