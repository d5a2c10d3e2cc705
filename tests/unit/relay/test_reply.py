"""Replies: the client gets the body whatever the cuts, less a hidden event, and nothing from behind it."""

import gzip
import zlib
from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.apis.endpoints import find_endpoint
from collector.call import Usage
from collector.relay.reply import Passing, Reply
from collector.relay.reply_head import BadReply, Framing, read_reply_head

CHAT = find_endpoint(b"POST", b"/v1/chat/completions")
LIMIT = 1 << 20
STREAM = b"Content-Type: text/event-stream"
BEGINNING = b'data: {"id":"c","object":"chat.completion.chunk","choices":['
CONTENT = BEGINNING + b'{"index":0,"delta":{"content":"%s"}}]}\n\n'
USAGE = BEGINNING + b'],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
FINISH = BEGINNING + b'{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
SHOWN = CONTENT % b"Hello" + CONTENT % b"w\\u00f6rld" + FINISH
DONE = b"data: [DONE]\n\n"
BODY = SHOWN + USAGE + DONE


def chunk(body: bytes, *, size: int = 1 << 30, trailers: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + trailers + b"\r\n"


def make_reply(*lines: bytes, hides: bool = False, http11: bool = True, status: bytes = b"200") -> Reply:
    raw = b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""])
    reply = Reply(read_reply_head(raw, to_head_request=False), CHAT, hides, http11)
    reply.open_tap(LIMIT)
    return reply


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


def pass_on(reply: Reply, parts: list[bytes]) -> bytes:
    """What the client gets, its head included; the upstream closes after the last part."""
    out = reply.head_bytes(http11=reply.passing is not Passing.BARE, keep_alive=True)
    for part in parts:
        if not reply.done:
            out += reply.take(part, 1.0)
    return out + (reply.end() if reply.head.framing is Framing.CLOSE else b"")


class Client:
    """What a client makes of what it got."""

    def __init__(self, raw: bytes) -> None:
        self.body, self.complete = b"", 0
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(raw)

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.complete += 1


FRAMINGS = {
    "length": ([STREAM, b"Content-Length: %d" % len(BODY)], BODY),
    "chunks": ([STREAM, b"Transfer-Encoding: chunked"], chunk(BODY)),
    "many chunks": ([STREAM, b"Transfer-Encoding: chunked"], chunk(BODY, size=11, trailers=b"X-T: 1\r\n")),
    "until closed": ([STREAM], BODY),
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("hides", [False, True])
def test_cut_at_every_byte(framing: str, hides: bool) -> None:
    lines, raw = FRAMINGS[framing]
    expected = SHOWN + DONE if hides else BODY
    for parts in [
        [raw],
        [bytes([byte]) for byte in raw],
        *([raw[:at], raw[at:]] for at in range(1, len(raw))),
    ]:
        reply = make_reply(*lines, hides=hides)
        client = Client(pass_on(reply, parts))
        assert (client.body, client.complete) == (expected, 1)
        assert reply.done
        assert reply.is_reusable() is (framing != "until closed")
        assert reply.read().usage == Usage(input_tokens=7, output_tokens=2)


@given(
    st.sampled_from(sorted(FRAMINGS)),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 9999), max_size=6),
)
def test_any_cuts(framing: str, hides: bool, http11: bool, places: list[int]) -> None:
    lines, raw = FRAMINGS[framing]
    reply = make_reply(*lines, hides=hides, http11=http11)
    got = pass_on(reply, cut(raw, places))
    if reply.passing is Passing.BARE:
        assert got.partition(b"\r\n\r\n")[2] == (SHOWN + DONE if hides else BODY)
    else:
        assert Client(got).body == (SHOWN + DONE if hides else BODY)


@given(st.binary(max_size=300), st.lists(st.integers(0, 9999), max_size=4), st.booleans())
def test_no_bytes_make_it_stumble(noise: bytes, places: list[int], hides: bool) -> None:
    for lines in ([STREAM], [STREAM, b"Transfer-Encoding: chunked"], [STREAM, b"Content-Length: 40"]):
        reply = make_reply(*lines, hides=hides)
        try:
            pass_on(reply, cut(noise, places))
        except BadReply:
            reply.error_event("bad_reply", "m")
        reply.read()


@pytest.mark.parametrize(
    ("lines", "raw"),
    [
        ([b"Content-Length: 5"], b"Hello"),
        ([b"Transfer-Encoding: chunked"], chunk(b"Hello")),
    ],
)
def test_what_follows_a_reply_goes_to_nobody(lines: list[bytes], raw: bytes) -> None:
    for at in range(len(raw) + 1):
        reply = make_reply(*lines)
        more = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        out = b"".join(
            reply.take(part, 1.0) for part in (raw[:at], raw[at:] + more) if part and not reply.done
        )
        assert out == raw
        assert not reply.is_reusable() or at == len(raw)


