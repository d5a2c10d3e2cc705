"""In a client's trace the relay stands between the client's span and the upstream's."""

from typing import Any

import pytest

TRACE, SPAN = b"ab" * 16, b"cd" * 8
STREAM = b'{"model":"m","stream":true,"messages":[]}'
REFUSAL = b'{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}'


def named(call: Any, version: bytes = b"00", flags: bytes = b"01") -> bytes:
    return b"%s-%s-%s-%s" % (version, TRACE, call.call_id[8:].hex().encode(), flags)


@pytest.mark.parametrize("body", [b'{"model":"m","messages":[]}', STREAM])
def test_each_call_is_the_parent_of_what_the_upstream_does(
    relay: Any, upstream: Any, say: Any, body: bytes
) -> None:
    given = [b"X-Before: 1", b"TraceParent:  00-%s-%s-01" % (TRACE, SPAN), b"tracestate: a=%s" % SPAN]
    client = relay.connect()
    server = None
    for count in (1, 2):
        client.send(say.request(body, *given))
        server = server or upstream.accept()
        message = server.take()
        server.send(say.reply(b"{}"))
        assert client.take().body == b"{}"
        call = relay.wait_for_calls(count)[-1]
        assert message.get(b"traceparent") == named(call)
        assert (message.get(b"x-before"), message.get(b"tracestate")) == (b"1", b"a=" + SPAN)
        assert (call.trace_id.hex().encode(), call.parent_span_id.hex().encode()) == (TRACE, SPAN)


def test_a_request_that_is_sent_as_it_was_keeps_its_place_in_the_trace(
    relay: Any, upstream: Any, say: Any
) -> None:
    client = relay.connect().send(say.request(STREAM, b"traceparent: 00-%s-%s-00" % (TRACE, SPAN)))
    server = upstream.accept()
    first = server.take()
    server.send(say.reply(REFUSAL, status=b"422 Unprocessable Entity"))
    second = server.take()
    server.send(say.reply(b"{}"))
    assert client.take().body == b"{}"
    (call,) = relay.wait_for_calls(1)
    assert second.body == STREAM
    assert first.get(b"traceparent") == second.get(b"traceparent") == named(call, flags=b"00")


@pytest.mark.parametrize("value", [b"00-%s-%s-01" % (b"0" * 32, SPAN), b"nonsense"])
def test_what_is_no_traceparent_passes_as_it_is(relay: Any, upstream: Any, say: Any, value: bytes) -> None:
    relay.connect().send(say.request(b"{}", b"traceparent: " + value))
    assert upstream.accept().take().get(b"traceparent") == value
