"""Frames read from the side: however cut, masked, split and compressed, the same messages come out."""

import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from collector.relay.websocket import (
    HEAD_BYTES,
    FrameReader,
    Message,
    keep_readable_extensions,
    make_close,
    read_extensions,
    unmask,
)

LIMIT = 1 << 20
texts = st.one_of(st.text(max_size=80), st.text(min_size=1, max_size=9).map(lambda text: text * 300))


def make_reader(*, deflate: bool = False, limit: int = LIMIT, wants: bool = True) -> FrameReader:
    return FrameReader(lambda head: wants, limit, deflate=deflate)


def frame(opcode: int, data: bytes, *, fin: bool = True, mask: bool = False, coder: Any = None) -> bytes:
    extensions = [coder] if coder else None
    return bytes(Frame(Opcode(opcode), data, fin).serialize(mask=mask, extensions=extensions))


def read(reader: FrameReader, pieces: list[bytes]) -> list[Message]:
    return [message for piece in pieces for message in reader.feed(piece)]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[bytes], bool]:
    """The text messages of one direction, its bytes in pieces, and whether it compresses."""
    deflate, mask = draw(st.booleans()), draw(st.booleans())
    takeover = draw(st.booleans())
    coder = PerMessageDeflate(takeover, takeover, 15, 15) if deflate else None
    wanted, stream = [], b""
    for _ in range(draw(st.integers(0, 5))):
        data = draw(texts).encode()
        kind = draw(st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.BINARY]))
        if kind is Opcode.TEXT:
            wanted.append(data)
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
        parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        for number, part in enumerate(parts):
            opcode = kind if number == 0 else Opcode.CONT
            stream += frame(opcode, part, fin=number == len(parts) - 1, mask=mask, coder=coder)
            if draw(st.booleans()):
                stream += frame(Opcode.PING, b"are you there", mask=mask)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return wanted, [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)], deflate


@given(conversations())
@settings(max_examples=300, deadline=None)
def test_any_cut_gives_the_same_messages(conversation: tuple[list[bytes], list[bytes], bool]) -> None:
    wanted, pieces, deflate = conversation
    reader = make_reader(deflate=deflate)
    assert read(reader, pieces) == [Message(data, True) for data in wanted]
    assert not reader.broken
    assert reader.at_boundary


@given(conversations())
@settings(max_examples=60, deadline=None)
def test_byte_by_byte(conversation: tuple[list[bytes], list[bytes], bool]) -> None:
    wanted, pieces, deflate = conversation
    stream = b"".join(pieces)
    reader = make_reader(deflate=deflate)
    assert read(reader, [bytes([byte]) for byte in stream]) == [Message(data, True) for data in wanted]


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_it_raise(pieces: list[bytes], deflate: bool) -> None:
    reader = make_reader(deflate=deflate, limit=100)
    for message in read(reader, pieces):
        assert len(message.data) <= 100


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
@pytest.mark.parametrize("mask", [False, True])
def test_each_form_of_a_length(size: int, mask: bool) -> None:
    data = bytes(n % 251 for n in range(size))
    assert read(make_reader(), [frame(Opcode.TEXT, data, mask=mask)]) == [Message(data, True)]


def test_a_long_message_is_kept_up_to_the_limit() -> None:
    stream = frame(Opcode.TEXT, b"a" * 3000, mask=True) + frame(Opcode.TEXT, b"next", mask=True)
    assert read(make_reader(limit=1000), [stream]) == [Message(b"a" * 1000, False), Message(b"next", True)]


def test_of_what_is_not_wanted_the_beginning_is_kept() -> None:
    data = bytes(range(250)) * 40
    stream = frame(Opcode.TEXT, data, mask=True) + frame(Opcode.TEXT, b"short", mask=True)
    pieces = [stream[at : at + 100] for at in range(0, len(stream), 100)]
    first, second = read(make_reader(wants=False), pieces)
    assert data.startswith(first.data)
    assert HEAD_BYTES <= len(first.data) < HEAD_BYTES + 100
    assert (first.whole, second) == (False, Message(b"short", True))