def test_a_reply_without_a_body_has_none() -> None:
    reply = make_reply(status=b"204 No Content")
    assert reply.take(b"evil", 1.0) == b""
    assert not reply.is_reusable()
    reply = make_reply(status=b"304 Not Modified")
    assert reply.take(b"", 1.0) == b""
    assert reply.is_reusable()


def test_a_reply_of_no_length_is_done_at_once() -> None:
    reply = make_reply(b"Content-Length: 0")
    assert (reply.take(b"", 1.0), reply.done) == (b"", True)


def test_the_end_is_known_before_it_is_passed_on() -> None:
    for hides in (False, True):
        reply = make_reply(STREAM, b"Transfer-Encoding: chunked", hides=hides)
        for event in (SHOWN, USAGE):
            reply.take(b"%x\r\n%s\r\n" % (len(event), event), 1.0)
            assert not reply.ending
        assert DONE in reply.take(b"%x\r\n%s\r\n" % (len(DONE), DONE), 1.0)
        assert reply.ending
        assert not reply.done


@pytest.mark.parametrize("http11", [True, False])
def test_framing_is_what_the_client_can_read(http11: bool) -> None:
    reply = make_reply(STREAM, b"Transfer-Encoding: chunked", http11=http11)
    head = reply.head_bytes(http11=http11, keep_alive=True)
    assert (b"transfer-encoding: chunked" in head) is http11
    assert (b"connection: close" in head) is not http11


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip", b"deflate"])
def test_a_compressed_stream_is_read_aside_and_never_changed(encoding: bytes) -> None:
    packed = zlib.compress(BODY) if encoding == b"deflate" else gzip.compress(BODY)
    for hides in (False, True):
        reply = make_reply(
            STREAM, b"Content-Encoding: " + encoding, b"Transfer-Encoding: chunked", hides=hides
        )
        raw = chunk(packed, size=7)
        assert b"".join(reply.take(raw[at : at + 1], 1.0) for at in range(len(raw))) == raw
        assert not reply.hides
        assert reply.read().usage == Usage(input_tokens=7, output_tokens=2)


def test_a_stream_that_breaks_off_says_so_where_a_client_can_read_it() -> None:
    for http11, hides in ((True, False), (True, True), (False, True), (False, False)):
        reply = make_reply(STREAM, b"Transfer-Encoding: chunked", hides=hides, http11=http11)
        out = reply.head_bytes(http11=http11, keep_alive=True)
        out += reply.take(b"%x\r\n%s\r\n" % (len(SHOWN), SHOWN), 1.0)
        out += reply.error_event("upstream_cut", "It broke off.")
        body = Client(out).body
        assert body.startswith(SHOWN + b'data: {"error":{"message":"It broke off."')
        assert body.endswith(b"\n\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"%x\r\n%s" % (len(SHOWN), SHOWN),  # in a chunk
        b"%x\r\n%s\r\n" % (len(SHOWN) - 3, SHOWN[:-3]),  # in an event
        b"%x\r\n%s\r\n5" % (len(SHOWN), SHOWN),  # in a size
        chunk(SHOWN)[:-2],  # in the trailers
        b"%x\r\n%s\r\n" % (len(BODY), BODY),  # after the terminal event
    ],
)
def test_no_event_is_put_in_where_it_would_be_misread(sent: bytes) -> None:
    reply = make_reply(STREAM, b"Transfer-Encoding: chunked")
    reply.take(sent, 1.0)
    assert reply.error_event("upstream_cut", "It broke off.") == b""


def test_no_event_is_put_into_what_is_no_stream() -> None:
    for lines in ([b"Transfer-Encoding: chunked"], [STREAM, b"Content-Length: 900"]):
        reply = make_reply(*lines)
        reply.take(b"5\r\nHello\r\n", 1.0)
        assert reply.error_event("upstream_cut", "It broke off.") == b""


def test_a_bad_chunk_ends_it() -> None:
    reply = make_reply(STREAM, b"Transfer-Encoding: chunked")
    reply.take(b"%x\r\n%s\r\n" % (len(SHOWN), SHOWN), 1.0)
    with pytest.raises(BadReply):
        reply.take(b"0x5\r\n", 1.0)
    assert reply.error_event("bad_reply", "m") == b""
    assert not reply.is_reusable()


def test_gaps_between_events_are_kept() -> None:
    reply = make_reply(STREAM)
    for now in (10.0, 10.5, 12.0):
        reply.take(CONTENT % b"a", now)
    assert reply.content_times == [10.0, 10.5, 12.0]


def test_a_whole_reply_is_read_at_once() -> None:
    body = b'{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}'
    for lines, sent in (([], body), ([b"Content-Encoding: gzip"], gzip.compress(body))):
        raw = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"Content-Length: %d" % len(sent), b"", b""])
        reply = Reply(read_reply_head(raw, to_head_request=False), CHAT, False, True)
        reply.take_whole(sent, LIMIT)
        assert reply.ending
        assert reply.read().usage == Usage(input_tokens=7, output_tokens=2)
