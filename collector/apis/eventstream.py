"""Amazon's binary event stream: frames enter, cut anywhere; JSON messages {"type of event": payload} leave.

A frame is its length, the length of its headers and a checksum of both; then headers, payload and a checksum
of all that came before. Both checksums are verified: after a wrong one nobody knows where a frame begins,
so nothing more is read.
"""

import struct
import zlib
from collections.abc import Iterator

import msgspec

from collector.apis.framed import MAX_BYTES, Unreadable

_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_OVERHEAD = _PRELUDE.size + _CHECKSUM.size
_MAX_HEADER_BYTES = 128 * 1024
# The sizes of header values by their type; those of type 6 and 7 (bytes, text) say their own length.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class FrameCutter:
    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = bytearray()

    def cut(self, piece: bytes) -> Iterator[bytes]:
        tail = self._tail
        tail += piece
        at = 0
        try:
            while len(tail) - at >= _PRELUDE.size:
                total, header_bytes, checksum = _PRELUDE.unpack_from(tail, at)
                if zlib.crc32(tail[at : at + 8]) != checksum:
                    raise Unreadable("a frame's head doesn't match its checksum")
                if not _OVERHEAD + header_bytes <= total <= MAX_BYTES or header_bytes > _MAX_HEADER_BYTES:
                    raise Unreadable(f"a frame of {total} bytes was not read")
                if len(tail) - at < total:
                    break
                yield _read_frame(bytes(tail[at : at + total]), header_bytes)
                at += total
        finally:
            del tail[:at]

    def end(self) -> bytes:
        return b""


def _read_frame(frame: bytes, header_bytes: int) -> bytes:
    (checksum,) = _CHECKSUM.unpack_from(frame, len(frame) - _CHECKSUM.size)
    if zlib.crc32(frame[: -_CHECKSUM.size]) != checksum:
        raise Unreadable("a frame doesn't match its checksum")
    start = _PRELUDE.size + header_bytes
    headers = _read_headers(frame[_PRELUDE.size : start])
    payload = frame[start : -_CHECKSUM.size]
    if headers.get(":message-type") in ("exception", "error"):
        kind = headers.get(":exception-type") or headers.get(":error-code") or "error"
        return msgspec.json.encode({"exception": {"type": kind}})
    kind = headers.get(":event-type", "")
    return b"{%s:%s}" % (msgspec.json.encode(kind), payload or b"null")


def _read_headers(data: bytes) -> dict[str, str]:
    """The headers that are text; the others are passed over."""
    found, at = {}, 0
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode("utf-8", "replace")
            at += 1 + data[at]
            kind = data[at]
            at += 1
            if kind in (6, 7):
                size = int.from_bytes(data[at : at + 2], "big")
                at += 2
                if kind == 7:
                    found[name] = data[at : at + size].decode("utf-8", "replace")
            else:
                size = _FIXED[kind]
            at += size
    except (IndexError, KeyError):
        raise Unreadable("a frame's headers can't be read") from None
    if at != len(data):
        raise Unreadable("a frame's headers can't be read")
    return found
