"""Every recorded reply of vLLM 0.32 says what was read off it by hand."""

import json

import pytest

from collector.apis import Reading, find_endpoint, read_whole
from collector.apis.anthropic import read_reply as read_message
from collector.apis.openai import ChatStream
from collector.call import Usage

VLLM = "vllm-0.32.0-39f5659a"
CHAT = find_endpoint(b"POST", b"/v1/chat/completions")
TEXT = find_endpoint(b"POST", b"/v1/completions")
EMBEDDINGS = find_endpoint(b"POST", b"/v1/embeddings")
RESPONSES = find_endpoint(b"POST", b"/v1/responses")
MESSAGES = find_endpoint(b"POST", b"/v1/messages")


def plain(response_id, finish_reason, input_tokens, output_tokens, fingerprint=VLLM, **more):
    return Reading(
        model="tiny-llama",
        response_id=response_id,
        finish_reason=finish_reason,
        fingerprint=fingerprint,
        usage=Usage(input_tokens=input_tokens, output_tokens=output_tokens),
        **more,
    )


WHOLE = {
    "auth/ok_key": (CHAT, plain("chatcmpl-b49ba9cdb0aceba7", "length", 13, 2)),
    "default/chat": (CHAT, plain("chatcmpl-9740ede9b5e60c76", "length", 34, 16)),
    "default/chat_again": (CHAT, plain("chatcmpl-927856c6921f0a9d", "length", 34, 16)),
    "default/chat_client_abort": (CHAT, plain("chatcmpl-83430879414409f2", "length", 13, 480)),
    "default/chat_json_schema": (CHAT, plain("chatcmpl-a62e325c7cb39cdb", "stop", 34, 50)),
    "default/chat_logprobs": (CHAT, plain("chatcmpl-9fb93662998c4757", "length", 34, 3)),
    "default/chat_reqid": (CHAT, plain("chatcmpl-my-req-123", "length", 34, 2)),
    "default/chat_return_token_ids": (CHAT, plain("chatcmpl-b4e6606f50deec53", "length", 34, 4)),
    "default/chat_structured_choice": (CHAT, plain("chatcmpl-8d37c192e4220dee", "stop", 34, 4)),
    "default/chat_tool_named": (CHAT, plain("chatcmpl-8cd4b6c11e983d13", "length", 233, 60)),
    "default/chat_tool_required": (CHAT, plain("chatcmpl-94dd3db659b8dd28", "length", 233, 120)),
    "default/chat_until_stop": (CHAT, plain("chatcmpl-beb3baaf837a40d5", "stop", 13, 8)),
    "default/completion": (TEXT, plain("cmpl-ac555a701d32452d", "length", 2, 8)),
    "default/completion_logprobs_echo": (TEXT, plain("cmpl-94ca3d54c020b99e", "length", 2, 3)),
    "embeddings/embeddings": (EMBEDDINGS, plain("embd-947154deb0f75a03", "", 7, 0, "")),
    "default/messages": (MESSAGES, plain("chatcmpl-8fa9f7e3681de938", "max_tokens", 17, 8, "")),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_replies(capture, name):
    endpoint, expected = WHOLE[name]
    assert read_whole(endpoint, capture(name), 200) == expected


def test_responses_say_why_they_are_incomplete(capture):
    reading = read_whole(RESPONSES, capture("default/responses"), 200)
    assert reading.finish_reason == "max_output_tokens"
    assert (reading.model, reading.service_tier) == ("tiny-llama", "auto")
    assert reading.usage == Usage(
        input_tokens=17, output_tokens=8, cache_read_tokens=0, cache_write_tokens=0, reasoning_tokens=0
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "chat_cached1",
            Usage(193, 4, cache_read_tokens=0, cache_write_tokens=128),
        ),
        (
            "chat_cached2",
            Usage(193, 4, cache_read_tokens=128, cache_write_tokens=0),
        ),
        (
            "chat_n2_traced",
            Usage(34, 8, cache_read_tokens=0, cache_write_tokens=0),
        ),
        ("completion_traced", Usage(4, 8, cache_read_tokens=0)),
    ],
)
def test_prompt_tokens_details(capture, name, expected):
    assert read_whole(CHAT, capture(f"observability/{name}"), 200).usage == expected


