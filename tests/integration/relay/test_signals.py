"""Told to stop or to read its plan again: what is under way ends as it began, what is new goes elsewhere."""

import signal
from typing import Any

import msgspec

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def test_told_to_stop_it_lets_streams_end(relay: Any, upstream: Any, say: Any) -> None:
    idle = relay.connect()
    stream, pipelined = relay.connect(), relay.connect()
    idle.send(say.request())
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert idle.take().status == 200
    stream.send(say.request())
    server.take()
    server.send(HEAD, say.chunk(b"data: 1\n\n"))
    stream.read_until(b"data: 1\n\n")
    pipelined.send(say.request() + say.request(b"never"))
    second = upstream.accept()
    second.take()
    relay.process.send_signal(signal.SIGTERM)
    idle.expect_end()
    late = relay.connect().send(say.request())  # waits in the queue for another worker
    server.send(say.chunk(DONE), b"0\r\n\r\n")
    assert stream.rest().endswith(DONE + b"\r\n0\r\n\r\n")
    assert relay.process.poll() is None
    second.send(say.reply())
    assert pipelined.take().get(b"connection") == b"close"
    pipelined.expect_end()
    assert relay.process.wait(10) == 0
    assert [call.outcome for call in relay.calls()] == ["ok", "ok", "ok"]
    assert late.is_silent()
    assert upstream.nobody_waits()
    relay.start(relay.plan)
    third = upstream.accept()
    third.take()
    third.send(say.reply())
    assert late.take().status == 200


def test_told_to_stop_it_does_not_wait_for_ever(start_relay: Any, upstream: Any, say: Any) -> None:
    relay = start_relay(upstream.plan(), limits={"shutdown_grace_s": 0.3})
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(HEAD)
    client.read_until(b"\r\n\r\n")
    relay.process.send_signal(signal.SIGTERM)
    client.expect_end()
    assert relay.process.wait(10) == 0
    assert [call.status for call in relay.calls()] == [200]


def test_a_new_plan_is_used_and_what_is_under_way_ends(start_relay: Any, upstream: Any, say: Any) -> None:
    other = type(upstream)()
    relay = start_relay(upstream.plan())
    idle, stream = relay.connect(), relay.connect()
    idle.send(say.request())
    kept = upstream.accept()
    kept.take()
    stream.send(say.request())
    server = upstream.accept()
    server.take()
    server.send(HEAD, say.chunk(b"data: 1\n\n"))
    stream.read_until(b"data: 1\n\n")
    kept.send(say.reply())
    assert idle.take().status == 200
    relay.reload(msgspec.structs.replace(relay.plan, upstreams=[other.plan()]))
    kept.expect_end()  # nobody needs it any more
    idle.send(say.request(b"new"))
    line = other.accept()
    assert line.take().body == b"new"
    line.send(say.reply(b"from the other"))
    assert idle.take().body == b"from the other"
    server.send(say.chunk(DONE), b"0\r\n\r\n")
    assert stream.rest_of_message().endswith(DONE + b"\r\n0\r\n\r\n")
    server.expect_end()
    stream.send(say.request(b"newer"))
    assert line.take().body == b"newer"
    other.close()


def test_a_plan_that_cant_be_read_changes_nothing(relay: Any, upstream: Any, say: Any) -> None:
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    relay.plan_file.write_text("{")
    relay.process.send_signal(signal.SIGHUP)
    say.wait_until(lambda: '"reload_failed"' in relay.errors())
    server.send(say.reply())
    assert client.take().status == 200
    client.send(say.request())
    assert server.take().body == say.BODY
