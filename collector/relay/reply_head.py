"""The head of a reply: enters as bytes up to the empty line, leaves with its framing known and its lines kept.

A reply whose length could be read in two ways is an error of the upstream (502), not the client's problem.
"""

import enum
import re

import httptools

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-connection trailer transfer-encoding upgrade".split()
)
_LENGTH = re.compile(rb"[0-9]{1,15}\Z")


class Framing(enum.IntEnum):
    """How the end of a reply's body is known."""

    NONE = 0  # HEAD, 204, 304
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


class BadReply(Exception):  # noqa: N818 - it says what came
    """What came from the upstream can't be passed on as a reply."""


class ReplyHead:
    __slots__ = (
        "content_encoding",
        "content_length",
        "event_stream",
        "framing",
        "keep_alive",
        "lines",
        "reason",
        "request_id",
        "status",
    )

    def __init__(self) -> None:
        self.lines: list[bytes] = []  # the forwarded headers, without framing and hop-by-hop ones
        self.status = 0
        self.reason = b""
        self.content_length: int | None = None
        self.framing = Framing.CLOSE
        self.keep_alive = True
        self.event_stream = False
        self.content_encoding = b""
        self.request_id = ""


class _Collector:
    __slots__ = ("headers", "reason")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.reason = b""

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def parse_reply_head(raw: bytes, *, to_head_request: bool) -> ReplyHead:
    """Read one head, `raw` ending with its empty line. Raises BadReply."""
    found = _Collector()
    parser = httptools.HttpResponseParser(found)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadReply(f"its head can't be read ({error})") from error
    head = ReplyHead()
    head.status = parser.get_status_code()
    head.reason = found.reason
    head.keep_alive = parser.get_http_version() == "1.1"
    chunked = _read_headers(head, found.headers)
    if to_head_request or head.status in (204, 304) or head.status < 200:
        head.framing = Framing.NONE
    elif chunked:
        head.framing = Framing.CHUNKED
    elif head.content_length is not None:
        head.framing = Framing.LENGTH
    else:
        head.keep_alive = False
    return head


def _read_headers(head: ReplyHead, headers: list[tuple[bytes, bytes]]) -> bool:
    chunked = False
    for raw_name, value in headers:
        name = raw_name.lower()
        if name == b"content-length":
            if not _LENGTH.match(value) or head.content_length not in (None, int(value)):
                raise BadReply("its Content-Length is not one number")
            head.content_length = int(value)
            continue
        if name == b"content-type":
            head.event_stream = value[:17].lower() == b"text/event-stream"
        elif name == b"content-encoding":
            head.content_encoding = value.strip().lower()
        elif name == b"transfer-encoding":
            if chunked or value.strip().lower() != b"chunked":
                raise BadReply("its Transfer-Encoding is not chunked")
            chunked = True
        elif name == b"connection":
            tokens = [token.strip() for token in value.lower().split(b",")]
            if b"close" in tokens:
                head.keep_alive = False
            elif b"keep-alive" in tokens:
                head.keep_alive = True
        elif name == b"x-request-id":
            head.request_id = value.decode("latin-1")[:120]
        if name not in _HOP_BY_HOP:
            head.lines.append(raw_name + b": " + value + b"\r\n")
    if chunked and head.content_length is not None:
        raise BadReply("it has both Content-Length and Transfer-Encoding")
    return chunked
