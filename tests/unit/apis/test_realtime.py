"""What the events of a Realtime or Responses socket say."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.apis.reading import Reading
from collector.apis.realtime import (
    Kind,
    Said,
    find_operation,
    read_received,
    read_sent,
    wants_received,
    wants_sent,
)
from collector.call import Usage


def received(**members: Any) -> Said:
    return read_received(json.dumps(members).encode(), True)


def ended(**members: Any) -> Reading:
    said = received(**members)
    assert said.kind is Kind.ENDED
    assert said.reading is not None
    return said.reading


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        (b"/v1/realtime", "realtime"),
        (b"/openai/v1/realtime/", "realtime"),
        (b"/v1/responses", "responses"),
        (b"/v1/realtime/sessions", ""),
        (b"/socket", ""),
    ],
)
def test_paths(path: bytes, operation: str) -> None:
    assert find_operation(path) == operation


def test_a_realtime_response() -> None:
    usage = {
        "total_tokens": 253,
        "input_tokens": 132,
        "output_tokens": 121,
        "input_token_details": {
            "text_tokens": 119,
            "audio_tokens": 13,
            "image_tokens": 0,
            "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
    }
    reading = ended(type="response.done", response={"id": "resp_1", "status": "completed", "usage": usage})
    assert (reading.response_id, reading.finish_reason, reading.error_type) == ("resp_1", "completed", "")
    assert reading.usage == Usage(
        input_tokens=132,
        output_tokens=121,
        cache_read_tokens=64,
        input_audio_tokens=13,
        output_audio_tokens=91,
        cache_audio_read_tokens=4,
        input_image_tokens=0,
    )


@pytest.mark.parametrize(
    ("status", "details", "reason", "error"),
    [
        ("cancelled", {"type": "cancelled", "reason": "turn_detected"}, "turn_detected", ""),
        ("incomplete", {"reason": "max_output_tokens"}, "max_output_tokens", ""),
        ("failed", {"error": {"type": "server_error", "code": "x"}}, "failed", "server_error"),
        ("failed", None, "failed", "error"),
    ],
)
def test_how_a_response_ended(status: str, details: Any, reason: str, error: str) -> None:
    response = {"id": "r", "status": status, "status_details": details}
    reading = ended(type="response.done", response=response)
    assert (reading.finish_reason, reading.error_type) == (reason, error)
    assert (reading.usage, reading.usage_problem) == (None, "the response has no usage")


def test_a_count_that_is_none_costs_the_usage_and_not_the_call() -> None:
    response = {"id": "r", "status": "completed", "usage": {"input_tokens": "many", "output_tokens": 3}}
    reading = ended(type="response.done", response=response)
    assert (reading.response_id, reading.usage) == ("r", None)
    assert "input_tokens" in reading.usage_problem


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
def test_a_response_over_a_socket(kind: str) -> None:
    usage = {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}}
    response = {"id": "resp_2", "model": "gpt-5-2026", "status": kind, "usage": usage}
    said = received(type=f"response.{kind}", sequence_number=9, response=response)
    assert (said.kind, said.response_id, said.model) == (Kind.ENDED, "resp_2", "gpt-5-2026")
    assert said.reading is not None
    assert said.reading.usage == Usage(input_tokens=5, output_tokens=2, cache_read_tokens=1)


def test_a_transcription_stands_alone() -> None:
    kind = "conversation.item.input_audio_transcription.completed"
    usage = {
        "type": "tokens",
        "input_tokens": 14,
        "output_tokens": 9,
        "input_token_details": {"audio_tokens": 14},
    }
    said = received(type=kind, item_id="item_1", transcript="Hello", usage=usage)
    assert (said.kind, said.response_id) == (Kind.ALONE, "item_1")
    assert said.reading is not None
    assert said.reading.usage == Usage(input_tokens=14, output_tokens=9, input_audio_tokens=14)
    said = received(type=kind, item_id="item_1", usage={"type": "duration", "seconds": 2.5})
    assert said.reading is not None
    assert said.reading.usage == Usage(audio_seconds=2.5)
    said = received(type="transcription.done", text="Hi", usage={"prompt_tokens": 3, "completion_tokens": 1})
    assert said.reading is not None
    assert said.reading.usage == Usage(input_tokens=3, output_tokens=1)


def test_the_models_of_a_session() -> None:
    old = {"model": "gpt-4o-realtime", "input_audio_transcription": {"model": "whisper-1"}}
    new = {"model": "gpt-realtime", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    for session, by in ((old, "whisper-1"), (new, "gpt-4o-transcribe")):
        said = received(type="session.created", session=session)
        assert (said.kind, said.model, said.transcriber) == (Kind.SESSION, session["model"], by)
    assert received(type="session.created", session=[]) == Said()


def test_content() -> None:
    said = received(event_id="e", type="response.output_text.delta", response_id="r", delta="four")
    assert (said.kind, said.response_id, said.chars) == (Kind.CONTENT, "r", 4)
    said = received(type="response.output_audio.delta", response_id="r", delta="QUFB")
    assert (said.kind, said.chars) == (Kind.CONTENT, 0)
    said = received(response_id="r", delta="x", type="response.function_call_arguments.delta")
    assert (said.kind, said.chars) == (Kind.CONTENT, 1)
    assert received(type="conversation.item.input_audio_transcription.delta", delta="x") == Said()


def test_the_type_is_the_events_own() -> None:
    """Not one inside it, nor one in a text."""
    item = {"type": "response.done", "text": '"type":"response.done"'}
    assert received(type="conversation.item.created", item=item) == Said()
    assert received(item=item, type="rate_limits.updated") == Said()
    assert received(response={"id": "r", "output": [item]}, type="response.created").kind is Kind.BEGAN


def test_what_a_client_asks() -> None:
    def sent(**members: Any) -> Said:
        return read_sent(json.dumps(members).encode(), True)

    assert sent(type="response.create", event_id="e1") == Said(Kind.ASKED, event_id="e1")
    assert sent(input=[], model="gpt-5", type="response.create") == Said(Kind.ASKED, model="gpt-5")
    assert sent(type="session.update", model="voxtral") == Said(Kind.SESSION, model="voxtral")
    assert sent(type="input_audio_buffer.append", audio="QUFB") == Said()
    beginning = json.dumps({"type": "response.create", "model": "gpt-5", "input": "x" * 999}).encode()[:300]
    assert read_sent(beginning, False) == Said(Kind.ASKED, model="gpt-5")


def test_an_end_too_long_to_read_is_still_an_end() -> None:
    message = json.dumps(
        {"type": "response.done", "response": {"id": "resp_9", "output": ["x" * 999]}}
    ).encode()
    said = read_received(message[:500], False)
    assert (said.kind, said.response_id) == (Kind.ENDED, "resp_9")
    assert said.reading is not None
    assert said.reading.usage_problem == "the event is too long to read"


def test_what_need_not_be_kept() -> None:
    assert not wants_sent(b'{"type":"input_audio_buffer.append","audio":"QUFB')
    assert not wants_sent(b'{"event_id": null, "type": "input_audio_buffer.append"')
    assert wants_sent(b'{"type": "response.create"')
    assert wants_sent(b'{"input": [')
    assert not wants_received(b'{"event_id":"e","type":"response.output_audio.delta"')
    assert not wants_received(b'{"type":"conversation.item.created"')
    assert wants_received(b'{"type":"response.output_text.delta"')
    assert wants_received(b'{"type":"response.done"')
    assert wants_received(b'{"response":{')


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode())), st.booleans()
)
def test_no_bytes_make_it_raise(message: bytes, whole: bool) -> None:
    read_sent(message, whole)
    read_received(message, whole)
    wants_sent(message)
    wants_received(message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["response.done", "response.completed", "response.created", "error", "session.created"]),
    st.dictionaries(
        st.sampled_from(["id", "usage", "status", "status_details", "error", "model", "output"]), json_values
    ),
    json_values,
)
def test_no_json_makes_it_raise(kind: str, members: dict[str, Any], other: Any) -> None:
    for value in (members, other):
        received(type=kind, response=value, session=value, error=value, usage=value)
