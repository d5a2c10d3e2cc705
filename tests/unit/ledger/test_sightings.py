"""What spans of different libraries tell of a call; which spans are none."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector.call import Usage
from collector.ledger.settling import Relayed, settle
from collector.ledger.sightings import BadSpan, Place, Places, see

TRACE, SPAN, PARENT = b"t" * 16, b"s" * 8, b"p" * 8
START = 1_790_000_000_000_000_000
CLIENT, SERVER, INTERNAL = Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL


def value_of(value):
    if isinstance(value, list):
        found = AnyValue()
        found.array_value.values.extend(map(value_of, value))
        return found
    kind = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}[type(value)]
    return AnyValue(**{kind: value})


def make_span(attributes, kind=CLIENT, failed=False, **more):
    told = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "start_time_unix_nano": START,
        "end_time_unix_nano": START + 250_000_000,
    }
    return Span(
        **(told | more),
        kind=kind,
        status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET),
        attributes=[KeyValue(key=key, value=value_of(value)) for key, value in attributes.items()],
    )


def sight(attributes, places=None, resource=None, **more):
    return see(make_span(attributes, **more), resource or {}, "default", places or Places())


def call_of(*args, **more):
    found = sight(*args, **more)
    assert found is not None
    assert found.call is not None
    return found.call


GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.response.model": "claude-sonnet-4-5-20250929",
    "gen_ai.response.id": "msg_1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.request.stream": True,
    "gen_ai.response.time_to_first_chunk": 0.2,
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 7,
    "gen_ai.usage.cache_read.input_tokens": 60,
    "gen_ai.usage.cache_creation.input_tokens": 20,
    "server.address": "api.anthropic.com",
    "gen_ai.input.messages": "a secret",
}
LOOP = {
    "llm.request.type": "chat",
    "gen_ai.system": "OpenAI",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.prompt_tokens": 100,
    "gen_ai.usage.completion_tokens": 7,
    "gen_ai.usage.cache_read_input_tokens": 60,
    "llm.usage.total_tokens": 107,
    "llm.is_streaming": False,
    "gen_ai.openai.api_base": "https://api.openai.com/v1/",
    "gen_ai.completion.0.finish_reason": "stop",
    "gen_ai.prompt.0.content": "a secret",
    "traceloop.association.properties.team": "search",
}
INFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.provider": "openai",
    "llm.token_count.prompt": 100.0,
    "llm.token_count.completion": "7",
    "llm.token_count.prompt_details.cache_read": 60,
    "llm.token_count.completion_details.reasoning": 3,
    "user.id": "u1",
    "input.value": "a secret",
}


def test_each_librarys_names_are_read():
    call = call_of(GENAI, parent_span_id=PARENT)
    usage = Usage(input_tokens=100, output_tokens=7, cache_read_tokens=60, cache_write_tokens=20)
    assert (call.usage, call.usage_source, call.provider, call.operation) == (
        usage,
        "reported",
        "anthropic",
        "chat",
    )
    assert (call.model, call.served_model, call.response_id) == (
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929",
        "msg_1",
    )
    assert (call.stream, call.finish_reason, call.first_content_us, call.duration_us) == (
        True,
        "stop",
        200_000,
        250_000,
    )
    assert (call.trace_id, call.parent_span_id, call.call_id[8:]) == (TRACE, PARENT, SPAN)
    loop = call_of(LOOP)
    assert loop.usage == Usage(input_tokens=100, output_tokens=7, cache_read_tokens=60)
    assert (loop.provider, loop.team, loop.finish_reason, loop.stream) == ("openai", "search", "stop", False)
    inference = call_of(INFERENCE, kind=INTERNAL)
    assert inference.usage == Usage(
        input_tokens=100, output_tokens=7, cache_read_tokens=60, reasoning_tokens=3
    )
    assert (inference.model, inference.provider, inference.end_user) == ("gpt-4o", "openai", "u1")
    for one in (call, loop, inference):
        assert b"secret" not in msgspec.msgpack.encode(one)


def test_cached_tokens_that_a_library_leaves_out_are_part_of_the_input():
    call = call_of(GENAI | {"gen_ai.usage.input_tokens": 20})
    assert call.usage == Usage(input_tokens=100, output_tokens=7, cache_read_tokens=60, cache_write_tokens=20)


@pytest.mark.parametrize(
    "attributes",
    [
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.request.model": "m",
            "gen_ai.usage.input_tokens": 9,
        },
        {"gen_ai.operation.name": "execute_tool"},
        {"traceloop.span.kind": "workflow", "gen_ai.system": "x", "gen_ai.request.model": "m"},
        {"openinference.span.kind": "CHAIN", "llm.model_name": "m", "llm.token_count.prompt": 4},
        {"openinference.span.kind": "AGENT", "gen_ai.operation.name": "chat"},
        {"code.function": "WorkerWrapperBase.init_worker"},
        {"db.system": "postgresql"},
    ],
)
def test_what_is_no_call(attributes):
    assert sight(attributes) is None


def test_a_request_that_was_turned_away_is_no_call():
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "error.type": "BadRequestError"}
    assert sight(asked, failed=True) is None
    broken = call_of(asked | {"gen_ai.response.id": "chatcmpl-1"}, failed=True)
    assert (broken.outcome, broken.error_type, broken.usage) == ("error", "BadRequestError", None)
    assert call_of(asked).usage_source == "unknown"


VLLM = {
    "gen_ai.request.id": "chatcmpl-95bb7be4fe4d84e7",
    "gen_ai.usage.prompt_tokens": 34,
    "gen_ai.usage.completion_tokens": 4,
    "gen_ai.latency.time_to_first_token": 0.005,
    "gen_ai.latency.time_in_queue": 0.001,
    "gen_ai.latency.time_in_model_inference": 0.0148,
}


def test_vllms_span_is_the_servers_view():
    found = sight(VLLM, kind=SERVER)
    assert (found.kind, found.response_id) == ("server", "chatcmpl-95bb7be4fe4d84e7")
    assert found.call.usage == Usage(input_tokens=34, output_tokens=4)
    assert (found.call.queue_us, found.call.engine_us, found.call.provider) == (1000, 14_800, "")
    counted = {
        "cmpl-a32d3e4018f40c34-1": "cmpl-a32d3e4018f40c34",
        "resp_9cb9d2f490787ad2_0": "resp_9cb9d2f490787ad2",
    }
    counted["chatcmpl-my-req-123"] = "chatcmpl-my-req-123"
    for said, reply in counted.items():
        assert sight(VLLM | {"gen_ai.request.id": said}, kind=SERVER).response_id == reply
    turned_away = {name: value for name, value in VLLM.items() if not name.startswith("gen_ai.usage")}
    assert sight(turned_away, kind=SERVER) is None


def test_a_server_of_ones_own_has_no_vendors_price():
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.system": "openai"}
    assert call_of(asked).provider == "openai"
    assert call_of(asked | {"server.address": "10.0.0.7", "server.port": 8000}).provider == ""
    assert call_of(asked | {"server.address": "x.openai.azure.com"}).provider == "azure"
    places = Places({("10.0.0.7", 8000): Place("gpu", "", "on-prem")}, frozenset({("127.0.0.1", 4000)}))
    call = call_of(asked | {"server.address": "10.0.0.7", "server.port": 8000}, places)
    assert (call.upstream, call.provider, call.zone) == ("gpu", "", "on-prem")
    relayed = sight(asked | {"gen_ai.openai.api_base": "http://127.0.0.1:4000/v1"}, places)
    assert relayed.kind == "relayed"


@pytest.mark.parametrize(
    "more",
    [
        {"trace_id": b""},
        {"trace_id": bytes(16)},
        {"span_id": b"short"},
        {"parent_span_id": b"short"},
        {"start_time_unix_nano": 0},
        {"end_time_unix_nano": START - 1},
        {"end_time_unix_nano": 2**63},
    ],
)
def test_spans_that_break_the_protocol(more):
    with pytest.raises(BadSpan):
        sight(GENAI, **more)


keys = st.sampled_from([*GENAI, *LOOP, *INFERENCE, *VLLM, "http.status_code", "sizewise.call_id"])
values = st.one_of(
    st.text(max_size=9),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.lists(st.text(max_size=3), max_size=2),
    st.sampled_from(["chat", "LLM", "http://[", "http://h:99999/", "-1"]),
)


@given(
    attributes=st.dictionaries(keys, values),
    kind=st.sampled_from([CLIENT, SERVER, INTERNAL]),
    failed=st.booleans(),
)
def test_whatever_stands_in_a_span_is_read_or_left_alone(attributes, kind, failed):
    found = sight(attributes, kind=kind, failed=failed)
    if found is not None and found.call is not None and found.kind != "link":
        assert len(settle([found], [])) == (found.kind != "relayed")
        relayed = Relayed(TRACE, b"r" * 8, SPAN, "", START, START + 1)
        assert settle([found], [relayed]) == [found.call] * (found.kind == "server")


def test_a_trace_that_bites_its_tail_ends():
    one = sight(GENAI, parent_span_id=PARENT)
    two = sight(GENAI, span_id=PARENT, parent_span_id=SPAN)
    assert len(settle([one, two], [])) <= 1
