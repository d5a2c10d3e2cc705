"""A worker and its policy file: who is let in, on connections that stay open, while the file changes."""

import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.policy import CapEntry, CapRule, KeyEntry, Policy, hash_key, with_version, write_policy

SECRET = "5e" * 32
KEY = "sw-" + "k" * 43
LINE = b"Authorization: Bearer " + KEY.encode()
Publish = Callable[..., None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.json"


@pytest.fixture
def publish(file: Path) -> Publish:
    def write(*, good: bool = True, spent: str | None = None, ends_in_s: float = 600.0) -> None:
        entry = KeyEntry(key_id="key-1", key_hash=hash_key(SECRET, KEY.encode()), team="search")
        rule = CapRule(kind="team", name="search", per="day", limit_usd=Decimal(5))
        now = time.time()
        cap = CapEntry(rule=rule, spent_usd=Decimal(spent or 0), ends_at_s=now + ends_in_s)
        policy = Policy(
            made_at_s=now,
            keys_in_use=True,
            keys=[entry] if good else [],
            caps=[cap] if spent is not None else [],
        )
        write_policy(with_version(policy), file)

    return write


@pytest.fixture
def strict(start_relay: Any, upstream: Any, file: Path) -> Any:
    """A relay that demands keys, and holds the upstream's own."""
    return start_relay(
        upstream.plan(headers={"authorization": "Bearer sk-upstream"}),
        hash_secret=SECRET,
        require_keys=True,
        policy_file=str(file),
    )


def settle(client: Any, server: Any, say: Any, status: int, *lines: bytes) -> Any:
    """Ask until it is answered so; whatever goes upstream until then is answered there."""
    for _ in range(200):
        client.send(say.request(say.BODY, *lines))
        while client.is_silent():
            if server is not None and not server.is_silent():
                server.take()
                server.send(say.reply())
        answer = client.take()
        if answer.status == status:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"never {status}, last {answer.first!r} {answer.body!r}")


def test_a_key_comes_and_goes_on_a_connection_that_stays_open(
    strict: Any, upstream: Any, publish: Publish, say: Any
) -> None:
    client = strict.connect()
    early = settle(client, None, say, 503, LINE)
    assert json.loads(early.body)["error"]["code"] == "policy_missing"
    publish()
    say.wait_until(lambda: strict.counters()["policy_made_at_s"])
    client.send(say.request(say.BODY, LINE, b"x-sizewise-team: finance"))
    server = upstream.accept()
    request = server.take()
    assert request.get(b"authorization") == b"Bearer sk-upstream"
    assert KEY.encode() not in request.head
    server.send(say.reply())
    assert client.take().status == 200
    (call,) = strict.wait_for_calls(1)
    assert (call.team, call.key_id, call.outcome) == ("search", "key-1", "ok")
    publish(good=False)
    refused = settle(client, server, say, 401, LINE)
    assert json.loads(refused.body)["error"]["code"] == "key_unknown"
    assert refused.get(b"connection") is None
    publish()
    settle(client, server, say, 200, LINE)
    assert upstream.nobody_waits()


def test_who_is_not_let_in_fills_no_journal_and_is_counted(strict: Any, say: Any, publish: Publish) -> None:
    publish()
    client = strict.connect()
    for _ in range(3):
        assert settle(client, None, say, 401).get(b"content-type") == b"application/json"
    strict.wait_for_counter("unauthorized", 3)
    assert strict.calls() == []


@pytest.mark.parametrize("known", [False, True])
def test_a_body_of_somebody_unknown_is_read_only_if_it_is_short(
    strict: Any, upstream: Any, publish: Publish, say: Any, known: bool
) -> None:
    """Short, so that the client sees the answer; no more, so that nobody fills the memory."""
    publish()
    if known:
        settle_on = strict.connect()
        settle_on.send(say.request(say.BODY, LINE))
        server = upstream.accept()
        server.take()
        server.send(say.reply())
        assert settle_on.take().status == 200
    lines = (LINE,) if known else ()
    for head in (
        say.request(None, b"Content-Length: 10000000", *lines),
        say.request(None, b"Transfer-Encoding: chunked", *lines),
    ):
        client = strict.connect().send(head)
        if known:
            assert client.is_silent_for_long()
        else:
            answer = client.take()
            assert (answer.status, answer.get(b"connection")) == (401, b"close")
            client.expect_end()
    client = strict.connect().send(say.request(None, b"Content-Length: 27", b"Expect: 100-continue", *lines))
    assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 100" if known else b"HTTP/1.1 401")


def test_a_cap_refuses_and_its_windows_end_frees_without_news(
    strict: Any, upstream: Any, publish: Publish, say: Any
) -> None:
    publish(spent="4.99")
    client = strict.connect().send(say.request(say.BODY, LINE))
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    publish(spent="5", ends_in_s=1.5)
    refused = settle(client, server, say, 429, LINE)
    error = json.loads(refused.body)["error"]
    assert (error["code"], error["spent_usd"], error["limit_usd"]) == ("cap_reached", "5", "5")
    assert int(refused.get(b"retry-after")) in (1, 2)
    strict.wait_for_counter("capped", 1)
    call = strict.calls()[-1]
    assert (call.outcome, call.status, call.error_type) == ("refused", 429, "cap_reached")
    assert (call.team, call.key_id, call.usage) == ("search", "key-1", None)
    assert server.is_silent()
    settle(client, server, say, 200, LINE)


def test_a_file_that_is_no_policy_changes_nothing(
    strict: Any, upstream: Any, publish: Publish, file: Path, say: Any
) -> None:
    publish()
    client = strict.connect().send(say.request(say.BODY, LINE))
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    file.write_bytes(b"{")
    say.wait_until(lambda: "policy_unreadable" in strict.errors())
    settle(client, server, say, 200, LINE)
    file.unlink()
    settle(client, server, say, 200, LINE)
    publish(good=False)
    settle(client, server, say, 401, LINE)


def test_a_reload_keeps_the_keys(strict: Any, upstream: Any, publish: Publish, say: Any) -> None:
    publish()
    client = strict.connect().send(say.request(say.BODY, LINE))
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    strict.reload(msgspec.structs.replace(strict.plan, environment="prod"))
    client.send(say.request(say.BODY, LINE))
    server = upstream.accept()
    server.take()
    server.send(say.reply())
    assert client.take().status == 200
    assert settle(client, None, say, 401).status == 401
