"""APIs that name the model in the path, and streams in framings of their own: they pass and are counted."""

import json
import struct
import zlib
from typing import Any

import pytest

from collector.call import Usage


def frame(kind: bytes, payload: bytes) -> bytes:
    """One message of Amazon's event stream."""
    headers = b"\x0b:event-type\x07" + struct.pack(">H", len(kind)) + kind
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


GEMINI = (
    b'[{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]}\n,\r\n{"candidates":[{"finishReason":"STOP"}],'
)
GEMINI += (
    b'"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":2},"modelVersion":"gemini-2.5-flash"}]'
)
BEDROCK = frame(b"contentBlockDelta", b'{"delta":{"text":"Hi"}}')
BEDROCK += frame(b"metadata", b'{"usage":{"inputTokens":7,"outputTokens":2}}')
OLLAMA = b'{"model":"m","message":{"content":"Hi"},"done":false}\n'
OLLAMA += b'{"model":"m","done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":2}\n'
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\0\xff\r\n'
FORM += b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--x--\r\n'
HEARD = b'{"text":"Hi","usage":{"type":"duration","seconds":3}}'
STREAMS = {
    "gemini": (
        b"/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        b"application/json; charset=UTF-8",
        GEMINI,
        "gemini-2.5-flash",
    ),
    "bedrock": (
        b"/model/amazon.nova-lite-v1%3A0/converse-stream",
        b"application/vnd.amazon.eventstream",
        BEDROCK,
        "amazon.nova-lite-v1:0",
    ),
    "ollama": (b"/api/chat", b"application/x-ndjson", OLLAMA, "m"),
}


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("size", [1, 50, 1 << 20])
def test_a_stream_in_its_own_framing(relay: Any, upstream: Any, say: Any, api: str, size: int) -> None:
    path, kind, body, model = STREAMS[api]
    client = relay.connect().send(say.request(b'{"model":"m"}', path=path))
    server = upstream.accept()
    assert server.take().first == b"POST %s HTTP/1.1" % path
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    server.send(head, b"".join(map(say.chunk, pieces)), b"0\r\n\r\n")
    assert client.take().body == body
    (call,) = relay.wait_for_calls(1)
    assert (call.api, call.model, call.stream, call.outcome) == (api, model, True, "ok")
    assert (call.usage, call.usage_source) == (Usage(input_tokens=7, output_tokens=2), "reported")
    assert call.content_events == 1
    assert call.first_content_us is not None


@pytest.mark.parametrize("api", STREAMS)
def test_a_stream_that_breaks_off_is_said_to_be_cut(relay: Any, upstream: Any, say: Any, api: str) -> None:
    path, kind, body, _ = STREAMS[api]
    client = relay.connect().send(say.request(b"{}", path=path))
    server = upstream.accept()
    server.take()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind)
    server.send(say.chunk(body[: len(body) // 3])).close()
    assert client.rest().endswith(say.chunk(body[: len(body) // 3]))
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.usage, call.stream) == ("upstream_cut", None, True)


def test_a_form_goes_to_its_model_and_passes_unchanged(relay: Any, upstream: Any, say: Any) -> None:
    kind = b"Content-Type: multipart/form-data; boundary=x"
    client = relay.connect().send(say.request(FORM, kind, path=b"/v1/audio/transcriptions"))
    server = upstream.accept()
    assert server.take().body == FORM
    server.send(say.reply(HEARD, b"Content-Type: application/json"))
    assert client.take().body == HEARD
    (call,) = relay.wait_for_calls(1)
    assert (call.model, call.operation) == ("whisper-1", "audio_transcriptions")
    assert call.usage == Usage(audio_seconds=3.0)


def test_what_we_refuse_has_the_shape_of_its_api(relay: Any, upstream: Any, say: Any) -> None:
    upstream.listener.close()
    client = relay.connect().send(say.request(b"{}", path=b"/v1beta/models/m:generateContent"))
    answer = client.take()
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], error["reason"]) == (502, 502, "upstream_unreachable")
    (call,) = relay.wait_for_calls(1)
    assert (call.api, call.model, call.outcome) == ("gemini", "m", "upstream_unreachable")
