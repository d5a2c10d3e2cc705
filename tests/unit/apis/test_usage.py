"""Counts: the convention, what is refused, and that a streamed reply and a whole one say the same."""

import json

import pytest

from collector.apis import Reading, error_body, find_endpoint, read_whole, stream_error_event
from collector.apis.anthropic import MessagesStream
from collector.apis.cohere import ChatStream as CohereStream
from collector.apis.gemini import GenerateStream
from collector.apis.openai import ChatStream
from collector.apis.responses import ResponsesStream
from collector.call import Usage

CHAT = find_endpoint(b"POST", b"/v1/chat/completions")
MESSAGES = find_endpoint(b"POST", b"/v1/messages")
RESPONSES = find_endpoint(b"POST", b"/v1/responses")


BAD_COUNTS = [-1, "12", 1.5, True, 10**12 + 1, 10**30, [], {}, float("nan"), float("inf")]


def read_usage(endpoint, usage):
    return read_whole(endpoint, json.dumps({"id": "1", "model": "m", "usage": usage}).encode(), 200)


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/api/v1/chat/completions", "/openai/v1/chat/completions"]
)
def test_prefixes_need_no_configuration(path):
    assert find_endpoint(b"POST", path.encode()) is CHAT


@pytest.mark.parametrize(
    ("path", "api", "operation", "can_ask_usage"),
    [
        ("/v1/completions", "openai", "text_completion", True),
        ("/serving/v1/embeddings", "openai", "embeddings", False),
        ("/v1/responses", "openai", "responses", False),
        ("/anthropic/v1/messages", "anthropic", "messages", False),
    ],
)
def test_model_routes(path, api, operation, can_ask_usage):
    endpoint = find_endpoint(b"POST", path.encode())
    assert (endpoint.api, endpoint.operation, endpoint.can_ask_usage) == (api, operation, can_ask_usage)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/count_tokens",
        "/v1/models",
        "/health",
        "/metrics",
        "/tokenize",
        "/",
        "",
        "/v1/threads/t/messages",
    ],
)
def test_other_routes_pass_uncounted(path):
    assert find_endpoint(b"POST", path.encode()) is None


def test_only_a_post_is_a_call():
    assert find_endpoint(b"GET", b"/v1/chat/completions") is None


@pytest.mark.parametrize("value", BAD_COUNTS)
@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_cannot_be_one_makes_the_usage_unknown(field, value, read_stream):
    usage = {"prompt_tokens": 1, "completion_tokens": 1, field: value}
    whole = read_usage(CHAT, usage)
    assert whole.usage is None
    assert whole.usage_problem == f"usage.{field} is {value!r}"[:80]
    assert (whole.model, whole.response_id) == ("m", "1")
    event = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
    assert read_stream(ChatStream, [event]).usage_problem == whole.usage_problem


def test_a_problem_is_cut_short():
    assert len(read_usage(CHAT, {"prompt_tokens": "x" * 500}).usage_problem) == 80


def test_null_is_absent_and_zero_is_kept():
    reading = read_usage(CHAT, {"prompt_tokens": 0, "completion_tokens": None, "prompt_tokens_details": None})
    assert reading.usage == Usage(input_tokens=0)


def test_details_of_openai():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 20, "audio_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 2},
    }
    assert read_usage(CHAT, usage).usage == Usage(
        100, 50, 60, 20, reasoning_tokens=30, input_audio_tokens=3, output_audio_tokens=2
    )


def test_cache_hits_of_deepseek():
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}
    assert read_usage(CHAT, usage).usage == Usage(10, 1, 4)


def test_reasoning_counted_beside_the_completion_is_added():
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22}
    reading = read_usage(CHAT, {**usage, "completion_tokens_details": {"reasoning_tokens": 7}})
    assert reading.usage == Usage(10, 12, reasoning_tokens=7)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}},
    ],
)
def test_a_part_above_its_whole_is_unknown(usage):
    reading = read_usage(CHAT, usage)
    assert reading.usage is None
    assert "more than" in reading.usage_problem


def test_anthropic_counts_the_cache_outside():
    usage = {
        "input_tokens": 10,
        "output_tokens": 4,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 20},
        "server_tool_use": {"web_search_requests": 2},
        "service_tier": "priority",
    }
    reading = read_usage(MESSAGES, usage)
    assert reading.usage == Usage(140, 4, 100, 30, 20, web_searches=2)
    assert reading.service_tier == "priority"


def test_a_breakdown_without_its_total_is_the_total():
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 20}}
    assert read_usage(MESSAGES, usage).usage == Usage(21, 1, None, 20, 20)


def message_stream(*events):
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


BEGUN = {"id": "i", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}
START = {"type": "message_start", "message": BEGUN}


