"""Calls worked out by hand: what each API says, what we make of it, and what it costs.

cases/*.yaml hold requests, replies and the events of streams; `arithmetic` is tokens x dollars a million of
them, so a sum in millionths of a dollar. Each case must agree with itself (arithmetic and dollars), streamed
with whole, any cut with any other, and the price list with the dollars.
"""

import binascii
import json
import math
import struct
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import yaml

from collector.apis import find_endpoint, read_whole
from collector.apis.batches import ResultsReader
from collector.apis.realtime import Kind, read_received
from collector.call import Call, Usage
from collector.ledger.prices import PriceList

PRICES = PriceList()
NAMED = {"anthropic", "cohere"}  # their events have names
FILES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in FILES
    for case in yaml.safe_load(file.read_text())
]
CALLS = [param for param in CASES if not {"no_call", "calls"} & set(param.values[0])]
CONVERSATIONS = [param for param in CASES if "messages" in param.values[0]]
BATCHES = [param for param in CASES if "lines" in param.values[0]]
STREAMED = [param for param in CALLS if {"events", "chunks"} & set(param.values[0])]
WHOLE = [param for param in CALLS if "reply" in param.values[0]]
ENOUGH = 150


def test_there_are_enough_cases_and_each_has_a_name_of_its_own():
    assert len(CASES) >= ENOUGH
    assert len({param.id for param in CASES}) == len(CASES)


def endpoint_of(case, *, streamed):
    path = case.get("stream_path", case["path"]) if streamed else case["path"]
    return find_endpoint(b"POST", path.encode())


def encode(value):
    return value.encode() if isinstance(value, str) else json.dumps(value, ensure_ascii=False).encode()


def server_sent(case, endpoint):
    """The events as text/event-stream."""
    out = []
    for event in case["events"]:
        name = event.get("type") if isinstance(event, dict) else None
        named = name and (endpoint.api in NAMED or endpoint.operation == "responses")
        out.append((b"event: %s\n" % name.encode() if named else b"") + b"data: " + encode(event) + b"\n\n")
    return b"".join(out)


def frame(headers, payload):
    """One message of Amazon's event stream."""
    packed = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", zlib.crc32(message))


def frames(case):
    out = []
    for event in case.get("events", ()):
        ((kind, payload),) = event.items()
        if kind == "exception":
            headers = {":message-type": "exception", ":exception-type": payload["type"]}
        else:
            headers = {":message-type": "event", ":event-type": kind, ":content-type": "application/json"}
        out.append(frame(headers, encode(payload)))
    for chunk in case.get("chunks", ()):
        inner = {"bytes": binascii.b2a_base64(encode(chunk), newline=False).decode(), "p": "abc"}
        out.append(frame({":message-type": "event", ":event-type": "chunk"}, encode(inner)))
    return b"".join(out)


def streams(case):
    """Every way in which this API may send these events: how, a fresh reader, the bytes."""
    endpoint = endpoint_of(case, streamed=True)
    framed = endpoint.framed
    if endpoint.framed_type.endswith(b"eventstream"):
        return [("frames", framed, frames(case))]
    if endpoint.framed_type.endswith(b"ndjson"):
        body = b"".join(encode(event) + b"\n" for event in case["events"])
        return [("lines", framed, body), ("lines, the last without its end", framed, body[:-1])]
    ways = [("events", endpoint.reader, server_sent(case, endpoint))]
    if framed is not None:
        ways.append(("array", framed, b"[" + b"\n,\r\n".join(map(encode, case["events"])) + b"\n]\n"))
        ways.append(("array as one reply", None, ways[-1][2]))
    return ways


def read(case, kind, body, size):
    if kind is None:
        return read_whole(endpoint_of(case, streamed=True), body, 200)
    reader = kind()
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    return reader.finish()


def price(case, operation, model, reading):
    at = datetime.fromisoformat(case.get("at", "2026-11-01T12:00")).replace(tzinfo=UTC)
    call = Call(
        call_id=bytes(16),
        started_at_ns=int(at.timestamp()) * 1_000_000_000,
        provider=case["provider"],
        operation=operation,
        model=model,
        served_model=reading.model,
        service_tier=reading.service_tier,
        status=case.get("status", 200),
        outcome=case.get("outcome", "ok"),
        usage=reading.usage,
    )
    return PRICES.price(call)


def sum_up(arithmetic):
    total = Decimal(0)
    for term in arithmetic.split(" + "):
        product, *divisor = term.split(" / ")
        total += math.prod(map(Decimal, product.split(" x "))) / Decimal(*divisor or [1])
    return total.scaleb(-6).quantize(Decimal("1e-18"))


