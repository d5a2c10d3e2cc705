"""The call: in the journal before its end is passed on, once, with an outcome, whatever then happens."""

from typing import Any

import pytest

from collector.call import Call, Usage

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
SHOWN = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'


@pytest.mark.parametrize("body", [SHOWN, b'{"model":"m","stream":true}'])
def test_a_stream_is_written_before_its_end_is_passed_on(
    body: bytes, relay: Any, upstream: Any, say: Any
) -> None:
    client = relay.connect().send(say.request(body))
    server = upstream.accept()
    server.take()
    server.send(HEAD, say.chunk(EVENT), say.chunk(USAGE))
    client.read_until(b'"Hi"')
    assert relay.calls() == []
    server.send(say.chunk(DONE))  # the last chunk is still to come
    client.read_until(b"[DONE]")
    (call,) = relay.calls()
    assert (call.outcome, call.usage) == ("ok", Usage(input_tokens=7, output_tokens=2))
    client.close()
    server.expect_end()
    assert len(relay.wait_for_calls(1)) == 1


def test_a_whole_reply_is_written_before_its_last_byte(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    raw = say.reply(b'{"choices":[]}')
    server.send(raw[:-1])
    client.expect(raw[:-1])
    assert relay.calls() == []
    server.send(raw[-1:])
    client.expect(raw[-1:])
    assert [call.outcome for call in relay.calls()] == ["ok"]


def test_what_is_no_call_is_not_written(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect()
    server = None
    for method, path in ((b"GET", b"/v1/models"), (b"GET", b"/health"), (b"POST", b"/tokenize")):
        client.send(say.request(None if method == b"GET" else b"{}", method=method, path=path))
        server = server or upstream.accept()
        server.take()
        server.send(say.reply())
        assert client.take().status == 200
    assert relay.calls() == []


def test_everything_known_of_a_call(relay: Any, upstream: Any, say: Any) -> None:
    lines = [b"x-sizewise-team: blue", b"User-Agent: test", b"x-request-id: r", b"Idempotency-Key: secret"]
    client = relay.connect().send(say.request(b'{"model":"m","user":"u"}', *lines))
    server = upstream.accept()
    server.take()
    body = b'{"id":"c-1","model":"m-1","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":7}}'
    server.send(say.reply(body, b"Content-Type: application/json"))
    client.take()
    (call,) = relay.calls()
    assert (call.upstream, call.api, call.operation, call.path) == (
        "up", "openai", "chat", "/v1/chat/completions",
    )  # fmt: skip
    assert (call.team, call.client, call.request_id, call.end_user) == ("blue", "test", "r", "u")
    assert (call.model, call.served_model, call.response_id, call.finish_reason) == (
        "m",
        "m-1",
        "c-1",
        "stop",
    )
    assert (call.status, call.outcome, call.usage, call.usage_source) == (
        200, "ok", Usage(input_tokens=7), "reported",
    )  # fmt: skip
    assert call.idempotency_key
    assert "secret" not in call.idempotency_key
    assert call.request_bytes == 24
    assert call.connect_us is not None
    assert call.first_byte_us is not None
    assert call.relay_us is not None
    assert 0 < call.connect_us <= call.first_byte_us <= call.duration_us
    assert 0 < call.relay_us <= call.duration_us


def test_an_error_of_the_upstream_is_an_error(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply(b'{"error":{"type":"overloaded"}}', status=b"503 Service Unavailable"))
    assert client.take().status == 503
    (call,) = relay.calls()
    assert (call.status, call.outcome, call.error_type) == (503, "error", "overloaded")


def test_a_request_that_sizewise_refuses_is_refused(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request(b'{"model":"\\ud800"}', path=b"/to/nobody/v1/chat/completions"))
    answer = client.take()
    assert (answer.status, answer.get(b"x-sizewise-error")) == (404, b"no_route")
    (call,) = relay.calls()
    assert (call.outcome, call.error_type, call.upstream) == ("refused", "no_route", "")


def test_a_stream_without_its_end_was_cut(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request(SHOWN))
    server = upstream.accept()
    server.take()
    server.send(HEAD, say.chunk(EVENT), b"0\r\n\r\n")
    assert client.take().body == EVENT
    assert relay.calls()[0].outcome == "upstream_cut"


# -- a killed worker ---------------------------------------------------------------------------------------


def restart(relay: Any) -> list[Call]:
    """Kill it, and see what its successor makes of what it left."""
    relay.kill()
    (relay.folder / "journal" / "w0" / "counters").unlink()
    relay.start(relay.plan)
    relay.wait_for_counter("clients", 0)
    calls: list[Call] = relay.calls()
    assert len({call.call_id for call in calls}) == len(calls)
    return calls


def test_a_call_under_way_is_interrupted_once(relay: Any, upstream: Any, say: Any) -> None:
    clients = [relay.connect().send(say.request(b'{"model":"m%d"}' % number)) for number in range(3)]
    servers = [upstream.accept() for _ in clients]
    for server in servers:
        server.take()
    servers[0].send(say.reply(b"done"))
    say.wait_until(relay.calls)
    for _ in range(2):  # and not again when its successor is killed too
        calls = restart(relay)
        assert sorted(call.outcome for call in calls) == ["interrupted", "interrupted", "ok"]
        assert {call.model for call in calls} == {"m0", "m1", "m2"}
    assert relay.counters()["interrupted"] == 0


def test_killed_right_at_the_end(relay: Any, upstream: Any, say: Any) -> None:
    """The client has seen the end: then the call is there, once, and not interrupted."""
    for number in range(5):
        client = relay.connect().send(say.request())
        server = upstream.accept()
        server.take()
        server.send(say.reply(b"done"))
        client.read_until(b"done")
        assert [call.outcome for call in restart(relay)] == ["ok"] * (number + 1)


def test_killed_between_the_record_and_the_table(relay: Any, upstream: Any, say: Any) -> None:
    """As if the kill came after the frame was written, and before the slot was cleared."""
    relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    table = relay.folder / "journal" / "w0" / "open_calls"
    under_way = table.read_bytes()
    server.send(say.reply())
    relay.wait_for_calls(1)
    relay.kill()
    table.write_bytes(under_way)
    relay.start(relay.plan)
    relay.wait_for_counter("beats", 1)
    assert [call.outcome for call in relay.calls()] == ["ok"]