def test_the_last_value_of_each_field_wins(read_stream):
    delta = {"type": "message_delta", "usage": {"output_tokens": 9, "cache_read_input_tokens": 7}}
    assert read_stream(MessagesStream, message_stream(START, delta)).usage == Usage(10, 9, 7)


def test_input_only_in_the_delta(read_stream):
    start = {"type": "message_start", "message": {"id": "i", "model": "m"}}
    delta = {"type": "message_delta", "usage": {"input_tokens": 5, "output_tokens": 9}}
    assert read_stream(MessagesStream, message_stream(start, delta)).usage == Usage(5, 9)


def test_the_output_of_message_start_is_no_result(read_stream):
    reading = read_stream(MessagesStream, message_stream(START))
    assert reading.usage == Usage(3)
    assert reading.usage_problem == "the stream ended before its output was counted"


def test_an_error_event_of_anthropic(read_stream):
    event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert read_stream(MessagesStream, message_stream(START, event)).error_type == "overloaded_error"


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
def test_responses_streamed_and_whole_say_the_same(kind, read_stream):
    response = {
        "id": "r",
        "model": "m",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "web_search_call"}, {"type": "message"}],
        "usage": {"input_tokens": 5, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 3}},
    }
    streamed = read_stream(ResponsesStream, message_stream({"type": kind, "response": response}))
    assert streamed == read_whole(RESPONSES, json.dumps(response).encode(), 200)
    assert streamed.usage == Usage(5, 4, reasoning_tokens=3, web_searches=1)
    assert streamed.finish_reason == "max_output_tokens"


def test_a_response_that_failed(read_stream):
    failed = {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "secret"}}
    reading = read_stream(ResponsesStream, message_stream({"type": "response.failed", "response": failed}))
    assert (reading.error_type, reading.finish_reason) == ("server_error", "failed")


@pytest.mark.parametrize(
    ("body", "status", "error_type"),
    [
        (b'{"detail":[{"type":"missing","loc":["body"],"msg":"m"}]}', 422, "missing"),
        (
            b'{"error":{"message":"sk-1 is wrong","type":null,"code":"invalid_api_key"}}',
            401,
            "invalid_api_key",
        ),
        (b'{"error":"the prompt: \\"hello\\" is refused, as it is"}', 400, "error"),
        (b'{"object":"error","message":"m","type":"NotFoundError","code":404}', 404, "NotFoundError"),
        (b"<html>Bad Gateway</html>", 502, "http_502"),
        (b"", 503, "http_503"),
        (b"[" * 100_000, 500, "http_500"),
    ],
)
def test_errors_of_any_shape(body, status, error_type):
    assert read_whole(CHAT, body, status) == Reading(error_type=error_type)


@pytest.mark.parametrize("endpoint", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"x"', b"[" * 100_000, b'{"usage":{"input_tokens":']
)
def test_what_is_no_reply_has_a_problem(endpoint, body):
    reading = read_whole(endpoint, body, 200)
    assert reading.usage is None
    assert reading.usage_problem.startswith("the reply is n")


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_our_own_errors_are_read_like_theirs(api):
    body = error_body(api, 429, "cap_reached", "Team red has spent its 10 dollars.")
    assert json.loads(body)["error"]["code"] == "cap_reached"
    assert read_whole(CHAT, body, 429).error_type == "rate_limit_error"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1beta/models/m:generateContent", "rate_limit_error"),
        ("/model/m/converse", "rate_limit_error"),
        ("/v2/chat", "rate_limit_error"),
        ("/api/chat", "error"),
    ],
)
def test_our_own_errors_in_the_shape_of_each_api(path, told):
    endpoint = find_endpoint(b"POST", path.encode())
    body = json.loads(error_body(endpoint.api, 429, "cap_reached", "Team red has spent its 10 dollars, all."))
    inner = body["error"] if isinstance(body.get("error"), dict) else body
    assert "Team red" in (inner["error"] if endpoint.api == "ollama" else inner["message"])
    assert "cap_reached" in (inner["code"], inner.get("reason"))
    assert read_whole(endpoint, json.dumps(body).encode(), 429).error_type == told


@pytest.mark.parametrize(
    ("kind", "api", "operation"),
    [
        (CohereStream, "cohere", "chat"),
        (GenerateStream, "gemini", "chat"),
        (ChatStream, "openai", "chat"),
        (MessagesStream, "anthropic", "messages"),
        (ResponsesStream, "openai", "responses"),
    ],
)
def test_our_own_broken_streams_are_read_like_theirs(kind, api, operation, read_stream):
    event = stream_error_event(api, 502, "upstream_cut", "The upstream broke off.", operation)
    reading = read_stream(kind, [event])
    assert reading.error_type in ("api_error", "upstream_cut", "error")
