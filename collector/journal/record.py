"""The frame: one call as bytes that survive being cut off, flipped, or followed by zeros.

A Call enters, one frame leaves (`encode_call`); bytes enter, payloads leave (`Frames`, `find_frame`) and
a payload becomes a Call again (`decode`). Pure: no file, no clock.

    u32 length of the payload | u32 crc32 of the payload | payload        (little endian)
    payload = kind (one byte) + a msgpack map; kind 1 is a Call

Invariants, and what keeps them:
F1  A length is 1 to 1 MiB. Zeros, which a file system may leave behind after a power loss, are never a
    frame: crc32 of nothing is 0, so that a header of zeros would pass if length 0 were allowed.
F2  A payload is handed on only when it is whole and its crc is right.
F3  Relay and record may differ in version. Unknown fields are ignored and missing ones take their
    default, so fields may be added within kind 1; a field that changes its meaning, or loses its
    default, needs a new kind. A kind that the reader doesn't know is refused by `decode` alone: the
    frames behind it are still found.
F4  What stands inside a frame is never taken for a frame, even if a client wrote it there on purpose:
    reading goes on behind damage only at a frame that begins with kind 1 and a map header and that
    decodes. UTF-8 text can't contain those two bytes, and the byte fields of a Call are too short to
    hold a Call. A kind that carries raw bytes of any length needs another answer, and a folder of its own.
F5  Every Call has a frame. Texts too long or not encodable and counts beyond 64 bits are cut down rather
    than the call lost.
There is no header on a file of frames: each frame says its own kind, so that one file may hold frames
of two versions, and a file that was just created needs no state. Were the framing itself to change, the
files' suffix would.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import msgspec

from collector.call import Call, Usage

PAYLOAD_LIMIT: Final = 1024 * 1024
HEADER_BYTES: Final = 8
FRAME_LIMIT: Final = HEADER_BYTES + PAYLOAD_LIMIT
CALL_KIND: Final = 1
TEXT_LIMIT: Final = 1000  # characters left of a text when a call would not fit otherwise

Ending = Literal[
    "clean",  # the bytes end where a frame ends
    "torn",  # the last frame says that it is longer than the bytes that are there
    "bad",  # what stands there is no frame, however many bytes may follow
]

_HEADER = struct.Struct("<II")
_HEADER_AND_KIND = struct.Struct("<IIB")
_MAP_HEADER = struct.Struct(">BH")
_MAP_16 = 0xDE
_DEFAULTS = tuple(field.default for field in msgspec.structs.fields(Call))
_CRC_OF_KIND = zlib.crc32(bytes([CALL_KIND]))
_BEGINNING_OF_CALL = re.compile(rb"\x01(?:[\x80-\x8f]|\xde\x00)")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Call).decode


class BadFrame(Exception):  # noqa: N818 - it names the thing that is put aside
    """A payload that can't be read as a Call; the text says why."""


def encode_call(call: Call) -> bytes:
    try:
        body = _encode(call)
        if len(body) >= PAYLOAD_LIMIT:
            body = _encode(cut_down(call))
    except (UnicodeError, OverflowError):
        body = _encode(cut_down(call))
    return _seal(body)


def _seal(body: bytes) -> bytes:
    return _HEADER_AND_KIND.pack(len(body) + 1, zlib.crc32(body, _CRC_OF_KIND), CALL_KIND) + body


class About(NamedTuple):
    """The part of a call that many share, as members of a msgpack map: encoded once, written often."""

    fields: int
    members: bytes


def encode_about(call: Call) -> About:
    """Everything in `call` that is not its default, but its id and time, which differ from call to call."""
    fields = {
        name: value
        for name, value, default in zip(
            call.__struct_fields__, msgspec.structs.astuple(call), _DEFAULTS, strict=True
        )
        if value != default and name not in ("call_id", "started_at_ns")
    }
    return About(len(fields), _encode(fields)[1 if len(fields) < 16 else 3 :])


