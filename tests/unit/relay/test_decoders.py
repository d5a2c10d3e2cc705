"""Whatever the encoding and however it is cut, the same bytes come out, in steps that stay small."""

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.relay.decoders import STEP_BYTES, Decoder, find_decoder

ENCODERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstd.compress,
}
encodings = pytest.mark.parametrize("encoding", ENCODERS)


def make(encoding: bytes) -> Decoder:
    decoder = find_decoder(encoding)
    assert decoder is not None
    return decoder


def decode(encoding: bytes, pieces: list[bytes]) -> bytes:
    decoder = make(encoding)
    return b"".join(plain for piece in pieces for plain in decoder.decode(piece))


@encodings
@given(data=st.data(), body=st.binary(max_size=2000), repeats=st.sampled_from([1, 200]))
@settings(max_examples=40)
def test_any_cut_gives_the_same_body(encoding: bytes, data: st.DataObject, body: bytes, repeats: int) -> None:
    body *= repeats
    packed = ENCODERS[encoding](body)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=6)))
    pieces = [packed[a:b] for a, b in zip([0, *cuts], [*cuts, len(packed)], strict=True)]
    assert decode(encoding, pieces) == body


@encodings
def test_every_byte_for_itself(encoding: bytes) -> None:
    body = b'{"usage":{"prompt_tokens":7}}' * 50
    assert decode(encoding, [bytes([byte]) for byte in ENCODERS[encoding](body)]) == body


@encodings
def test_a_bomb_is_decoded_step_by_step(encoding: bytes) -> None:
    """The reader stops, and nothing more is decoded."""
    bomb = ENCODERS[encoding](bytes(200 << 20))
    steps = make(encoding).decode(bomb)
    for _ in range(5):
        assert len(next(steps)) <= 2 * STEP_BYTES
    steps.close()


@encodings
def test_what_is_no_such_encoding_raises(encoding: bytes) -> None:
    with pytest.raises(Exception, match=r".+"):
        decode(encoding, [b"\xff\xfe this is not encoded at all" * 10])


def test_members_one_after_the_other() -> None:
    assert decode(b"gzip", [gzip.compress(b"one, ") + gzip.compress(b"two")]) == b"one, two"
    assert decode(b"gzip", [gzip.compress(b"one, "), gzip.compress(b"two")]) == b"one, two"
    assert decode(b"zstd", [zstd.compress(b"one, ") + zstd.compress(b"two")]) == b"one, two"
    assert decode(b"gzip", [gzip.compress(b"one") + b"\0" * 20]) == b"one"


def test_deflate_without_its_header() -> None:
    packer = zlib.compressobj(wbits=-15)
    assert decode(b"deflate", [packer.compress(b"raw " * 99) + packer.flush()]) == b"raw " * 99


def test_a_window_larger_than_agreed_is_refused() -> None:
    """Its size is the memory that the decoder would take."""
    large = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    packer = zstd.ZstdCompressor(options=large)
    packed = packer.compress(bytes(range(256)) * 100) + packer.flush()
    with pytest.raises(zstd.ZstdError):
        decode(b"zstd", [packed])


@pytest.mark.parametrize("encoding", [b"", b"identity", b"compress", b"gzip, br"])
def test_others_are_not_known(encoding: bytes) -> None:
    assert find_decoder(encoding) is None