def test_metrics_of_a_request(capture):
    reading = read_whole(CHAT, capture("observability/chat_cached2"), 200)
    assert reading.queue_ms == 0.017605999801162397
    assert reading.first_token_ms == 8.17966200020237
    assert reading.engine_ms == pytest.approx(8.17966 + 13.18095 - 0.01761, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "status", "error_type"),
    [
        ("auth/err_401", 401, "Unauthorized"),
        ("default/err_404", 404, "Not Found"),
        ("default/embeddings_on_generate_model", 404, "Not Found"),
        ("default/err_method", 405, "Method Not Allowed"),
        ("default/err_bad_json", 400, "Bad Request"),
        ("default/err_missing_field", 400, "Bad Request"),
        ("default/err_bad_model", 404, "NotFoundError"),
        ("default/err_bad_value", 400, "BadRequestError"),
        ("default/err_context_too_long", 400, "BadRequestError"),
        ("default/err_context_too_long_stream", 400, "BadRequestError"),
        ("default/err_max_tokens_too_big", 400, "BadRequestError"),
        ("default/err_responses_bad_model", 404, "NotFoundError"),
        ("observability/err_traced_bad_model", 404, "NotFoundError"),
        ("faults/err_stream_options_nostream", 400, "BadRequestError"),
        ("faults/nonstream_engine_killed", 500, "InternalServerError"),
    ],
)
def test_errors(capture, name, status, error_type):
    assert read_whole(CHAT, capture(name), status) == Reading(error_type=error_type)


def test_an_error_of_messages(capture):
    body = capture("default/err_messages_bad_model")
    assert read_message(body, 404) == Reading(error_type="NotFoundError")


# name: (reading without its counts, content events as counted in the JSON)
STREAMS = {
    "default/chat_stream_usage": plain("chatcmpl-a94be099419bdecc", "length", 34, 6),
    "default/chat_stream_contusage": plain("chatcmpl-ab958ff115a97afc", "length", 34, 6),
    "default/completion_stream_usage": plain("cmpl-bc7d4ad91e8be031", "length", 2, 4),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams(capture, read_stream, name):
    body = capture(name)
    reading = read_stream(ChatStream, [body])
    assert reading.content_events == count_content(body)
    assert reading.content_chars > 0
    reading.content_events = reading.content_chars = 0
    assert reading == STREAMS[name]


def test_forced_usage_with_details_and_metrics(capture, read_stream):
    reading = read_stream(ChatStream, [capture("observability/chat_stream_noopt")])
    assert reading.usage == Usage(34, 3, cache_read_tokens=0, cache_write_tokens=0)
    assert reading.first_token_ms == 3.856329999962327


@pytest.mark.parametrize(
    "name", ["default/chat_stream", "default/chat_stream_contusage_only", "default/completion_stream"]
)
def test_streams_without_usage_say_so(capture, read_stream, name):
    reading = read_stream(ChatStream, [capture(name)])
    assert (reading.usage, reading.usage_problem) == (None, "the stream ended without a usage")
    assert reading.finish_reason == "length"
    assert reading.content_events == count_content(capture(name))


def test_a_stream_the_client_left(capture):
    reader = ChatStream()
    reader.feed(capture("default/chat_stream_client_abort"))
    assert not reader.terminal
    reading = reader.finish()
    assert reading.content_events == count_content(capture("default/chat_stream_client_abort")) == 63
    assert (reading.usage, reading.finish_reason) == (None, "")


def test_a_long_stream_that_counts_with_every_event(capture, read_stream):
    body = capture("faults/stream_engine_killed")
    reading = read_stream(ChatStream, [body])
    assert reading.usage == Usage(input_tokens=13, output_tokens=490)
    assert reading.content_events == count_content(body)


def count_content(body: bytes) -> int:
    """The slow and sure way."""
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    choices = [event["choices"][0] for event in events if event["choices"]]
    return sum(bool(choice.get("text") or choice.get("delta", {}).get("content")) for choice in choices)
