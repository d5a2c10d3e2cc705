"""Lines, arrays and binary frames: any cut, any bytes, any damage; and what paths and forms say."""

import json
import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.apis import RequestFacts, find_endpoint, read_request, read_whole
from collector.apis.batches import ResultsReader, read_background
from collector.apis.bedrock import ConverseStream
from collector.apis.eventstream import FrameCutter
from collector.apis.form import read_form
from collector.apis.framed import MAX_BYTES, ArrayCutter, FramedReader, LineCutter
from collector.apis.gemini import GenerateStream
from collector.apis.invoke import InvokeStream
from collector.apis.ollama import LineStream
from collector.call import Usage

READERS = {
    "lines": lambda: FramedReader(LineCutter(), LineStream()),
    "array": lambda: FramedReader(ArrayCutter(), GenerateStream()),
    "converse": lambda: FramedReader(FrameCutter(), ConverseStream()),
    "invoke": lambda: FramedReader(FrameCutter(), InvokeStream()),
}
PATHS = [
    b"/v1/chat/completions",
    b"/v1/completions",
    b"/v1/embeddings",
    b"/v1/responses",
    b"/v1/messages",
    b"/v1/images/generations",
    b"/v1/audio/transcriptions",
    b"/v1/audio/speech",
    b"/api/chat",
    b"/v2/chat",
    b"/v2/rerank",
    b"/generate",
    b"/v1beta/models/m:generateContent",
    b"/v1beta/models/m:streamGenerateContent",
    b"/v1beta/models/m:embedContent",
    b"/v1/projects/p/models/m:predict",
    b"/model/m/converse",
    b"/model/m/invoke",
]
KEYS = [
    "usage", "usageMetadata", "promptTokenCount", "candidates", "candidatesTokenCount", "inputTokens",
    "metadata", "meta", "billed_units", "input_tokens", "message", "delta", "timings", "meta_info", "details",
    "data", "type", "done", "eval_count", "prompt_eval_count", "response", "chunk", "bytes", "duration",
    "predictions", "embeddings", "statistics", "token_count", "usage_metadata", "results", "error",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


def frame(headers, payload):
    packed = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value for name, value in headers
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", zlib.crc32(message))


METADATA = frame([(b":event-type", b"metadata")], b'{"usage":{"inputTokens":3,"outputTokens":2}}')
DELTA = frame([(b":event-type", b"contentBlockDelta")], b'{"delta":{"text":"Hi"}}')


def read(kind, pieces):
    reader = READERS[kind]()
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


@pytest.mark.parametrize("kind", READERS)
@given(pieces=st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_raise_and_all_pass(kind, pieces):
    reader = READERS[kind]()
    assert b"".join([reader.hide(piece) for piece in pieces]) + reader.flush() == b"".join(pieces)
    assert reader.finish().usage is None


@pytest.mark.parametrize("kind", ["lines", "array"])
@given(values=st.lists(JSON, max_size=4), places=st.lists(st.integers(0, 400), max_size=5))
@example(values=[{"error": '\\"]}'}], places=[3, 11, 12, 13, 14])
def test_no_json_raises_and_any_cut_says_the_same(kind, values, places):
    texts = [json.dumps(value).encode() for value in values]
    body = b"\n".join(texts) if kind == "lines" else b"[" + b",".join(texts) + b"]"
    places = sorted(place for place in places if place < len(body))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, None], strict=True)]
    assert read(kind, pieces) == read(kind, [body])


@pytest.mark.parametrize("path", PATHS)
@given(value=JSON)
def test_no_reply_raises_whatever_its_types(path, value):
    endpoint = find_endpoint(b"POST", path)
    reading = endpoint.read_reply(json.dumps(value).encode(), 200)
    assert reading.usage is not None or reading.usage_problem or reading.error_type
    endpoint.read_reply(json.dumps(value).encode(), 500)
    reader = endpoint.reader()
    reader.feed(b"data: " + json.dumps(value).encode() + b"\n\n")
    reader.finish()


@given(message=JSON, body=st.binary(max_size=80))
def test_batches_and_forms_take_anything(message, body):
    results = ResultsReader()
    for data in (json.dumps(message).encode(), body):
        results.feed(data + b"\n")
        read_background(data, 200)
        read_form(data)
        read_form(b"--x\r\n" + data)
    results.finish()


def test_frames_in_any_pieces():
    body = DELTA + METADATA
    whole = read("converse", [body])
    assert (whole.usage, whole.content_events) == (Usage(3, 2), 1)
    assert [read("converse", [body[:at], body[at:]]) for at in range(len(body))] == [whole] * len(body)


@pytest.mark.parametrize("at", range(len(METADATA)))
def test_a_damaged_frame_is_never_believed(at):
    damaged = bytearray(METADATA)
    damaged[at] ^= 0x10
    reading = read("converse", [DELTA, bytes(damaged), METADATA])
    assert reading.usage is None
    assert reading.usage_problem


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"\0\0\0\x10" * 4, "a frame's head doesn't match its checksum"),
        (frame([(b"x", b"y")], b"{}")[:-4] + b"\0\0\0\0", "a frame doesn't match its checksum"),
    ],
)
def test_why_frames_are_not_read(body, problem):
    assert read("converse", [body]).usage_problem == problem


def test_a_frame_that_claims_to_be_huge_is_not_waited_for():
    prelude = struct.pack(">II", MAX_BYTES + 1, 0)
    reading = read("converse", [prelude + struct.pack(">I", zlib.crc32(prelude))])
    assert reading.usage_problem == f"a frame of {MAX_BYTES + 1} bytes was not read"


