"""Decoders of encoded replies: encoded bytes enter piece by piece, plain ones leave in small steps.

A few bytes can say a gigabyte, so no step is larger than about STEP_BYTES whatever was fed: who reads them
stops when it has enough, and then nothing more is decoded. `brotli` and `zstd` are imported when a reply
needs them, so that a worker that never sees one doesn't carry them.
"""

import sys
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

STEP_BYTES = 64 * 1024
_ZSTD_WINDOW_LOG = 23  # 8 MiB: what RFC 9659 allows in a Content-Encoding; more is refused


class Decoder(Protocol):
    def decode(self, data: bytes, /) -> Iterator[bytes]:
        """The plain bytes that `data` adds. Raises the library's own errors for what can't be decoded."""


class _Zlib:
    """gzip (several members too) and deflate, with its zlib header or, as some servers send it, without."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._inner: Any = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inner is None:
                raw = self._wbits == zlib.MAX_WBITS and data[0] & 0x0F != 8
                self._inner = zlib.decompressobj(-zlib.MAX_WBITS if raw else self._wbits)
            inner = self._inner
            plain = inner.decompress(data, STEP_BYTES)
            while plain:
                yield plain
                if len(plain) < STEP_BYTES and not inner.unconsumed_tail:
                    break
                plain = inner.decompress(inner.unconsumed_tail, STEP_BYTES)
            data = inner.unused_data if inner.eof else b""
            if inner.eof:
                self._inner = None
                if data[:1] != b"\x1f"[: len(data)]:
                    return  # not another member: padding, which others ignore too


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._inner = brotli.Decompressor()

    def decode(self, data: bytes) -> Iterator[bytes]:
        inner = self._inner
        if inner.is_finished():
            return
        if plain := inner.process(data, output_buffer_limit=STEP_BYTES):
            yield plain
        while not inner.can_accept_more_data() and not inner.is_finished():
            if plain := inner.process(b"", output_buffer_limit=STEP_BYTES):
                yield plain


class _Zstd:
    """Several frames too, as the format allows."""

    def __init__(self) -> None:
        self._library: Any
        if sys.version_info >= (3, 14):
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        else:
            from backports import zstd
        self._library = zstd
        self._inner: Any = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inner is None:
                windows = {self._library.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
                self._inner = self._library.ZstdDecompressor(options=windows)
            inner = self._inner
            if plain := inner.decompress(data, STEP_BYTES):
                yield plain
            while not inner.needs_input and not inner.eof:
                if plain := inner.decompress(b"", STEP_BYTES):
                    yield plain
            data = b""
            if inner.eof:
                data, self._inner = inner.unused_data, None


def find_decoder(encoding: bytes) -> Decoder | None:
    """None for an encoding that isn't known here, several on top of each other included."""
    if encoding in (b"gzip", b"x-gzip"):
        return _Zlib(zlib.MAX_WBITS | 16)
    if encoding == b"deflate":
        return _Zlib(zlib.MAX_WBITS)
    if encoding == b"br":
        return _Brotli()
    if encoding == b"zstd":
        return _Zstd()
    return None
