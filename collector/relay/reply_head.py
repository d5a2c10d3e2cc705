"""The head of a reply: enters as bytes up to the empty line, leaves with its framing known.

Read line by line, each distinct line once: an upstream's replies differ in few of their lines, so most are
known already and cost one look-up. Strict in grammar; a reply whose length could be read in two ways is an
error of the upstream (502), not the client's problem.
"""

import enum
import re
from typing import NamedTuple


class Framing(enum.IntEnum):
    """How the end of a reply's body is known."""

    NONE = 0  # HEAD, 204, 304
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


_CHUNKED, _LENGTH_FRAMING, _CLOSE = Framing.CHUNKED, Framing.LENGTH, Framing.CLOSE


class BadReply(Exception):  # noqa: N818 - it says what came
    """What came from the upstream can't be passed on as a reply."""


class _Kind(enum.IntEnum):
    PLAIN = 0
    DROPPED = 1  # hop-by-hop: between the upstream and us
    LENGTH = 2
    CHUNKED = 3
    CONNECTION = 4
    TYPE = 5
    ENCODING = 6
    REQUEST_ID = 7


# An enum's member costs a look-up through its class each time; these run once a line of every reply.
_PLAIN, _LENGTH_KIND, _CHUNKED_KIND, _TYPE = _Kind.PLAIN, _Kind.LENGTH, _Kind.CHUNKED, _Kind.TYPE


class _Line(NamedTuple):
    kind: _Kind
    length: int = 0
    text: bytes = b""


_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\0-\x08\x0a-\x1f\x7f]*)?\Z")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\0-\x08\x0a-\x1f\x7f]*)\Z")
_LENGTH = re.compile(rb"[0-9]{1,15}\Z")
_DROPPED = frozenset(b"keep-alive proxy-authenticate proxy-connection upgrade".split())
_REMEMBERED = 4096
_REMEMBERED_BYTES = 512

_lines: dict[bytes, _Line] = {}
_statuses: dict[bytes, tuple[int, bool]] = {}


class ReplyHead:
    __slots__ = (
        "close",
        "content_encoding",
        "content_length",
        "content_type",
        "event_stream",
        "framing",
        "has_dropped",
        "http11",
        "keep_alive",
        "lines",
        "request_id",
        "status",
    )

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines  # the status line, the headers, and two empty ones
        self.status, self.http11 = _statuses.get(lines[0]) or _read_status(lines[0])
        self.content_length: int | None = None
        self.framing = _CLOSE
        self.keep_alive = self.http11  # may the upstream's connection serve again
        self.has_dropped = not self.http11  # a line can't go to the client as it is
        self.event_stream = False
        self.content_encoding = b""
        self.content_type = b""  # without its parameters
        self.request_id = ""

    def kept_lines(self) -> bytes:
        """What of the head goes to the client, without the lines that frame the body."""
        found = [(line, _read_line(line)) for line in self.lines[1:-2]]
        named = {token for _, read in found if read.kind is _Kind.CONNECTION for token in _tokens(read.text)}
        kept = [line for line, read in found if read.kind not in _FRAMING]
        if named - _NO_NAMES:
            kept = [line for line in kept if line.partition(b":")[0].lower() not in named - _END_TO_END]
        return b"\r\n".join([b"HTTP/1.1" + self.lines[0][8:], *kept, b""])


_NO_NAMES = frozenset({b"close", b"keep-alive", b""})
# An upstream must not make us drop these by naming them in its Connection header.
_END_TO_END = frozenset(b"content-type content-encoding content-disposition".split())
_FRAMING = frozenset({_Kind.DROPPED, _Kind.CONNECTION, _Kind.LENGTH, _Kind.CHUNKED})


def read_reply_head(raw: bytes, *, to_head_request: bool) -> ReplyHead:
    """Read one head, `raw` ending with its empty line. Raises BadReply."""
    lines = raw.split(b"\r\n")
    head = ReplyHead(lines)
    chunked = False
    known = _lines.get
    for text in lines[1:-2]:
        line = known(text) or _read_line(text)
        kind = line[0]
        if kind is _PLAIN:
            continue
        if kind is _LENGTH_KIND:
            if head.content_length is not None:
                if head.content_length != line.length:
                    raise BadReply("it has several lengths")
                head.has_dropped = True  # the client gets one of them
            head.content_length = line.length
        elif kind is _CHUNKED_KIND:
            if chunked:
                raise BadReply("its Transfer-Encoding is given twice")
            chunked = True
        elif kind is _TYPE:
            head.event_stream = line.length == 1
            head.content_type = line.text
        else:
            _note(head, line)
    if to_head_request or head.status in (204, 304) or head.status < 200:
        head.framing = Framing.NONE
    elif chunked:
        if head.content_length is not None or not head.http11:
            raise BadReply("it has both Content-Length and Transfer-Encoding, or the latter in HTTP/1.0")
        head.framing = _CHUNKED
    elif head.content_length is not None:
        head.framing = _LENGTH_FRAMING
    else:
        head.keep_alive = False
        head.has_dropped = True
    return head


def _note(head: ReplyHead, line: _Line) -> None:
    if line.kind is _Kind.ENCODING:
        head.content_encoding = line.text
    elif line.kind is _Kind.REQUEST_ID:
        head.request_id = line.text.decode("latin-1")
    elif line.kind is _Kind.CONNECTION:
        head.has_dropped = True
        tokens = _tokens(line.text)
        if b"close" in tokens:
            head.keep_alive = False
        elif b"keep-alive" in tokens:
            head.keep_alive = True
    else:
        head.has_dropped = True


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.split(b",")]


def _read_status(text: bytes) -> tuple[int, bool]:
    match = _STATUS.match(text)
    if match is None:
        raise BadReply(f"it begins with {text[:60]!r}, which is no HTTP/1.1 status line")
    if len(_statuses) > _REMEMBERED:
        _statuses.clear()
    _statuses[text] = found = (int(match[2]), match[1] == b"1")
    return found


def _read_line(text: bytes) -> _Line:
    match = _HEADER.match(text)
    if match is None:
        raise BadReply(f"it has the line {text[:60]!r}, which is no header")
    line = _classify(match[1].lower(), match[2].strip())
    if len(text) <= _REMEMBERED_BYTES:
        if len(_lines) >= _REMEMBERED:
            _lines.clear()
        _lines[text] = line
    return line


def _classify(name: bytes, value: bytes) -> _Line:
    if name == b"content-length":
        if not _LENGTH.match(value):
            raise BadReply("its Content-Length is not a number")
        return _Line(_Kind.LENGTH, int(value))
    if name == b"transfer-encoding":
        if value.lower() != b"chunked":
            raise BadReply("its Transfer-Encoding is not chunked")
        return _Line(_Kind.CHUNKED)
    if name == b"content-type":
        kind = value.partition(b";")[0].strip().lower()
        return _Line(_Kind.TYPE, int(value[:17].lower() == b"text/event-stream"), kind)
    if name == b"connection":
        return _Line(_Kind.CONNECTION, text=value.lower())
    if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
        return _Line(_Kind.ENCODING, text=value.lower())
    if name == b"x-request-id":
        return _Line(_Kind.REQUEST_ID, text=value[:120])
    return _Line(_Kind.DROPPED if name in _DROPPED else _Kind.PLAIN)
