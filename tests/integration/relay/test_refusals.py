"""Requests that two servers could read in two ways: answered with an error, closed, and never seen upstream.

Each case carries a second request behind it, as an attacker would. That nothing came of it is seen by an
honest request afterwards, which must be the first and only thing that the upstream hears.
"""

from typing import Any

import pytest

EVIL = b"GET /admin HTTP/1.1\r\nHost: relay.test\r\n\r\n"
P = b"POST /v1/chat/completions HTTP/1.1\r\nHost: relay.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

HEADS = {
    "CL.TE": P + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\nG",
    "TE.CL": P + CHUNKED + b"Content-Length: 4\r\n\r\n5c\r\n" + EVIL + b"0\r\n\r\n",
    "CL.0 with two lengths": P + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "equal lengths": P + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": P + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a plus": P + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": P + b"Content-Length: -2\r\n\r\n{}",
    "a length in hex": P + b"Content-Length: 0x2\r\n\r\n{}",
    "an empty length": P + b"Content-Length:\r\n\r\n",
    "a length of two words": P + b"Content-Length: 2 2\r\n\r\n{}",
    "an overflowing length": P + b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "TE.TE xchunked": P + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE.TE twice": P + CHUNKED + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "TE.TE with a space": P + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "TE.TE with a tab": P + b"Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n",
    "TE.TE folded": P + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "TE.TE behind a line feed": P + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.TE behind a carriage return": P + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.TE identity": P + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
    "TE.TE chunked, identity": P + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "TE in HTTP/1.0": P.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n",
    "a control byte in a name": P + b"\x0bTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a NUL": P + b"X: \0\r\n\r\n",
    "no Host": b"POST / HTTP/1.1\r\n\r\n",
    "two Hosts": P + b"Host: other.test\r\n\r\n",
    "an absolute target": b"GET http://other.test/admin HTTP/1.1\r\nHost: relay.test\r\n\r\n",
    "dots": b"GET /v1/../admin HTTP/1.1\r\nHost: relay.test\r\n\r\n",
    "CONNECT": b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: relay.test\r\n\r\n",
    "HTTP/0.9": b"GET /admin\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "bare line feeds": b"GET /admin HTTP/1.1\nHost: relay.test\n\n",
    "a bare line feed at the end": b"GET /admin HTTP/1.1\r\nHost: relay.test\r\n\n",
    "mixed line ends at the end": b"GET /admin HTTP/1.1\r\nHost: relay.test\n\r\n",
    "a huge head": b"GET /admin HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\nHost: relay.test\r\n\r\n",
    "an endless head": b"GET /admin HTTP/1.1\r\nX: " + b"a" * 100_000,
    "a TLS hello": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
}
BODIES = {
    "a bare line feed behind a size (TERM.EXT)": b"2\n{}\r\n0\r\n\r\n",
    "a line feed in an extension (EXT.TERM)": b"2;\n{}\r\n0\r\n\r\n",
    "a carriage return in an extension": b"2;\rx\r\n{}\r\n0\r\n\r\n",
    "a line feed behind the data": b"2\r\n{}\n0\r\n\r\n",
    "two other bytes behind the data": b"2\r\n{}XX0\r\n\r\n",
    "nothing behind the data": b"2\r\n{}0\r\n\r\n",
    "a size with a prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a size with a plus": b"+2\r\n{}\r\n0\r\n\r\n",
    "a size with a minus": b"-2\r\n{}\r\n0\r\n\r\n",
    "a size with a space": b"2 \r\n{}\r\n0\r\n\r\n",
    "an empty size": b"\r\n{}\r\n0\r\n\r\n",
    "an overflowing size": b"100000000000000002\r\n{}\r\n0\r\n\r\n",
    "a size that wraps 32 bits": b"ffffffffffffffffe\r\n{}\r\n0\r\n\r\n",
    "a trailer that is a request": b"2\r\n{}\r\n0\r\n" + EVIL,
    "a line feed at the end": b"2\r\n{}\r\n0\r\n\n",
    "a long extension": b"2;" + b"a" * 10_000 + b"\r\n{}\r\n0\r\n\r\n",
    "long trailers": b"0\r\n" + b"T: t\r\n" * 10_000 + b"\r\n",
}
CASES = HEADS | {f"chunks with {name}": P + CHUNKED + b"\r\n" + body for name, body in BODIES.items()}


@pytest.mark.parametrize("case", CASES)
def test_what_is_doubtful_is_refused_and_reaches_nobody(case: str, quiet_relay: Any, say: Any) -> None:
    relay, upstream = quiet_relay
    client = relay.connect()
    client.send_ignoring_end(CASES[case] + EVIL * 2)
    try:
        answer = client.take()
    except ConnectionResetError:  # closed with our words still unread
        answer = None
    if answer is not None:
        assert 400 <= answer.status < 600
        assert answer.get(b"x-sizewise-error")
        assert b'"error"' in answer.body
        client.expect_end()
    honest = relay.connect().send(say.request(b"honest"))
    server = upstream.lines[0] if upstream.lines else upstream.accept()
    assert server.take().body == b"honest"
    server.send(say.reply())
    assert honest.take().status == 200
    honest.close()
    assert upstream.nobody_waits()


@pytest.mark.parametrize(
    "name", [b"X_Under_Score", b"x-sizewise_team", b"Content_Length", b"Transfer_Encoding"]
)
def test_a_name_with_an_underscore_is_never_a_framing(name: bytes, quiet_relay: Any, say: Any) -> None:
    relay, upstream = quiet_relay
    client = relay.connect().send(say.request(b"{}", name + b": 44") + say.request(b"second"))
    server = upstream.lines[0] if upstream.lines else upstream.accept()
    for body in (b"{}", b"second"):
        message = server.take()
        assert message.body == body
        assert (message.get(name.lower()) is not None) is (name == b"X_Under_Score" and body == b"{}")
        server.send(say.reply(body))
        assert client.take().body == body


def test_a_get_with_a_body_is_one_request(quiet_relay: Any, say: Any) -> None:
    relay, upstream = quiet_relay
    client = relay.connect().send(say.request(EVIL, method=b"GET", path=b"/v1/models"))
    server = upstream.lines[0] if upstream.lines else upstream.accept()
    assert server.take().body == EVIL
    server.send(say.reply())
    assert client.take().status == 200
    assert server.is_silent()
