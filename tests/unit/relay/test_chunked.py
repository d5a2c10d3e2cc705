"""Chunked bodies: the same pieces whatever the cuts, nothing read beyond the end; llhttp agrees."""

from contextlib import suppress
from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.relay.chunked import BadChunk, ChunkedBody

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(parts: list[bytes]) -> tuple[bytes, int, bool]:
    """The body, how many bytes the message has, and whether it is whole."""
    chunked, pieces, used = ChunkedBody(), list[bytes](), 0
    for part in parts:
        took = chunked.feed(part, pieces)
        used += took
        if chunked.done:
            break
        assert took == len(part)
    return b"".join(pieces), used, chunked.done


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


WHOLE = (
    b"4;name=v\r\nWiki\r\n0005\t ;x\r\npedia\r\nA\r\n in\r\n\r\nxyz\r\n000;last\r\nX-Trailer: a\r\nY:\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(WHOLE)])
def test_a_body_in_pieces(size: int) -> None:
    stream = WHOLE + b"GET / HTTP/1.1\r\n"
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert read(parts) == (b"Wikipedia in\r\n\r\nxyz", len(WHOLE), True)


def test_cut_in_two_at_every_byte() -> None:
    for at in range(len(WHOLE)):
        assert read([WHOLE[:at], WHOLE[at:] + b"0\r\n\r\n"]) == (b"Wikipedia in\r\n\r\nxyz", len(WHOLE), True)


def test_a_beginning_is_not_whole() -> None:
    for at in range(len(WHOLE)):
        assert not read([WHOLE[:at]])[2]


BAD = {
    "hex with a prefix": b"0x5\r\nAAAAA\r\n",
    "a plus": b"+5\r\nAAAAA\r\n",
    "a minus": b"-5\r\nAAAAA\r\n",
    "an underscore": b"1_0\r\n",
    "a space before": b" 5\r\nAAAAA\r\n",
    "a space behind": b"5 \r\nAAAAA\r\n",
    "a tab behind": b"5\t\r\nAAAAA\r\n",
    "no size": b"\r\nAAAAA\r\n",
    "no size but an extension": b";a=b\r\n",
    "no digit": b"g\r\n",
    "an upper-case letter beyond hex": b"5G\r\n",
    "a digit of another script": "٥\r\n".encode(),
    "16 digits": b"0000000000000005\r\nAAAAA\r\n",
    "beyond 64 bits": b"10000000000000005\r\nAAAAA\r\n",
    "all ones": b"FFFFFFFFFFFFFFFF\r\n",
    "a bare line feed": b"5\nAAAAA\r\n",
    "a bare carriage return": b"5\rAAAAA\r\n",
    "two carriage returns": b"5\r\r\nAAAAA\r\n",
    "a line feed in an extension (TERM.EXT)": b"5;\nAAAAA\r\n0\r\n\r\n",
    "a carriage return in an extension": b"5;a\rb\r\nAAAAA\r\n",
    "a NUL in an extension": b"5;a\0b\r\nAAAAA\r\n",
    "a line feed after the data (EXT.TERM)": b"5\r\nAAAAA\n0\r\n\r\n",
    "nothing after the data": b"5\r\nAAAAA0\r\n\r\n",
    "two other bytes after the data (SPILL)": b"5\r\nAAAAAXX0\r\n\r\n",
    "data too long": b"5\r\nAAAAAA\r\n",
    "data too short": b"5\r\nAAA\r\n0\r\n\r\n",
    "a bare line feed at the end": b"0\r\n\n",
    "a bare line feed after the last size": b"0\n\r\n",
    "other bytes at the end": b"0\r\nXX\r\n",
    "a trailer without a colon": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "a space before a trailer's colon": b"0\r\nA : b\r\n\r\n",
    "a NUL in a trailer": b"0\r\nA: \0\r\n\r\n",
    "a control byte in a trailer": b"0\r\nA: \x0b\r\n\r\n",
    "a carriage return in a trailer": b"0\r\nA: b\rc\r\n\r\n",
    "a trailer ended by a line feed": b"0\r\nA: b\n\r\n",
    "a long extension": b"5;" + b"a" * 5000 + b"\r\nAAAAA\r\n",
    "a long run of blanks": b"5" + b" " * 100 + b";\r\nAAAAA\r\n",
    "long trailers": b"0\r\n" + b"A: b\r\n" * 4000 + b"\r\n",
    "an endless trailer": b"0\r\nA: " + b"b" * 20_000,
    "an endless size line": b"5;" + b"a" * 20_000,
}


@pytest.mark.parametrize("case", BAD)
def test_broken_framing(case: str) -> None:
    with pytest.raises(BadChunk):
        read([BAD[case]])
    with pytest.raises(BadChunk):
        read([bytes([byte]) for byte in BAD[case]])


def test_a_chunk_of_ones_own_fits_only_between_two() -> None:
    chunked, pieces = ChunkedBody(), list[bytes]()
    boundaries = [0]
    for at, byte in enumerate(b"3\r\nabc\r\n1;e\r\nd\r\n0\r\n\r\n", 1):
        chunked.feed(bytes([byte]), pieces)
        if chunked.at_boundary():
            boundaries.append(at)
    assert boundaries == [0, 8, 16]


@pytest.mark.parametrize("bad", [b"zz\r\n", b"5\nA", b"\r\n"])
def test_what_broke_is_no_boundary(bad: bytes) -> None:
    for at in range(len(bad)):
        chunked = ChunkedBody()
        chunked.feed(b"3\r\nab", [])
        with suppress(BadChunk):
            chunked.feed(b"c\r\n" + bad[:at], [])
            chunked.feed(bad[at:], [])
        assert not chunked.at_boundary()


# -- beside llhttp -----------------------------------------------------------------------------------------

SIZES = st.sampled_from([b"0", b"00", b"1", b"2", b"a", b"A", b"03", b"0x1", b"+1", b"-1", b"1 ", b"", b"g"])
LINES = st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r", b"\r\r\n", b";a\r\n", b";a=b\r\n", b" ;a\r\n", b";\n"])
DATA = st.sampled_from([b"", b"a", b"bc", b"0\r\n\r\n", b"x" * 10, b"\r\n", b"\n"])
TRAILERS = st.sampled_from(
    [b"\r\n"] * 4 + [b"A: b\r\n\r\n", b"A : b\r\n\r\n", b"\n", b"A: b\n\r\n", b"x\r\n\r\n"]
)
SOUND = st.binary(min_size=1, max_size=20).map(lambda data: b"%x\r\n%s\r\n" % (len(data), data))
CHUNKS = SOUND | st.builds(lambda *parts: b"".join(parts), SIZES, LINES, DATA, LINES)
BODIES = st.builds(
    lambda chunks, end, tail, more: b"".join(chunks) + end + tail + more,
    st.lists(CHUNKS, max_size=4),
    st.sampled_from([b"0\r\n", b"0\r\n", b"000;e\r\n", b"0\n"]),
    TRAILERS,
    st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0"]),
)
PLACES = st.lists(st.integers(0, 10_000), max_size=5)


class Heard:
    """A chunked body as llhttp understands it."""

    def __init__(self, message: bytes) -> None:
        self.body, self.complete, self.refused = b"", 0, False
        try:
            httptools.HttpRequestParser(self).feed_data(HEAD + message)
        except httptools.HttpParserError:
            self.refused = True

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.complete += 1


@given(BODIES, PLACES)
def test_a_body_means_what_it_means_to_llhttp(stream: bytes, places: list[int]) -> None:
    try:
        body, used, done = read([stream])
    except BadChunk:
        with pytest.raises(BadChunk):
            read(cut(stream, places))
        return
    assert read(cut(stream, places)) == (body, used, done)
    heard = Heard(stream[:used])
    if heard.refused:  # llhttp refuses some extensions that are of no consequence
        assert b";" in stream[:used]
        return
    assert (heard.body, heard.complete) == (body, int(done))
    if done:
        assert not Heard(stream[: used - 1]).complete


@given(st.binary(max_size=80), PLACES)
def test_no_bytes_make_it_stumble(stream: bytes, places: list[int]) -> None:
    results = []
    for parts in ([stream], cut(stream, places), [bytes([byte]) for byte in stream]):
        try:
            results.append(read(parts))
        except BadChunk:
            results.append((b"", -1, False))
    assert results[0] == results[1] == results[2]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), PLACES)
def test_what_was_put_in_comes_out(pieces: list[bytes], places: list[int]) -> None:
    stream = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    assert read(cut(stream, places)) == (b"".join(pieces), len(stream), True)
