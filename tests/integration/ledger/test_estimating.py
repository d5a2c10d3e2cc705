"""record fills in what was not reported, and remembers what it learned, exactly once."""

from decimal import Decimal

import psycopg
import pytest

from collector.call import Call, Usage, new_call_id, now_ns
from collector.ledger.journals import Journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.recorder import Recorder
from collector.spend.estimates import estimates


@pytest.fixture
def recorder(tmp_path, exporter, prices):
    return lambda: Recorder(Journals(tmp_path), exporter, prices, RecordMetrics(), batch_calls=25)


def call(**fields):
    at = now_ns()
    given = {"provider": "openai", "model": "gpt-4o", "operation": "chat", "status": 200, "stream": True}
    return Call(call_id=new_call_id(at), started_at_ns=at, **given | fields)


def reported():
    return call(
        usage=Usage(input_tokens=200, output_tokens=100),
        usage_source="reported",
        content_chars=400,
        content_events=30,
        request_bytes=1000,
    )


def left():
    return call(outcome="client_left", content_chars=200, content_events=14, request_bytes=500)


def drain(recorder):
    while recorder.record_once():
        pass


def test_what_one_record_learned_the_next_one_knows(journal, recorder, database_url):
    for _ in range(50):
        journal.append(reported())
    drain(recorder())
    journal.append(left())
    drain(recorder())
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT input_tokens, output_tokens, usage_source, usage_problem, cost_usd, price_state"
            " FROM calls WHERE outcome = 'client_left'"
        ).fetchone()
        # 100 x 2.50 + 50 x 10 a million
        assert row[:3] == (100, 50, "estimated")
        assert row[3].startswith("estimated: output by its characters, input by its bytes")
        assert row[4:] == (Decimal("0.00075"), "priced")
        learned = connection.execute("SELECT input_calls, output_calls, output_tests FROM usage_ratios")
        assert learned.fetchall() == [(50, 50, 25)]  # the first batch of 25 had nothing to compare with
        span = connection.execute("SELECT now() - interval '1 day', now() + interval '1 day'").fetchone()
        [told] = estimates(connection, tenant="default", start=span[0], end=span[1])
    assert (told["estimated"], told["estimated_usd"]) == (1, "0.00075")
    assert told["output"] == {"tested_calls": 25, "off": "0.0000", "bias": "0.0000"}
