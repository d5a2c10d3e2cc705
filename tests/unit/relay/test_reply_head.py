"""Heads of replies: how each body's end is known, what goes to the client, and what is no reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.relay.reply_head import BadReply, Framing, ReplyHead, read_reply_head


def head_of(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK", to_head: bool = False) -> ReplyHead:
    return read_reply_head(b"\r\n".join([status, *lines, b"", b""]), to_head_request=to_head)


@pytest.mark.parametrize(
    ("head", "framing"),
    [
        (head_of(b"Content-Length: 5"), Framing.LENGTH),
        (head_of(b"content-length:\t05 "), Framing.LENGTH),
        (head_of(b"Transfer-Encoding: Chunked"), Framing.CHUNKED),
        (head_of(), Framing.CLOSE),
        (head_of(b"Content-Length: 5", status=b"HTTP/1.0 200 OK"), Framing.LENGTH),
        (head_of(status=b"HTTP/1.0 200"), Framing.CLOSE),
        (head_of(status=b"HTTP/1.1 204 No Content"), Framing.NONE),
        (head_of(b"Content-Length: 5", status=b"HTTP/1.1 304 Not Modified"), Framing.NONE),
        (head_of(b"Content-Length: 5", to_head=True), Framing.NONE),
        (head_of(b"Transfer-Encoding: chunked", to_head=True), Framing.NONE),
        (head_of(status=b"HTTP/1.1 103 Early Hints"), Framing.NONE),
    ],
)
def test_how_the_end_is_known(head: ReplyHead, framing: Framing) -> None:
    assert head.framing is framing


@pytest.mark.parametrize(
    ("head", "stays"),
    [
        (head_of(b"Content-Length: 5"), True),
        (head_of(b"Content-Length: 5", b"Connection: Close"), False),
        (head_of(b"Content-Length: 5", b"Connection: x, close"), False),
        (head_of(b"Content-Length: 5", status=b"HTTP/1.0 200 OK"), False),
        (head_of(b"Content-Length: 5", b"Connection: keep-alive", status=b"HTTP/1.0 200 OK"), True),
        (head_of(b"Connection: keep-alive"), False),
        (head_of(status=b"HTTP/1.1 204 No Content"), True),
    ],
)
def test_whether_the_upstream_stays(head: ReplyHead, stays: bool) -> None:
    assert head.keep_alive is stays


BAD = {
    "both": [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
    "two lengths": [b"Content-Length: 5", b"Content-Length: 6"],
    "a list": [b"Content-Length: 5, 5"],
    "no number": [b"Content-Length: x"],
    "a plus": [b"Content-Length: +5"],
    "empty": [b"Content-Length:"],
    "too long": [b"Content-Length: 1000000000000000"],
    "chunked twice": [b"Transfer-Encoding: chunked", b"transfer-encoding: chunked"],
    "gzip, chunked": [b"Transfer-Encoding: gzip, chunked"],
    "identity": [b"Transfer-Encoding: identity"],
    "xchunked": [b"Transfer-Encoding: xchunked"],
    "chunked with a vertical tab": [b"Transfer-Encoding: chunked\x0b"],
    "a space before the colon": [b"Content-Length : 5"],
    "folded": [b"X: a", b" b"],
    "no colon": [b"Content-Length 5"],
    "no name": [b": 5"],
    "NUL": [b"X: a\0"],
    "a bare carriage return": [b"X: a\rContent-Length: 5"],
    "a bare line feed": [b"X: a\nContent-Length: 5"],
    "a control byte in a name": [b"\x01X: a"],
    "nothing": [b""],
}


@pytest.mark.parametrize("case", BAD)
def test_what_could_be_read_in_two_ways(case: str) -> None:
    for _ in range(2):  # what was refused isn't remembered as good
        with pytest.raises(BadReply):
            head_of(*BAD[case])


@pytest.mark.parametrize(
    "status",
    [
        b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK", b"HTTP/1.1 099 X", b"HTTP/1.1 20 X", b"HTTP/1.1 2000 X",
        b"HTTP/1.1  200 OK", b" HTTP/1.1 200 OK", b"ICY 200 OK", b"", b"<html>", b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 O\nK", b"http/1.1 200 OK", b"\x15\x03\x01\0\x02\x02F",
    ],
)  # fmt: skip
def test_what_is_no_status_line(status: bytes) -> None:
    with pytest.raises(BadReply):
        head_of(status=status)


def test_te_in_http10() -> None:
    with pytest.raises(BadReply):
        head_of(b"Transfer-Encoding: chunked", status=b"HTTP/1.0 200 OK")


def test_what_the_client_gets_keeps_order_and_case() -> None:
    head = head_of(
        b"X-B: 1", b"Connection: keep-alive, X-Named", b"Keep-Alive: timeout=5", b"x-a:2 ", b"X-Named: gone",
        b"Content-Length: 5", b"Upgrade: h2", b"Proxy-Connection: x", b"X-B: 3", b"Trailer: T",
        b"Content-Type: a/b",
        status=b"HTTP/1.1 299 So  So",
    )  # fmt: skip
    assert head.kept_lines() == (
        b"HTTP/1.1 299 So  So\r\nX-B: 1\r\nx-a:2 \r\nX-B: 3\r\nTrailer: T\r\nContent-Type: a/b\r\n"
    )
    assert head.has_dropped


def test_an_upstream_cant_take_away_what_the_body_is() -> None:
    head = head_of(b"Connection: content-type", b"Content-Type: a/b", b"Content-Length: 0")
    assert head.kept_lines() == b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"


def test_equal_lengths_become_one() -> None:
    head = head_of(b"Content-Length: 5", b"Content-Length: 05")
    assert head.has_dropped  # not passed on as it came
    assert head.content_length == 5


def test_an_http10_reply_goes_on_as_http11() -> None:
    head = head_of(b"Content-Length: 5", status=b"HTTP/1.0 200 OK")
    assert head.has_dropped
    assert head.kept_lines().startswith(b"HTTP/1.1 200 OK\r\n")


def test_what_is_needed_of_a_head() -> None:
    head = head_of(
        b"Content-Type: Text/Event-Stream; charset=utf-8", b"Content-Encoding: GZIP", b"X-Request-ID: r"
    )
    assert (head.event_stream, head.content_encoding, head.request_id) == (True, b"gzip", "r")
    assert head_of(b"Content-Encoding: identity").content_encoding == b""


@given(st.binary(max_size=100))
def test_no_bytes_make_it_stumble(noise: bytes) -> None:
    for lines in ([noise], [b"Content-Length: 5", noise], [noise, b"Transfer-Encoding: chunked"]):
        try:
            head = head_of(*lines)
        except BadReply:
            continue
        assert b"\n" not in noise.replace(b"\r\n", b"")
        assert head.kept_lines().endswith(b"\r\n")