def test_a_compressed_bomb_stops_the_reading() -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(bytes(50 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    bomb = bytes([0xC1, 127]) + len(packed).to_bytes(8, "big") + packed
    reader = make_reader(deflate=True, limit=LIMIT)
    assert reader.feed(bomb) == []
    assert "compressed message of over" in reader.broken
    assert reader.feed(frame(Opcode.TEXT, b"more")) == []


@pytest.mark.parametrize(
    ("stream", "deflate"),
    [
        (b"\x83\x00", False),  # an opcode that is none
        (b"\x80\x00", False),  # a continuation of nothing
        (b"\x01\x01a\x81\x01b", False),  # a message inside another
        (b"\xc1\x00", False),  # compressed, which was not agreed on
        (b"\xa1\x00", True),  # another extension's bit
        (b"\x01\x01a\xc0\x00", True),  # compression begins with a message, not within
        (b"\x89\x7e\x00\x80", False),  # a ping that is too long
        (b"\x09\x00", False),  # half a ping
        (b"\x8b\x00", False),  # a control frame that is none
        (b"\x81\x7f" + b"\xff" * 8, False),  # an impossible length
        (b"\xc1\x02\xff\xff", True),  # no deflate data
    ],
)
def test_what_breaks_the_protocol_ends_the_reading(stream: bytes, deflate: bool) -> None:
    reader = make_reader(deflate=deflate)
    assert read(reader, [stream, frame(Opcode.TEXT, b"{}")]) == []
    assert reader.broken
    assert not reader.at_boundary


def test_the_close_is_seen() -> None:
    reader = make_reader()
    reader.feed(make_close(1001, b"bye"))
    assert reader.closed
    assert reader.at_boundary


def test_a_close_of_our_own_is_a_proper_one() -> None:
    plain = Frame(Opcode.CLOSE, (1001).to_bytes(2, "big") + b"bye").serialize(mask=False)
    assert make_close(1001, b"bye") == plain
    masked = make_close(1001, b"bye", b"\1\2\3\4")
    assert masked[:6] == b"\x88\x85\1\2\3\4"
    assert unmask(masked[6:], b"\1\2\3\4") == plain[2:]


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        (b"permessage-deflate; client_max_window_bits", b"permessage-deflate; client_max_window_bits"),
        (b"x-mux, permessage-deflate; a=1 , other", b"permessage-deflate; a=1"),
        (b"permessage-deflate;a, Permessage-Deflate", b"permessage-deflate;a, Permessage-Deflate"),
        (b"x-webkit-deflate-frame", None),
        (b"permessage-deflated", None),
    ],
)
def test_only_what_can_be_read_is_offered(offered: bytes, kept: bytes | None) -> None:
    head = b"GET / HTTP/1.1\r\nsec-websocket-extensions: %s\r\nX: sec-websocket-extensions: y\r\n"
    lines = keep_readable_extensions(head % offered)
    assert lines.startswith(b"GET / HTTP/1.1\r\n")
    assert lines.endswith(b"X: sec-websocket-extensions: y\r\n")
    found = [line.partition(b": ")[2] for line in lines.split(b"\r\n") if line.lower().startswith(b"sec-")]
    assert found == ([kept] if kept else [])


def test_what_was_agreed_on() -> None:
    head = b"HTTP/1.1 101 x\r\nSec-WebSocket-Extensions: %s\r\n\r\n"
    assert read_extensions(b"HTTP/1.1 101 x\r\n\r\n") == (False, "")
    assert read_extensions(head % b"permessage-deflate; server_no_context_takeover") == (True, "")
    assert read_extensions(head % b"permessage-deflate, x-mux") == (False, "x-mux")
