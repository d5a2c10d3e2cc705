"""Against upstreams that answer like the real ones: the same bodies as without the relay, and true counts."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from collector.plan import RoutePlan, UpstreamPlan
from collector.simulator import Simulator, start_simulator

PROMPT = [{"role": "user", "content": "Say something [[sim: tokens=40 tokens_per_chunk=3]]"}]
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "llama-3", "messages": PROMPT}),
    "chat stream": ("/v1/chat/completions", {"model": "llama-3", "messages": PROMPT, "stream": True}),
    "messages": ("/v1/messages", {"model": "claude-sonnet-4-5", "messages": PROMPT, "max_tokens": 90}),
    "messages stream": (
        "/v1/messages",
        {"model": "claude-sonnet-4-5", "messages": PROMPT, "max_tokens": 90, "stream": True},
    ),
    "responses stream": ("/v1/responses", {"model": "gpt-4.1", "input": PROMPT, "stream": True}),
    "mistral stream": (
        "/v1/chat/completions",
        {"model": "mistral-small", "messages": PROMPT, "stream": True},
    ),
    "embeddings": ("/v1/embeddings", {"model": "bge", "input": ["a", "b c d"]}),
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(seed=7) as running:
        yield running


def ask(port: int, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json", "anthropic-version": "2023-06-01", "x-request-id": "r"}
    connection.request("POST", path, json.dumps(body), headers)
    reply = connection.getresponse()
    got = reply.status, reply.read()
    connection.close()
    return got


def without_chance(body: bytes) -> list[bytes]:
    """A reply's lines without ids and times, which differ from one to the next."""
    kept = []
    for line in body.splitlines():
        try:
            event = json.loads(line.removeprefix(b"data: "))
        except ValueError:
            kept.append(line)
            continue
        kept.append(json.dumps(_scrub(event)).encode())
    return kept


def _scrub(value: Any) -> Any:
    if isinstance(value, dict):
        # vLLM puts its fingerprint into the last event, which is the hidden one once usage was asked for.
        chance = {
            "system_fingerprint",
            "id",
            "created",
            "created_at",
            "item_id",
            "completed_at",
            "obfuscation",
        }
        return {key: _scrub(inner) for key, inner in value.items() if key not in chance}
    return [_scrub(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", REQUESTS)
def test_the_same_with_the_relay_as_without(case: str, simulator: Simulator, start_relay: Any) -> None:
    path, body = REQUESTS[case]
    plan = UpstreamPlan(name="sim", host="127.0.0.1", port=simulator.port, host_header="sim")
    relay = start_relay(plan, routes=[RoutePlan(to="sim")])
    direct = ask(simulator.port, path, body)
    relayed = ask(relay.address[1], path, body)
    assert direct[0] == relayed[0] == 200
    assert without_chance(relayed[1]) == without_chance(direct[1])
    (call,) = relay.wait_for_calls(1)
    entry = simulator.entries()[-1]
    assert call.outcome == "ok"
    assert (call.operation, call.served_model) == (entry.operation, entry.served_model)
    if call.usage is not None:
        assert call.usage.input_tokens == entry.prompt_tokens
        assert (call.usage.output_tokens or 0) == entry.completion_tokens
    assert (call.usage is not None) is entry.usage_told