def test_headers_of_every_type_are_passed_over():
    odd = b"\x01a\x00" + b"\x01b\x04\0\0\0\0" + b"\x01c\x06\0\x02xy" + b"\x01d\x09" + bytes(16)
    named = b"\x0b:event-type\x07\0\x08metadata"
    payload = b'{"usage":{"inputTokens":1,"outputTokens":1}}'
    prelude = struct.pack(">II", 16 + len(odd + named) + len(payload), len(odd + named))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + odd + named + payload
    assert read("converse", [message + struct.pack(">I", zlib.crc32(message))]).usage == Usage(1, 1)


@pytest.mark.parametrize("kind", ["lines", "array"])
def test_memory_is_bounded(kind):
    reader = READERS[kind]()
    reader.feed(b'[{"x":"')
    for _ in range(MAX_BYTES // (1 << 20) + 1):
        reader.feed(b"x" * (1 << 20))
    assert "was not read" in reader.finish().usage_problem


@pytest.mark.parametrize(
    ("path", "api", "operation", "model", "stream"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini", "chat", "gemini-2.5-pro", False),
        (
            "/to/g/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            "gemini",
            "chat",
            "gemini-2.5-pro",
            True,
        ),
        ("/v1beta/tunedModels/mine:generateContent", "gemini", "chat", "mine", False),
        ("/model/anthropic.claude-v2%3A1/converse", "bedrock", "chat", "anthropic.claude-v2:1", False),
        ("/model/anthropic.claude-v2:1/converse-stream", "bedrock", "chat", "anthropic.claude-v2:1", True),
        ("/model/m/invoke-with-response-stream", "bedrock", "invoke", "m", True),
        (
            "/v1/x/publishers/anthropic/models/claude@1:streamRawPredict",
            "anthropic",
            "messages",
            "claude@1",
            True,
        ),
        ("/v1/x/publishers/mistralai/models/m@1:rawPredict", "openai", "chat", "m@1", False),
        ("/openai/deployments/my%20d/chat/completions", "openai", "chat", "my d", False),
        ("/openai/deployments/d/audio/transcriptions", "openai", "audio_transcriptions", "d", False),
    ],
)
def test_what_a_path_says(path, api, operation, model, stream):
    endpoint = find_endpoint(b"POST", path.encode())
    assert (endpoint.api, endpoint.operation) == (api, operation)
    for facts in (
        endpoint.read_request(b'{"model":"other"}'),
        endpoint.read_prefix(b'{"model":"other","mess'),
    ):
        assert (facts.model, facts.stream) == (model, stream)


@pytest.mark.parametrize(
    ("body", "stream"),
    [
        (b'{"model":"m"}', True),
        (b'{"model":"m","stream":true}', True),
        (b'{"model":"m","stream":null}', True),
        (b'{"stream" : false,"model":"m"}', False),
        (b'{"prompt":"say \\"stream\\": false","model":"m"}', True),
        (b"{nope", False),
    ],
)
def test_ollama_streams_unless_told_not_to(body, stream):
    assert find_endpoint(b"POST", b"/api/chat").read_request(body).stream is stream


FORM = (
    b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n'
    b"\r\n"
    b'\xff\xfb name="model"\r\n\r\nno\r\n--b\r\n'
    b'\r\n--b0\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1'
    b'\r\n--b0\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue'
    b'\r\n--b0\r\nContent-Disposition: form-data; name="user"\r\n\r\nu1\r\n--b0--\r\n'
)


def test_a_form_says_its_model_whatever_the_recording_holds():
    assert read_form(FORM) == RequestFacts("whisper-1", True, end_user="u1")
    assert read_form(FORM[: FORM.index(b"u1")]) == RequestFacts("whisper-1", True)
    assert read_form(b'{"model":"m"}') == read_request(b'{"model":"m"}')


def test_a_picture_in_an_event_is_read_although_it_is_large(read_stream):
    endpoint = find_endpoint(b"POST", b"/v1/images/generations")
    usage = {"input_tokens": 1, "output_tokens": 2}
    event = {"type": "image_generation.completed", "b64_json": "A" * (3 << 20), "usage": usage}
    body = b"data: " + json.dumps(event).encode() + b"\n\n"
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    assert read_stream(endpoint.reader, pieces).usage == Usage(1, 2, images=1)


def test_a_background_response_is_a_call_once_it_is_done():
    body = {
        "id": "resp_1",
        "object": "response",
        "background": True,
        "model": "gpt-5",
        "created_at": 1761998400,
    }
    assert read_background(json.dumps({**body, "status": "queued", "usage": None}).encode(), 200) is None
    done = {**body, "status": "completed", "usage": {"input_tokens": 5, "output_tokens": 4}}
    first, second = (read_background(json.dumps(done).encode(), 200) for _ in range(2))
    assert first.stable_id == second.stable_id
    assert (first.reading.usage, first.created_s) == (Usage(5, 4), 1761998400)
    assert read_background(json.dumps({**done, "background": False}).encode(), 200) is None
    other = read_background(json.dumps({**done, "id": "resp_2"}).encode(), 200)
    assert other.stable_id != first.stable_id


def test_an_array_cut_short_says_what_it_said():
    body = b'[{"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":1}},{"candidates":[{'
    endpoint = find_endpoint(b"POST", b"/v1beta/models/m:streamGenerateContent")
    assert read("array", [body]).usage == read_whole(endpoint, body, 200).usage == Usage(5, 1)
