"""Reading from the side: bounded, never raising, and honest about what could not be read."""

import gzip
import tracemalloc
import zlib

from hypothesis import given
from hypothesis import strategies as st

from collector.apis.endpoints import find_endpoint
from collector.apis.reading import Reading
from collector.call import Usage
from collector.relay.reply_head import read_reply_head
from collector.relay.tap import make_tap

CHAT = find_endpoint(b"POST", b"/v1/chat/completions")
BODY = b'{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}'


def read(parts: list[bytes], *lines: bytes, limit: int = 1 << 20) -> Reading:
    assert CHAT is not None
    head = read_reply_head(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""]), to_head_request=False)
    tap = make_tap(CHAT, head, limit)
    for part in parts:
        assert tap.hide(part) == part
    assert tap.flush() == b""
    return tap.finish()


def test_pieces_make_a_whole() -> None:
    assert read([bytes([byte]) for byte in BODY]).usage == Usage(input_tokens=7, output_tokens=2)


def test_the_limit_is_exact() -> None:
    assert read([BODY], limit=len(BODY)).usage is not None
    reading = read([BODY[:10], BODY[10:]], limit=len(BODY) - 1)
    assert reading.usage is None
    assert "was not read" in reading.usage_problem


def test_compressed_replies_are_decoded_aside() -> None:
    for encoding, packed in (
        (b"gzip", gzip.compress(BODY)),
        (b"x-gzip", gzip.compress(BODY)),
        (b"deflate", zlib.compress(BODY)),
    ):
        for parts in ([packed], [bytes([byte]) for byte in packed]):
            reading = read(parts, b"Content-Encoding: " + encoding)
            assert reading.usage == Usage(input_tokens=7, output_tokens=2)


def test_what_cant_be_decoded_is_said() -> None:
    assert "compress" in read([b"x"], b"Content-Encoding: compress").usage_problem
    assert "gzip, br" in read([b"x"], b"Content-Encoding: gzip, br").usage_problem
    assert "can't be read" in read([b"no gzip"], b"Content-Encoding: gzip").usage_problem


def test_a_small_reply_that_unpacks_into_a_huge_one_takes_no_memory() -> None:
    packed = gzip.compress(bytes(64 << 20))
    assert len(packed) < 70_000
    tracemalloc.start()
    try:
        reading = read([packed], b"Content-Encoding: gzip", limit=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "too large" in reading.usage_problem
    assert peak < 8 << 20


@given(st.lists(st.binary(max_size=50), max_size=5), st.sampled_from([b"gzip", b"deflate", b"br", b"", b"x"]))
def test_no_bytes_make_it_raise(parts: list[bytes], encoding: bytes) -> None:
    lines = [b"Content-Encoding: " + encoding] if encoding else []
    for kind in (b"text/event-stream", b"application/json"):
        assert CHAT is not None
        head = read_reply_head(
            b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Type: " + kind, *lines, b"", b""]),
            to_head_request=False,
        )
        tap = make_tap(CHAT, head, 100)
        for part in parts:
            tap.feed(part)
        assert tap.finish().usage is None