def check(case, endpoint, reading, how):
    expected = case["usage"]
    assert reading.usage == (None if expected is None else Usage(**expected)), how
    assert reading.error_type == case.get("error", ""), how
    assert reading.service_tier == case.get("tier", ""), how
    assert case.get("problem", "") in reading.usage_problem, how
    if expected is None:
        assert reading.usage_problem or reading.error_type, how
    if "finish" in case:
        assert reading.finish_reason == case["finish"], how
    if "served_model" in case:
        assert reading.model == case["served_model"], how
    if "reported_usd" in case:
        assert reading.reported_cost_usd == Decimal(case["reported_usd"]), how
    model = endpoint.read_request(encode(case["request"])).model
    assert model == case.get("model_asked", model)
    check_price(case, price(case, endpoint.operation, model, reading), how)


def check_price(case, priced, how):
    assert priced.price_state == case.get("state", "priced"), how
    assert priced.cost_usd == (None if case["usd"] is None else Decimal(case["usd"])), how
    if priced.parts:
        assert sum(priced.parts.values()) == priced.cost_usd, how


EACH_CALL = [pytest.param(call, id=param.id) for param in CALLS for call in [param.values[0]]] + [
    pytest.param(call, id=f"{param.id}, call {number}")
    for param in CONVERSATIONS + BATCHES
    for number, call in enumerate(param.values[0]["calls"], 1)
]


@pytest.mark.parametrize("case", EACH_CALL)
def test_the_dollars_follow_from_the_arithmetic(case):
    if case["usd"] is None or "state" in case:
        assert case["state"] != "priced"
        assert "arithmetic" not in case
    else:
        assert sum_up(case["arithmetic"]) == Decimal(case["usd"])


@pytest.mark.parametrize("case", WHOLE)
def test_whole(case):
    endpoint = endpoint_of(case, streamed=False)
    check(case, endpoint, read_whole(endpoint, encode(case["reply"]), case.get("status", 200)), "whole")


@pytest.mark.parametrize("case", STREAMED)
def test_streamed(case):
    endpoint = endpoint_of(case, streamed=True)
    for how, kind, body in streams(case):
        readings = [read(case, kind, body, size) for size in (len(body), 1, 7, 64)]
        check(case, endpoint, readings[0], how)
        # Where content was matched and not decoded its length is counted as it stands in the JSON.
        cut = [msgspec.structs.replace(reading, content_chars=0) for reading in readings]
        assert cut == [cut[0]] * len(cut), how


@pytest.mark.parametrize("case", [param for param in WHOLE if param in STREAMED])
def test_streamed_and_whole_say_the_same(case):
    whole = read_whole(endpoint_of(case, streamed=False), encode(case["reply"]), 200)
    for how, kind, body in streams(case):
        streamed = read(case, kind, body, len(body))
        for field in ("model", "response_id", "finish_reason", "service_tier", "usage", "error_type"):
            if field not in case.get("loose", ()):
                assert getattr(streamed, field) == getattr(whole, field), (how, field)


@pytest.mark.parametrize("case", [param for param in CASES if "no_call" in param.values[0]])
def test_what_is_no_call(case):
    assert find_endpoint(b"POST", case["path"].encode()) is None


@pytest.mark.parametrize("case", CONVERSATIONS)
def test_each_turn_of_a_conversation_is_a_call(case):
    """What began and didn't end when the connection closed is a call too, of unknown usage."""
    model, begun, ended = "", {}, []
    for said in [read_received(encode(message), True) for message in case["messages"]]:
        if said.kind == Kind.SESSION:
            model = said.model
        elif said.kind == Kind.BEGAN:
            begun[said.response_id] = said.reading
        elif said.kind == Kind.ENDED:
            begun.pop(said.response_id)
            ended.append(said.reading)
    readings = [*ended, *begun.values()]
    assert len(readings) == len(case["calls"])
    for reading, expected in zip(readings, case["calls"], strict=True):
        assert reading.usage == (None if expected["usage"] is None else Usage(**expected["usage"]))
        check_price(expected, price({**case, **expected}, case["operation"], model, reading), case["name"])


@pytest.mark.parametrize("case", BATCHES)
def test_each_line_of_a_batch_is_a_call_and_the_same_one_at_every_fetch(case):
    body = b"".join(encode(line) + b"\n" for line in case["lines"])
    fetched = []
    for size in (len(body), 1, 50):
        reader = ResultsReader()
        results = []
        for start in range(0, len(body), size):
            results += reader.feed(body[start : start + size])
        results += reader.finish()
        assert len(results) + reader.failed + reader.unread == len(case["lines"])
        fetched.append(results)
    assert fetched == [fetched[0]] * len(fetched)
    assert len({result.stable_id for result in fetched[0]}) == len(case["calls"])
    for result, expected in zip(fetched[0], case["calls"], strict=True):
        assert result.reading.usage == Usage(**expected["usage"])
        assert result.reading.service_tier == "batch"
        check_price(expected, price(case, result.operation, "", result.reading), case["name"])