def encode_parts(about: About, varying: msgspec.Struct) -> bytes:
    """The frame of the call that `about` and `varying` make together; they have no field in common.

    Two msgpack maps become one by one header for both, so the reader sees an ordinary Call.
    """
    try:
        body = _encode(varying)
    except (UnicodeError, OverflowError):
        return _encode_cut_down(about, varying)
    first = body[0]
    if first == _MAP_16:
        count, members = int.from_bytes(body[1:3], "big"), body[3:]
    else:
        count, members = first & 0x0F, body[1:]
    body = b"".join((_MAP_HEADER.pack(_MAP_16, about.fields + count), about.members, members))
    if len(body) >= PAYLOAD_LIMIT:
        return _encode_cut_down(about, varying)
    return _HEADER_AND_KIND.pack(len(body) + 1, zlib.crc32(body, _CRC_OF_KIND), CALL_KIND) + body


def _encode_cut_down(about: About, varying: msgspec.Struct) -> bytes:
    header = _MAP_HEADER.pack(_MAP_16, about.fields)
    shared = msgspec.msgpack.decode(header + about.members)
    call = Call(**(shared | msgspec.structs.asdict(varying)))
    return _seal(_encode(cut_down(call)))


def frame(payload: bytes) -> bytes:
    """Any payload as a frame; for a Call `encode_call` does the same with less copying."""
    if not 0 < len(payload) <= PAYLOAD_LIMIT:
        raise BadFrame(f"a payload has 1 to {PAYLOAD_LIMIT} bytes, this one {len(payload)}")
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def decode(payload: bytes) -> Call:
    if not payload or payload[0] != CALL_KIND:
        kind = payload[0] if payload else "none"
        raise BadFrame(f"unknown kind {kind} (this version reads {CALL_KIND}): written by a newer relay?")
    try:
        call = _decode(payload[1:])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadFrame(f"not a call: {error}") from None
    if len(call.call_id) != 16:
        raise BadFrame(f"not a call: call_id has {len(call.call_id)} bytes instead of 16")
    return call


def cut_down(call: Call) -> Call:
    """The same call with what can't be written left out (F5); nobody needs it on the ordinary path."""
    changes: dict[str, Any] = {}
    for name in call.__struct_fields__:
        value = getattr(call, name)
        if isinstance(value, str):
            changes[name] = value.encode("utf-8", "replace")[: TEXT_LIMIT * 4].decode("utf-8", "ignore")
            changes[name] = changes[name][:TEXT_LIMIT]
    if call.usage is not None and not _fits(call.usage):
        changes |= {
            "usage": None,
            "usage_source": "unknown",
            "usage_problem": "reported counts beyond 64 bits",
        }
    return msgspec.structs.replace(call, **changes)


def _fits(usage: Usage) -> bool:
    return all(-(2**63) <= n < 2**63 for n in msgspec.structs.astuple(usage) if isinstance(n, int))


class Frames:
    """The whole frames of some bytes, in order, as (offset, payload); then says how it ended and where.

    `end` stands behind the last whole frame; `reason` says what is wrong there unless it ended clean.
    """

    def __init__(self, buffer: bytes, offset: int = 0) -> None:
        self.buffer = buffer
        self.end = offset
        self.ending: Ending = "clean"
        self.reason = ""

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        buffer, size, offset = self.buffer, len(self.buffer), self.end
        crc32, unpack = zlib.crc32, _HEADER.unpack_from
        while (start := offset + HEADER_BYTES) <= size:
            length, crc = unpack(buffer, offset)
            if not 0 < length <= PAYLOAD_LIMIT:
                return self._stop("bad", f"a length of {length} (allowed: 1 to {PAYLOAD_LIMIT})")
            stop = start + length
            if stop > size:
                return self._stop("torn", f"{length} bytes announced, {size - start} there")
            payload = buffer[start:stop]
            if crc32(payload) != crc:
                return self._stop("bad", "wrong checksum")
            self.end = stop
            yield offset, payload
            offset = stop
        if offset < size:
            self._stop("torn", f"{size - offset} bytes of a header of {HEADER_BYTES}")

    def _stop(self, ending: Ending, reason: str) -> None:
        self.ending, self.reason = ending, reason


def find_frame(buffer: bytes, start: int = 0) -> int | None:
    """The first offset from `start` at which a whole frame with a Call begins (F4)."""
    for match in _BEGINNING_OF_CALL.finditer(buffer, start + HEADER_BYTES):
        offset = match.start() - HEADER_BYTES
        for _, payload in Frames(buffer, offset):
            if _is_call(payload):
                return offset
            break
    return None


def _is_call(payload: bytes) -> bool:
    try:
        decode(payload)
    except BadFrame:
        return False
    return True
