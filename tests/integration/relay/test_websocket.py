"""Through a real worker, between a real WebSocket client and server: each response is one call."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from collector.plan import UpstreamPlan
from collector.policy import CapEntry, CapRule, KeyEntry, Policy, hash_key, with_version, write_policy

USAGE = {
    "total_tokens": 150,
    "input_tokens": 100,
    "output_tokens": 50,
    "input_token_details": {
        "text_tokens": 60,
        "audio_tokens": 40,
        "cached_tokens": 30,
        "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 20},
    },
    "output_token_details": {"text_tokens": 10, "audio_tokens": 40},
}


class Realtime:
    """A server that answers as its handler says, and counts what it got."""

    def __init__(self, handler: Callable[[ServerConnection], None], **options: Any) -> None:
        self.server: Server = serve(handler, "127.0.0.1", 0, **options)
        self.port: int = self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def plan(self, **more: Any) -> UpstreamPlan:
        return UpstreamPlan(name="up", host="127.0.0.1", port=self.port, host_header="up.example", **more)

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join(5)


@pytest.fixture
def realtime() -> Iterator[Callable[..., Realtime]]:
    servers: list[Realtime] = []

    def start(handler: Callable[[ServerConnection], None], **options: Any) -> Realtime:
        servers.append(Realtime(handler, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def open_socket(relay: Any, path: str = "/v1/realtime?model=gpt-realtime", **options: Any) -> Any:
    host, port = relay.address
    given = {"proxy": None, "open_timeout": 5, "close_timeout": 2, **options}
    return connect(f"ws://{host}:{port}{path}", **given)


def event(**members: Any) -> str:
    return json.dumps({"event_id": "event_1", **members})


def answer(server: ServerConnection, number: int = 1, *, deltas: int = 2) -> None:
    name = f"resp_{number}"
    server.send(event(type="response.created", response={"id": name, "status": "in_progress"}))
    for _ in range(deltas):
        server.send(event(type="response.output_audio.delta", response_id=name, delta="QUFB" * 3000))
        server.send(event(type="response.output_text.delta", response_id=name, delta="four"))
    server.send(event(type="response.done", response={"id": name, "status": "completed", "usage": USAGE}))


def talk(server: ServerConnection) -> None:
    """A Realtime server that answers each response.create."""
    server.send(event(type="session.created", session={"model": "gpt-realtime-2025"}))
    count = 0
    try:
        for message in server:
            if json.loads(message)["type"] == "response.create":
                count += 1
                answer(server, count)
    except ConnectionClosed:
        pass


def read_until(client: Any, kind: str) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(client.recv(timeout=5))
        if message["type"] == kind:
            return message


@pytest.mark.parametrize("compression", ["deflate", None])
def test_each_response_is_a_call(realtime: Any, start_relay: Any, compression: str | None) -> None:
    relay = start_relay(realtime(talk).plan())
    with open_socket(relay, compression=compression) as client:
        for number in (1, 2):
            client.send(event(type="input_audio_buffer.append", audio="QUFB" * 5000))
            client.send(event(type="response.create"))
            assert read_until(client, "response.done")["response"]["id"] == f"resp_{number}"
            assert len(relay.calls()) == number  # before the frame that ends it came here
    one, two = relay.calls()
    assert (one.response_id, two.response_id) == ("resp_1", "resp_2")
    assert one.call_id != two.call_id
    assert (one.api, one.operation, one.model, one.path) == (
        "openai",
        "realtime",
        "gpt-realtime",
        "/v1/realtime",
    )
    assert (one.outcome, one.status, one.finish_reason, one.stream) == ("ok", 101, "completed", True)
    assert (one.upstream, one.usage_source, one.content_events, one.content_chars) == ("up", "reported", 4, 8)
    usage = one.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (100, 50, 30)
    assert (usage.input_audio_tokens, usage.output_audio_tokens, usage.cache_audio_read_tokens) == (
        40,
        40,
        20,
    )
    assert one.first_byte_us is not None
    assert 0 <= one.first_byte_us <= one.first_content_us <= one.duration_us
    assert two.response_bytes > 100
    assert one.served_model == "gpt-realtime-2025"
    relay.wait_for_counter("under_way", 0)


def test_responses_over_a_socket(realtime: Any, start_relay: Any) -> None:
    def handler(server: ServerConnection) -> None:
        asked = json.loads(server.recv())
        response = {"id": "resp_a", "model": asked["model"] + "-2026"}
        server.send(json.dumps({"type": "response.created", "response": response}))
        server.send(json.dumps({"type": "response.output_text.delta", "item_id": "msg", "delta": "Hi"}))
        usage = {"input_tokens": 9, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}}
        ended = {**response, "status": "incomplete", "usage": usage}
        ended["incomplete_details"] = {"reason": "max_output_tokens"}
        server.send(json.dumps({"type": "response.incomplete", "response": ended}))
        server.recv()
        error = {"type": "invalid_request_error", "code": "previous_response_not_found"}
        server.send(json.dumps({"type": "error", "status": 400, "error": error}))

    relay = start_relay(realtime(handler).plan())
    with open_socket(relay, "/v1/responses") as client:
        client.send(json.dumps({"type": "response.create", "model": "gpt-5", "input": "x" * 200_000}))
        read_until(client, "response.incomplete")
        client.send(json.dumps({"type": "response.create", "model": "gpt-5", "input": []}))
        read_until(client, "error")
    done, refused = relay.calls()
    assert (done.operation, done.model, done.served_model) == ("responses", "gpt-5", "gpt-5-2026")
    assert (done.finish_reason, done.usage.reasoning_tokens) == ("max_output_tokens", 1)
    assert (done.content_events, done.content_chars) == (1, 2)
    assert done.request_bytes > 100
    assert (refused.outcome, refused.error_type, refused.usage) == ("error", "invalid_request_error", None)


def begin(server: ServerConnection) -> None:
    """Answers with a beginning only, then waits."""
    server.recv()
    server.send(event(type="response.created", response={"id": "resp_1"}))
    try:
        server.recv()
    except ConnectionClosed:
        return
    server.socket.shutdown(socket.SHUT_RDWR)


def test_a_client_that_leaves_in_mid_response(realtime: Any, start_relay: Any) -> None:
    ended = threading.Event()

    def handler(server: ServerConnection) -> None:
        begin(server)
        ended.set()

    relay = start_relay(realtime(handler).plan())
    with open_socket(relay) as client:
        client.send(event(type="response.create"))
        read_until(client, "response.created")
        client.socket.shutdown(socket.SHUT_RDWR)
        assert ended.wait(4)  # the server is told
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.usage, call.usage_source) == ("client_left", None, "unknown")
    assert "before the response ended" in call.usage_problem


def test_an_upstream_that_breaks_off_in_mid_response(realtime: Any, start_relay: Any) -> None:
    relay = start_relay(realtime(begin).plan())
    with open_socket(relay) as client:
        client.send(event(type="response.create"))
        read_until(client, "response.created")
        client.send("go")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
    (call,) = relay.wait_for_calls(1)
    assert (call.outcome, call.usage) == ("upstream_cut", None)


def test_a_killed_worker_leaves_it_interrupted_once(realtime: Any, start_relay: Any) -> None:
    relay = start_relay(realtime(begin).plan())
    with open_socket(relay) as client:
        client.send(event(type="response.create"))
        read_until(client, "response.created")
        relay.kill()
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
    for _ in range(2):
        relay.start(relay.plan)
        (call,) = relay.wait_for_calls(1)
        assert (call.outcome, call.operation, call.model) == ("interrupted", "realtime", "gpt-realtime")
        relay.kill()
    relay.start(relay.plan)
    relay.wait_for_counter("under_way", 0)


def test_the_handshake_is_routed_and_gets_the_keys_like_any_request(realtime: Any, start_relay: Any) -> None:
    seen: dict[str, Any] = {}

    def handler(server: ServerConnection) -> None:
        assert server.request is not None
        seen["path"], seen["headers"] = server.request.path, server.request.headers

    server = realtime(handler, subprotocols=["realtime"])
    relay = start_relay(server.plan(headers={"authorization": "Bearer upstream"}, base_path="/api"))
    headers = {"Authorization": "Bearer client", "X-Sizewise-Team": "red", "OpenAI-Beta": "realtime=v1"}
    with open_socket(relay, additional_headers=headers, subprotocols=["realtime"]) as client:
        assert client.subprotocol == "realtime"
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
    assert seen["path"] == "/api/v1/realtime?model=gpt-realtime"
    assert seen["headers"].get_all("authorization") == ["Bearer upstream"]
    assert seen["headers"].get_all("host") == ["up.example"]
    assert "x-sizewise-team" not in seen["headers"]
    assert seen["headers"]["openai-beta"] == "realtime=v1"


def test_a_refused_handshake_is_an_ordinary_reply(realtime: Any, start_relay: Any) -> None:
    def refuse(connection: ServerConnection, request: Any) -> Any:
        return connection.respond(401, "no key\n")

    relay = start_relay(realtime(talk, process_request=refuse).plan())
    with pytest.raises(InvalidStatus) as caught:
        open_socket(relay)
    assert caught.value.response.status_code == 401
    assert caught.value.response.body == b"no key\n"
    assert relay.calls() == []


def test_no_route_and_no_upstream_are_answered(start_relay: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    relay = start_relay(UpstreamPlan(name="up", host="127.0.0.1", port=port))
    for path, status in (("/v1/realtime", 502), ("/to/nobody/v1/realtime", 404)):
        with pytest.raises(InvalidStatus) as caught:
            open_socket(relay, path)
        assert caught.value.response.status_code == status


def test_pings_pongs_and_the_close_pass(realtime: Any, start_relay: Any) -> None:
    def handler(server: ServerConnection) -> None:
        assert server.ping().wait(5)
        server.recv()
        server.close(4321, "enough")

    relay = start_relay(realtime(handler).plan())
    with open_socket(relay) as client:
        assert client.ping().wait(5)
        client.send("now")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        assert (client.close_code, client.close_reason) == (4321, "enough")
    relay.wait_for_counter("clients", 0)
    relay.wait_for_counter("upstream_connections", 0)


def test_any_other_socket_passes_uncounted(realtime: Any, start_relay: Any) -> None:
    def echo(server: ServerConnection) -> None:
        for message in server:
            server.send(message)

    relay = start_relay(realtime(echo).plan())
    with open_socket(relay, "/live/events") as client:
        for message in ("text", b"\x00\xff" * 70_000, event(type="response.done", response={"id": "r"})):
            client.send(message)
            assert client.recv(timeout=5) == message
    assert relay.calls() == []


def test_large_messages_both_ways_and_a_slow_reader(realtime: Any, start_relay: Any) -> None:
    """More than any buffer holds: the server waits for the client, and the relay stays small."""
    size, count = 1 << 20, 40
    sent: list[int] = []

    def pour(server: ServerConnection) -> None:
        for number in range(count):
            server.send(bytes([number]) * size)
            sent.append(number)

    relay = start_relay(realtime(pour, compression=None).plan())
    before_mb = relay.rss_mb()
    with open_socket(relay, compression=None, max_size=None, max_queue=1) as client:
        time.sleep(0.5)
        assert len(sent) < count
        assert relay.rss_mb() - before_mb < 12
        for number in range(count):
            assert client.recv(timeout=5) == bytes([number]) * size


def test_an_idle_tunnel_is_closed(realtime: Any, start_relay: Any) -> None:
    def wait(server: ServerConnection) -> None:
        with pytest.raises(ConnectionClosed):
            server.recv()

    relay = start_relay(realtime(wait, ping_interval=None).plan(), limits={"tunnel_idle_timeout_s": 0.5})
    with open_socket(relay, ping_interval=None) as client, pytest.raises(ConnectionClosed):
        client.recv(timeout=5)


def test_told_to_stop_it_lets_the_response_end_and_says_so(realtime: Any, start_relay: Any) -> None:
    go_on = threading.Event()

    def handler(server: ServerConnection) -> None:
        server.recv()
        server.send(event(type="response.created", response={"id": "resp_1"}))
        assert go_on.wait(5)
        server.send(event(type="response.done", response={"id": "resp_1", "usage": USAGE}))
        with pytest.raises(ConnectionClosed):
            server.recv()

    relay = start_relay(realtime(handler).plan())
    with open_socket(relay) as client, open_socket(relay, "/v1/realtime?model=idle") as idle:
        client.send(event(type="response.create"))
        read_until(client, "response.created")
        relay.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            idle.recv(timeout=5)
        assert idle.close_code == 1001
        go_on.set()
        read_until(client, "response.done")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        assert client.close_code == 1001
    assert relay.process.wait(5) == 0
    (call,) = relay.calls()
    assert call.outcome == "ok"


def test_a_switch_that_nobody_asked_for_is_no_reply(relay: Any, upstream: Any, say: SimpleNamespace) -> None:
    client = relay.connect().send(say.request(None, b"Connection: Upgrade", b"Upgrade: h2c", method=b"GET"))
    server = upstream.accept()
    asked = server.take()
    assert asked.get(b"upgrade") is None
    server.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert client.take().status == 502


def test_a_handshake_with_a_body_is_an_ordinary_request(
    relay: Any, upstream: Any, say: SimpleNamespace
) -> None:
    client = relay.connect().send(
        say.request(b"GET /x HTTP/1.1\r\n", b"Connection: Upgrade", b"Upgrade: websocket", method=b"GET")
    )
    server = upstream.accept()
    asked = server.take()
    assert (asked.get(b"upgrade"), asked.body) == (None, b"GET /x HTTP/1.1\r\n")
    server.send(say.reply(b"plain"))
    assert client.take().body == b"plain"


def test_bytes_pass_as_they_came_and_end_as_they_ended(
    relay: Any, upstream: Any, say: SimpleNamespace
) -> None:
    """No WebSocket at all behind the switch: nothing is changed, an end of stream goes through."""
    upgrade = (
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: WebSocket",
        b"Sec-WebSocket-Extensions: x-mux, b",
    )
    client = relay.connect().send(say.request(None, *upgrade, method=b"GET", path=b"/v1/realtime"), b"early")
    server = upstream.accept()
    asked = server.take()
    assert (asked.get(b"upgrade"), asked.get(b"connection")) == (b"websocket", b"Upgrade")
    assert asked.get(b"sec-websocket-extensions") is None  # what can't be read is not offered
    switch = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Odd:  1\r\n\r\n"
    )
    server.send(switch + b"at once")
    client.expect(switch + b"at once")
    server.expect(b"early")
    noise = bytes(range(256)) * 1000
    client.send(noise)
    server.expect(noise)
    client.half_close()
    assert server.rest() == b""
    server.send(noise)
    client.expect(noise)
    server.close()
    client.expect_end()
    relay.wait_for_counter("clients", 0)


SECRET = "5e" * 32
KEY = "sw-" + "k" * 43


def publish(path: Path, *, revoked: bool = False, spent: str = "0") -> None:
    key = KeyEntry(key_id="key-1", key_hash=hash_key(SECRET, KEY.encode()), team="red")
    rule = CapRule(kind="team", name="red", per="day", limit_usd=Decimal(10))
    cap = CapEntry(rule=rule, spent_usd=Decimal(spent), ends_at_s=time.time() + 3600)
    keys = [] if revoked else [key]
    write_policy(with_version(Policy(made_at_s=1.0, keys_in_use=True, keys=keys, caps=[cap])), path)


@pytest.mark.parametrize("change", [{"revoked": True}, {"spent": "11"}])
def test_a_key_revoked_and_a_cap_reached_end_the_tunnel_after_its_response(
    realtime: Any, start_relay: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    go_on = threading.Event()

    def handler(server: ServerConnection) -> None:
        server.recv()
        server.send(event(type="response.created", response={"id": "resp_1"}))
        assert go_on.wait(5)
        server.send(event(type="response.done", response={"id": "resp_1", "usage": USAGE}))
        with pytest.raises(ConnectionClosed):
            server.recv()

    policy = tmp_path / "policy.json"
    publish(policy)
    given = {"hash_secret": SECRET, "require_keys": True, "policy_file": str(policy)}
    relay = start_relay(realtime(handler).plan(), **given)
    with pytest.raises(InvalidStatus) as caught, open_socket(relay):
        pass
    assert caught.value.response.status_code == 401
    with open_socket(relay, additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
        client.send(event(type="response.create"))
        read_until(client, "response.created")
        beats = relay.counters()["beats"]
        publish(policy, **change)
        wait_for_beats(relay, beats + 3)
        go_on.set()
        read_until(client, "response.done")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        assert client.close_code == 1008
        assert client.close_reason in ("cap_reached", "key_unknown")
    (call,) = relay.calls()
    assert (call.outcome, call.team, call.key_id) == ("ok", "red", "key-1")


def wait_for_beats(relay: Any, count: int) -> None:
    deadline = time.monotonic() + 5
    while relay.counters()["beats"] < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
