"""Cuts, line ends, hiding, limits: what a stream says does not depend on how it came."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.apis.anthropic import MessagesStream
from collector.apis.openai import ChatStream
from collector.apis.responses import ResponsesStream
from collector.apis.sse import MAX_EVENT_BYTES
from collector.call import Usage

USAGE = {"prompt_tokens": 123, "completion_tokens": 4, "total_tokens": 127}


def chunk(content=None, finish_reason=None, **more):
    delta = {} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return {"id": "c-1", "model": "m", "choices": choices, **more}


def sse(*events, end="\n\n", separators=(",", ":")):
    texts = [e if isinstance(e, str) else json.dumps(e, separators=separators) for e in events]
    return "".join(f"data: {text}{end}" for text in texts).encode()


CHAT = [
    chunk(""),
    *[chunk(text) for text in ("Hel", "lo", ' "you"', "\n\n", "é", "", "usage", "data: [DONE]", " end")],
    chunk(finish_reason="stop"),
]
USAGE_EVENT = {"id": "c-1", "model": "m", "choices": [], "usage": USAGE}
EXPECTED = Usage(input_tokens=123, output_tokens=4)

ANTHROPIC = b"".join(
    f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
    for event in [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "model": "claude",
                "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *[
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
            for text in ("Hi", " there", ' "q"', "!")
        ],
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]
)
RESPONSES = b"".join(
    f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
    for event in [
        {"type": "response.created", "response": {"id": "r", "model": "m", "status": "in_progress"}},
        *[
            {"type": "response.output_text.delta", "delta": text, "sequence_number": n}
            for n, text in enumerate(("a", "b", '"'))
        ],
        {
            "type": "response.completed",
            "response": {
                "id": "r",
                "model": "m",
                "status": "completed",
                "usage": {"input_tokens": 3, "output_tokens": 2},
            },
        },
    ]
)
BODIES = [
    (ChatStream, sse(*CHAT, USAGE_EVENT, "[DONE]")),
    (ChatStream, sse(*CHAT, USAGE_EVENT, "[DONE]", end="\r\n\r\n")),
    (ChatStream, sse(*CHAT, USAGE_EVENT, "[DONE]", end="\r\r")),
    (ChatStream, b"\xef\xbb\xbf: hi\n\n" + sse(*CHAT, USAGE_EVENT, "[DONE]", separators=(", ", ": "))),
    (ChatStream, sse(*[{**event, "usage": None} for event in CHAT], USAGE_EVENT, "[DONE]")),
    (ChatStream, sse(*[{**event, "usage": USAGE} for event in CHAT], USAGE_EVENT, "[DONE]")),
    (MessagesStream, ANTHROPIC),
    (ResponsesStream, RESPONSES),
]


def cut(body, places):
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_every_single_cut_reads_and_hides_the_same(kind, body, read_stream, hide_stream):
    whole, (hidden, shown) = read_stream(kind, [body]), hide_stream(kind, [body])
    assert whole == hidden
    assert whole.usage is not None
    for place in range(len(body) + 1):
        pieces = [body[:place], body[place:]]
        assert read_stream(kind, pieces) == whole
        assert hide_stream(kind, pieces) == (whole, shown)


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_byte_by_byte(kind, body, hide_stream):
    pieces = [body[place : place + 1] for place in range(len(body))]
    assert hide_stream(kind, pieces) == hide_stream(kind, [body])


@given(st.sampled_from(BODIES), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cuts(read_stream, hide_stream, case, places):
    kind, body = case
    assert hide_stream(kind, cut(body, places)) == hide_stream(kind, [body])
    assert read_stream(kind, cut(body, places)) == read_stream(kind, [body])


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"])
def test_only_the_usage_event_is_hidden(hide_stream, end):
    reading, shown = hide_stream(ChatStream, [sse(*CHAT, USAGE_EVENT, "[DONE]", end=end)])
    assert shown == sse(*CHAT, "[DONE]", end=end)
    assert reading.usage == EXPECTED


def test_events_with_choices_or_errors_are_never_hidden(hide_stream):
    events = [{**event, "usage": USAGE} for event in CHAT]
    failed = {"choices": [], "usage": USAGE, "error": {"type": "x"}}
    body = sse(*events, {"choices": [], "usage": None}, failed)
    assert hide_stream(ChatStream, [body])[1] == body


def test_what_a_server_tells_unasked_is_not_hidden(hide_stream):
    body = sse(*({**event, "usage": USAGE} for event in CHAT), USAGE_EVENT, "[DONE]")
    reading, shown = hide_stream(ChatStream, [body])
    assert shown == body
    assert reading.usage == EXPECTED


def test_a_usage_event_without_its_blank_line_is_read_and_hidden(hide_stream):
    reading, shown = hide_stream(ChatStream, [sse(*CHAT, USAGE_EVENT)[:-2]])
    assert reading.usage == EXPECTED
    assert shown == sse(*CHAT)


def test_flush_before_finish_reads_too():
    reader = ChatStream()
    assert reader.hide(sse(USAGE_EVENT)[:-1]) == b""
    assert reader.flush() == b""
    assert reader.finish().usage == EXPECTED


def test_several_data_lines_are_one_event(read_stream):
    body = b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":1,\ndata:"completion_tokens":2}}\n\n'
    assert read_stream(ChatStream, [body]).usage == Usage(input_tokens=1, output_tokens=2)


def test_content_is_counted_once_each(read_stream):
    reading = read_stream(ChatStream, [sse(*CHAT)])
    assert reading.content_events == 8


@pytest.mark.parametrize(
    ("kind", "before", "marker"),
    [
        (ChatStream, sse(*CHAT), b"data: [DONE]"),
        (ChatStream, sse(*CHAT), b"data:[DONE]"),
        (MessagesStream, b"", b"event: message_stop\n"),
        (MessagesStream, b"", b'data: {"type":"message_stop"'),
        (ResponsesStream, b"", b'data: {"type":"response.failed","response":{}}\n\n'),
        (ResponsesStream, b"", b'event: response.incomplete\ndata: {"type":"response.incomplete"}\n\n'),
    ],
)
def test_terminal_as_soon_as_its_marker_is_seen(kind, before, marker):
    reader = kind()
    reader.feed(before + marker[:-1])
    assert not reader.terminal
    reader.feed(marker[-1:])
    assert reader.terminal


def test_has_content_with_the_first_content_only():
    reader = ChatStream()
    reader.feed(sse(CHAT[0]))
    assert not reader.has_content
    reader.feed(sse(CHAT[1]))
    assert reader.has_content


def test_tool_calls_and_reasoning_are_content(read_stream):
    deltas = [{"tool_calls": [{"function": {"arguments": "{}"}}]}, {"reasoning_content": "hm"}, {"role": "x"}]
    events = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    assert read_stream(ChatStream, [sse(*events)]).content_events == 2


@pytest.mark.parametrize("size", [1_000, 16_384, 2_000_000])
def test_an_event_too_long_passes_unread(hide_stream, size):
    long = sse(chunk("x" * (MAX_EVENT_BYTES + 10)))
    body = sse(CHAT[1]) + long + sse(chunk("y"))
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    reading, shown = hide_stream(ChatStream, pieces)
    assert shown == body
    assert (reading.content_events, reading.usage) == (2, None)
    assert "more than 1048576 bytes" in reading.usage_problem


def test_memory_is_bounded_and_an_event_too_long_is_let_go():
    reader = ChatStream()
    shown = b"".join([reader.hide(b"x" * 65_536) for _ in range(64)])
    assert len(shown) >= 47 * 65_536
    assert reader.mid_event
    assert reader.hide(b"\n\n" + sse(USAGE_EVENT)).endswith(b"\n\n")
    assert reader.finish().usage == EXPECTED


def test_an_error_in_mid_stream(read_stream):
    body = sse(chunk("a"), {"error": {"type": "InternalServerError", "message": "m", "code": 500}}, "[DONE]")
    reading = read_stream(ChatStream, [body])
    assert (reading.error_type, reading.usage) == ("InternalServerError", None)


@pytest.mark.parametrize("kind", [ChatStream, MessagesStream, ResponsesStream])
@given(pieces=st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_raise_or_get_lost(kind, pieces):
    reader = kind()
    shown = b"".join([reader.hide(piece) for piece in pieces])
    reader.finish()
    assert shown + reader.flush() == b"".join(pieces)


KEYS = ["usage", "choices", "delta", "content", "type", "message", "response", "error", "prompt_tokens"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", [ChatStream, MessagesStream, ResponsesStream])
@given(events=st.lists(JSON, max_size=4), places=st.lists(st.integers(0, 1000), max_size=4))
def test_no_json_raises_whatever_its_types(hide_stream, kind, events, places):
    body = sse(*[json.dumps(event) for event in events])
    assert hide_stream(kind, cut(body, places)) == hide_stream(kind, [body])
