"""The usage event: asked for and hidden, shown when asked for, never at the price of a request."""

import gzip
import json
from typing import Any

import pytest

from collector.call import Usage

STREAM = b'{"model":"m","stream":true,"messages":[]}'
SPLICED = b'{"stream_options":{"include_usage":true},"model":"m","stream":true,"messages":[]}'
CONTENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
)
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
EVENTS = CONTENT * 3 + USAGE + DONE
SHOWN = CONTENT * 3 + DONE
KIND = b"Content-Type: text/event-stream"
REFUSAL = b'{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}'


def stream(body: bytes, *lines: bytes) -> bytes:
    head = b"\r\n".join([b"HTTP/1.1 200 OK", KIND, *lines, b"Transfer-Encoding: chunked", b"", b""])
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def test_usage_is_asked_for_and_hidden(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request(STREAM, b"Accept-Encoding: gzip, br"))
    server = upstream.accept()
    message = server.take()
    assert message.body == SPLICED
    assert message.get(b"accept-encoding") == b"identity"
    server.send(stream(EVENTS))
    assert client.take().body == SHOWN
    (call,) = relay.wait_for_calls(1)
    assert (call.usage_hidden, call.usage, call.stream) == (
        True,
        Usage(input_tokens=7, output_tokens=2),
        True,
    )
    client.send(say.request(b"next"))  # both connections still serve
    assert server.take().body == b"next"


def test_usage_that_the_client_asked_for_is_shown(relay: Any, upstream: Any, say: Any) -> None:
    body = STREAM[:-1] + b',"stream_options": {"include_usage": true}}'
    client = relay.connect().send(say.request(body, b"Accept-Encoding: gzip"))
    server = upstream.accept()
    message = server.take()
    assert (message.body, message.get(b"accept-encoding")) == (body, b"gzip")
    server.send(stream(EVENTS))
    assert client.take().body == EVENTS
    (call,) = relay.wait_for_calls(1)
    assert (call.usage_hidden, call.usage) == (False, Usage(input_tokens=7, output_tokens=2))


@pytest.mark.parametrize("framing", ["chunked", "length", "until closed"])
def test_usage_is_hidden_in_every_framing_and_cut(relay: Any, upstream: Any, say: Any, framing: str) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + KIND
    raw = {
        "chunked": stream(EVENTS),
        "length": head + b"\r\nContent-Length: %d\r\n\r\n" % len(EVENTS) + EVENTS,
        "until closed": head + b"\r\n\r\n" + EVENTS,
    }[framing]
    client = relay.connect().send(say.request(STREAM))
    server = upstream.accept()
    server.take()
    server.send_slowly(raw, 3)
    server.half_close()
    assert client.take().body == SHOWN
    assert relay.wait_for_calls(1)[0].usage == Usage(input_tokens=7, output_tokens=2)


def test_an_old_client_has_it_hidden_too(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request(STREAM, version=b"HTTP/1.0"))
    server = upstream.accept()
    server.take()
    server.send(stream(EVENTS))
    assert client.take().body == SHOWN


def test_nothing_is_asked_of_who_refuses_it(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(asks_usage=False))
    client = relay.connect().send(say.request(STREAM))
    server = upstream.accept()
    assert server.take().body == STREAM
    server.send(stream(SHOWN))
    assert client.take().body == SHOWN
    (call,) = relay.wait_for_calls(1)
    assert (call.usage, call.usage_source) == (None, call.usage_source)
    assert call.usage_problem


@pytest.mark.parametrize("status", [b"400 Bad Request", b"422 Unprocessable Content"])
def test_a_refused_option_is_taken_back_once_and_remembered(
    relay: Any, upstream: Any, say: Any, status: bytes
) -> None:
    client = relay.connect().send(say.request(STREAM, b"Accept-Encoding: gzip"))
    server = upstream.accept()
    assert server.take().body == SPLICED
    server.send_slowly(say.reply(REFUSAL, status=status), 20)
    message = server.take()
    assert (message.body, message.get(b"accept-encoding")) == (STREAM, b"gzip")
    server.send(stream(SHOWN))
    assert client.take().body == SHOWN
    client.send(say.request(STREAM))
    assert server.take().body == STREAM
    server.send(stream(SHOWN))
    assert client.take().body == SHOWN
    client.send(say.request(STREAM.replace(b'"m"', b'"other"')))
    assert b"stream_options" in server.take().body
    server.send(stream(EVENTS))
    assert client.take().body == SHOWN
    assert [call.usage_hidden for call in relay.wait_for_calls(3)] == [False, False, True]


def test_the_original_survives_a_connection_that_closed_after_the_refusal(
    relay: Any, upstream: Any, say: Any
) -> None:
    client = relay.connect().send(say.request(STREAM))
    server = upstream.accept()
    server.take()
    server.send(say.reply(REFUSAL, status=b"400 Bad Request"))
    server.take()
    server.close()  # without a word
    other = upstream.accept()
    assert other.take().body == STREAM
    other.send(stream(SHOWN))
    assert client.take().body == SHOWN


def test_another_400_reaches_the_client_and_is_not_tried_again(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request(STREAM))
    server = upstream.accept()
    server.take()
    server.send(say.reply(b'{"error":{"message":"max_tokens"}}', b"X-A: b", status=b"400 Bad Request"))
    answer = client.take()
    assert (answer.status, answer.get(b"x-a")) == (400, b"b")
    assert json.loads(answer.body) == {"error": {"message": "max_tokens"}}
    assert server.is_silent()
    client.send(say.request(STREAM))
    assert server.take().body == SPLICED


def test_the_original_may_be_refused_too(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request(STREAM))
    server = upstream.accept()
    for body in (SPLICED, STREAM):
        assert server.take().body == body
        server.send(say.reply(REFUSAL, status=b"400 Bad Request"))
    answer = client.take()
    assert (answer.status, answer.body) == (400, REFUSAL)
    assert server.is_silent()


def test_a_refusal_that_breaks_off_is_answered(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request(STREAM))
    server = upstream.accept()
    server.take()
    server.send(say.reply(REFUSAL, status=b"400 Bad Request")[:-5]).close()
    answer = client.take()
    assert (answer.status, answer.get(b"x-sizewise-error")) == (502, b"upstream_cut")


@pytest.mark.parametrize("asks", [b"", b',"stream_options":{"include_usage":true}'])
def test_a_compressed_stream_is_read_aside(relay: Any, upstream: Any, say: Any, asks: bytes) -> None:
    """Also from a server that compresses although it was asked not to: then nothing can be hidden."""
    packed = gzip.compress(EVENTS)
    client = relay.connect().send(say.request(STREAM[:-1] + asks + b"}"))
    server = upstream.accept()
    server.take()
    server.send_slowly(stream(packed, b"Content-Encoding: gzip"), 5)
    assert client.take().body == packed
    (call,) = relay.wait_for_calls(1)
    assert (call.usage, call.usage_hidden) == (Usage(input_tokens=7, output_tokens=2), False)


def test_a_compressed_whole_reply_is_read_aside(relay: Any, upstream: Any, say: Any) -> None:
    packed = gzip.compress(b'{"id":"c","model":"m-1","choices":[],"usage":{"prompt_tokens":7}}' + b" " * 5000)
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply(packed, b"Content-Encoding: gzip", b"Content-Type: application/json"))
    assert client.take().body == packed
    (call,) = relay.wait_for_calls(1)
    assert (call.usage, call.served_model) == (Usage(input_tokens=7), "m-1")
