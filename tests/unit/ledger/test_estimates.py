"""Tokens that nobody reported: filled in by what other calls taught, or left unknown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.call import Call, Usage
from collector.ledger.estimates import LEAST_CALLS, Estimator


def reported(chars=400, tokens=100, request_bytes=1000, events=30, **fields):
    usage = Usage(input_tokens=request_bytes // 5, output_tokens=tokens)
    return call(
        usage=usage,
        usage_source="reported",
        content_chars=chars,
        content_events=events,
        request_bytes=request_bytes,
        **fields,
    )


def call(**fields):
    given = {"provider": "openai", "model": "gpt-4o", "operation": "chat", "status": 200, "stream": True}
    return Call(call_id=bytes(16), started_at_ns=1, **given | fields)


def left(**fields):
    early = {"outcome": "client_left", "content_chars": 200, "content_events": 14, "request_bytes": 500}
    return call(**early | {"usage_problem": "the stream ended without a usage"} | fields)


def taught(*calls):
    estimator = Estimator()
    for one in calls or [reported()] * LEAST_CALLS:
        assert estimator.complete(one) is one
    estimator.settle()
    return estimator


def test_a_call_that_was_left_is_counted_by_its_characters_and_bytes():
    # 100 tokens for 400 characters: 200 are 50; 200 tokens for 1000 bytes: 500 are 100
    told = taught().complete(left())
    assert told.usage == Usage(input_tokens=100, output_tokens=50)
    assert told.usage_source == "estimated"
    assert told.usage_problem == (
        "estimated: output by its characters, input by its bytes; the stream ended without a usage"
    )


def test_what_was_reported_stays_and_only_the_rest_is_estimated():
    told = taught().complete(left(usage=Usage(input_tokens=7, cache_read_tokens=3), usage_source="reported"))
    assert told.usage == Usage(input_tokens=7, cache_read_tokens=3, output_tokens=50)
    assert told.usage_source == "estimated"


def test_a_token_an_event_is_counted_and_not_estimated():
    estimator = taught(*[reported(tokens=31, events=30), reported(tokens=30, events=30)] * LEAST_CALLS)
    told = estimator.complete(left(usage=Usage(input_tokens=7)))
    assert (told.usage.output_tokens, told.usage_source) == (14, "derived")
    assert told.usage_problem.startswith("derived: output counted by events;")


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": "error", "status": 500, "content_chars": 0, "content_events": 0},
        {"outcome": "error", "status": 429},
        {"outcome": "refused", "status": 0},
        {"content_chars": 0, "content_events": 0},  # left before anything was generated
        {"model": "another"},
        {"provider": "azure"},
        {"operation": "responses"},
        {"request_bytes": 4001},  # four times larger than any that taught
    ],
)
def test_without_a_basis_unknown_stays_unknown(fields):
    one = left(**fields)
    assert taught().complete(one) is one


def test_too_few_calls_are_no_basis():
    one = left()
    assert taught(*[reported()] * (LEAST_CALLS - 1)).complete(one) is one


def test_a_model_whose_guesses_are_off_by_half_is_not_guessed():
    estimator = taught()
    for number in range(2 * LEAST_CALLS):
        estimator.complete(reported(tokens=(1, 4000)[number % 2]))
    estimator.settle()
    one = left()
    assert estimator.complete(one) is one


def test_guesses_are_tried_on_reported_calls_before_these_teach():
    estimator = taught()
    estimator.complete(reported(chars=400, tokens=120))
    [(_, fresh)] = estimator.fresh()
    assert (fresh.output_tests, fresh.output_actual, fresh.output_guessed, fresh.output_off) == (
        1,
        120,
        100,
        20,
    )
    assert (fresh.input_tests, fresh.input_off) == (1, 0)


def test_a_batch_that_did_not_get_through_teaches_nothing():
    estimator = taught()
    estimator.complete(reported())
    estimator.begin()
    assert estimator.fresh() == []
    again = Estimator()
    again.load(
        {("default", "openai", "gpt-4o", "chat"): taught()._known["default", "openai", "gpt-4o", "chat"]}
    )
    assert again.complete(left()).usage == Usage(input_tokens=100, output_tokens=50)


def test_what_cannot_be_a_key_or_claims_the_absurd_teaches_nothing():
    estimator = Estimator()
    estimator.complete(reported(model="m" * 161))
    estimator.complete(reported(model="m\0"))
    assert estimator.fresh() == []
    estimator.complete(reported(chars=1, tokens=2**62))
    [(_, fresh)] = estimator.fresh()
    assert fresh.output_calls == 0


def test_embeddings_without_a_usage_are_counted_by_their_request():
    embedding = {"operation": "embeddings", "stream": False, "request_bytes": 1000}
    usage = Usage(input_tokens=200)
    estimator = taught(*[call(usage=usage, usage_source="reported", **embedding)] * LEAST_CALLS)
    told = estimator.complete(call(**embedding | {"request_bytes": 50}))
    assert (told.usage, told.usage_source) == (Usage(input_tokens=10), "estimated")


PAIRS = st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), min_size=40, max_size=60)


@settings(max_examples=200, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_within_a_batch_does_not_matter(pairs, chance):
    calls = [reported(chars=chars, tokens=tokens) for chars, tokens in pairs]
    mixed = chance.sample(calls, len(calls))
    assert taught(*calls)._known == taught(*mixed)._known
