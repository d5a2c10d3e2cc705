"""Frames: what is whole comes back as it was, and nothing else comes back at all."""

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.call import Call, Usage
from collector.journal.record import (
    _BEGINNING_OF_CALL,
    CALL_KIND,
    PAYLOAD_LIMIT,
    TEXT_LIMIT,
    BadFrame,
    Frames,
    decode,
    encode_call,
    find_frame,
    frame,
)

texts = st.text(max_size=40)
tokens = st.none() | st.integers(min_value=0, max_value=2**53)
calls = st.builds(
    Call,
    call_id=st.binary(min_size=16, max_size=16),
    started_at_ns=st.integers(min_value=0, max_value=2**62),
    model=texts,
    team=texts,
    end_user=texts,
    trace_id=st.just(b"") | st.binary(min_size=16, max_size=16),
    parent_span_id=st.just(b"") | st.binary(min_size=8, max_size=8),
    stream=st.booleans(),
    status=st.integers(min_value=0, max_value=599),
    outcome=st.sampled_from(["ok", "error", "client_left", "interrupted"]),
    usage=st.none() | st.builds(Usage, input_tokens=tokens, output_tokens=tokens),
    first_byte_us=tokens,
)


def as_payload(fields: dict[str, Any], kind: int = CALL_KIND) -> bytes:
    return bytes([kind]) + msgspec.msgpack.encode(fields)


def whole_frames(buffer: bytes) -> list[bytes]:
    return [payload for _, payload in Frames(buffer)]


@given(st.lists(calls, max_size=6))
def test_calls_come_back_as_they_were(written: list[Call]) -> None:
    frames = Frames(b"".join(encode_call(call) for call in written))
    assert [decode(payload) for _, payload in frames] == written
    assert frames.ending == "clean"


@given(calls)
def test_both_ways_to_a_frame_agree(call: Call) -> None:
    (payload,) = whole_frames(encode_call(call))
    assert frame(payload) == encode_call(call)


@given(st.lists(calls, min_size=1, max_size=3))
def test_cut_at_every_byte_only_whole_frames_are_read(written: list[Call]) -> None:
    parts = [encode_call(call) for call in written]
    buffer = b"".join(parts)
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part))
    for cut in range(len(buffer) + 1):
        frames = Frames(buffer[:cut])
        found = [payload for _, payload in frames]
        whole = max(i for i, end in enumerate(ends) if end <= cut)
        assert found == [part[8:] for part in parts[:whole]]
        assert frames.end == ends[whole]
        assert frames.ending == ("clean" if cut in ends else "torn")


@given(calls, st.data())
def test_a_flipped_bit_is_never_read_as_a_frame(call: Call, data: st.DataObject) -> None:
    damaged = bytearray(encode_call(call))
    bit = data.draw(st.integers(min_value=0, max_value=len(damaged) * 8 - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    frames = Frames(bytes(damaged))
    assert not list(frames)
    assert frames.ending in ("bad", "torn")
    assert frames.reason


@given(st.integers(min_value=1, max_value=5000))
def test_zeros_are_never_a_frame(count: int) -> None:
    assert whole_frames(bytes(count)) == []
    assert find_frame(bytes(count)) is None


@given(st.binary(max_size=300), calls, st.binary(max_size=50))
def test_the_next_frame_is_found_behind_any_damage(before: bytes, call: Call, behind: bytes) -> None:
    found = find_frame(before + encode_call(call) + behind)
    assert found == len(before)


@given(st.text(alphabet=st.sampled_from("\x01\x00\x80\x8f\xde\u07ff\uffff\U0001f600a"), max_size=30))
def test_no_text_looks_like_the_beginning_of_a_call(text: str) -> None:
    assert _BEGINNING_OF_CALL.search(text.encode()) is None


def test_a_whole_frame_in_a_byte_field_is_not_found(make_call: Any) -> None:
    tiny = frame(b"\x01\x80")
    call = msgspec.structs.replace(make_call(1), trace_id=tiny.ljust(16, b"\0"))
    assert whole_frames(tiny)
    assert find_frame(encode_call(call), 1) is None


def test_a_newer_relay_may_add_fields() -> None:
    call = decode(as_payload({"call_id": b"i" * 16, "started_at_ns": 5, "of_tomorrow": [1, {"a": b"b"}]}))
    assert call == Call(call_id=b"i" * 16, started_at_ns=5)


def test_an_older_relay_may_lack_fields() -> None:
    call = decode(as_payload({"call_id": b"i" * 16, "started_at_ns": 5}))
    assert call.usage is None
    assert call.usage_source == "unknown"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "unknown kind none"),
        (as_payload({}, kind=2), "unknown kind 2"),
        (as_payload({"started_at_ns": 5}), "missing required field `call_id`"),
        (as_payload({"call_id": b"short", "started_at_ns": 5}), "call_id has 5 bytes"),
        (as_payload({"call_id": b"i" * 16, "started_at_ns": 5, "outcome": "new"}), "Invalid enum value"),
        (b"\x01\xc1", "not a call"),
        (b"\x01\x81\xa5model\xa2\xff\xff", "not a call"),
        (as_payload({"call_id": b"i" * 16, "started_at_ns": 5}) + b"\x00", "trailing"),
    ],
)
def test_what_is_no_call_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(BadFrame, match=reason):
        decode(payload)


def test_texts_that_do_not_fit_are_cut_rather_than_the_call_lost(make_call: Any) -> None:
    call = msgspec.structs.replace(make_call(3), model="ü" * (2 * PAYLOAD_LIMIT))
    (payload,) = whole_frames(encode_call(call))
    read = decode(payload)
    assert read.model == "ü" * TEXT_LIMIT
    assert msgspec.structs.replace(read, model=call.model) == call


def test_a_text_that_utf8_can_not_say_is_replaced(make_call: Any) -> None:
    call = msgspec.structs.replace(make_call(3), end_user="a\ud800b")
    (payload,) = whole_frames(encode_call(call))
    assert decode(payload).end_user == "a?b"


def test_counts_beyond_64_bits_become_unknown_not_wrong(make_call: Any) -> None:
    call = msgspec.structs.replace(make_call(3), usage=Usage(input_tokens=10**30))
    (payload,) = whole_frames(encode_call(call))
    read = decode(payload)
    assert (read.usage, read.usage_source) == (None, "unknown")
    assert "64 bits" in read.usage_problem


def test_a_payload_of_no_or_too_many_bytes_is_refused() -> None:
    assert whole_frames(frame(bytes(PAYLOAD_LIMIT))) == [bytes(PAYLOAD_LIMIT)]
    for size in (0, PAYLOAD_LIMIT + 1):
        with pytest.raises(BadFrame):
            frame(bytes(size))
    too_long = (PAYLOAD_LIMIT + 1).to_bytes(4, "little") + zlib.crc32(bytes(PAYLOAD_LIMIT + 1)).to_bytes(
        4, "little"
    )
    assert whole_frames(too_long + bytes(PAYLOAD_LIMIT + 1)) == []
