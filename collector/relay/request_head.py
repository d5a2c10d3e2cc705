"""The head of a request: enters as bytes up to the empty line, leaves checked and ready to be forwarded.

llhttp parses it; what llhttp lets through and a proxy must not (bare line feeds, folded lines, a missing or
double Host, absolute targets, a Transfer-Encoding in HTTP/1.0, ...) is checked here by hand.

Invariants
- What is refused is refused before a byte goes upstream, and its connection is closed afterwards: after a
  request of doubtful framing nobody knows where the next one begins.
- The framing of the forwarded request is always our own (Content-Length or our chunks), never the client's.
- x-sizewise-* headers and hop-by-hop headers never reach the upstream.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import httptools

from collector.apis.endpoints import Endpoint, find_endpoint

if TYPE_CHECKING:
    from collector.relay.courses import Course
    from collector.relay.policy import Refusal

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade host content-length expect http2-settings".split()
)
# A client must not make us drop these by naming them in its Connection header.
END_TO_END = frozenset(b"authorization x-api-key api-key content-type content-encoding cookie range".split())
CREDENTIALS = frozenset(b"authorization x-api-key api-key x-goog-api-key".split())

_TARGET = re.compile(rb"/[!-\"$-~]*\Z")  # origin form: visible ASCII, no fragment
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%\-]*(:[0-9]*)?\Z|\[[0-9A-Fa-f:.]+\](:[0-9]*)?\Z")
# A part that a server may resolve, behind whatever a server may take for a slash.
_DOTS = re.compile(rb"(?:/|%2f|\\|%5c)(?:\.|%2e){1,2}(?:/|%2f|\\|%5c|;|%3b|\Z)", re.IGNORECASE)
_REQUEST_LINE = re.compile(rb"[A-Z-]+ [^ ]+ HTTP/[0-9]\.[0-9]\r\n")
_LENGTH = re.compile(rb"[0-9]{1,15}\Z")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


class HeadRefused(Exception):  # noqa: N818 - it says what happened
    """The request is answered with `status` and its connection closed."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class RequestHead:
    """One checked head. Once read and identified only `courses` changes, so equal bytes share one."""

    __slots__ = (
        "chunked",
        "client",
        "content_length",
        "courses",
        "endpoint",
        "environment",
        "expects_continue",
        "header_lines",
        "http11",
        "idempotency_key",
        "keep_alive",
        "key_id",
        "method",
        "parent_span_id",
        "path",
        "project",
        "query",
        "refusal",
        "request_id",
        "sizewise_key",
        "team",
        "trace_id",
        "unit",
        "user",
        "wants_upgrade",
    )

    def __init__(self) -> None:
        self.header_lines: list[tuple[bytes, bytes]] = []  # (lower-case name, whole line) in their order
        self.courses: dict[str, Course] = {}  # by model, as they are found
        self.content_length: int | None = None
        self.method = b""
        self.path = b""  # without the query
        self.query = b""  # with its "?"
        self.endpoint: Endpoint | None = None
        self.chunked = self.expects_continue = self.wants_upgrade = False
        self.http11 = self.keep_alive = True
        self.client = self.request_id = self.idempotency_key = ""
        self.team = self.project = self.environment = self.user = self.unit = ""
        self.trace_id = self.parent_span_id = b""
        self.sizewise_key = self.key_id = ""
        self.refusal: Refusal | None = None  # why whoever sent this is not let in

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)


class _Collector:
    """What llhttp calls back with."""

    __slots__ = ("headers", "target")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.target = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.strip(b" \t")))


def parse_request_head(raw: bytes) -> RequestHead:
    """Check and read one head, `raw` ending with its empty line. Raises HeadRefused."""
    _check_bytes(raw)
    found = _Collector()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise HeadRefused(400, "bad_request_head", f"The request's head can't be read: {error}.") from error
    if not _REQUEST_LINE.match(raw):  # llhttp also takes several spaces, RTSP and ICE
        text = "The request line must be a method, a target and HTTP/1.1, with one space between them."
        raise HeadRefused(400, "bad_request_line", text)
    head = RequestHead()
    version = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise HeadRefused(505, "http_version", f"HTTP/{version} is not spoken here; HTTP/1.1 and 1.0 are.")
    head.http11 = version == "1.1"
    head.method = parser.get_method()
    _read_target(head, found.target)
    _read_headers(head, found.headers)
    head.endpoint = find_endpoint(head.method, head.path)
    return head


def _check_bytes(raw: bytes) -> None:
    lines = raw.count(b"\r\n")
    if raw.count(b"\n") != lines or raw.count(b"\r") != lines:
        raise HeadRefused(400, "bare_line_end", "A line of the request's head ends without CR LF.")
    if b"\0" in raw:
        raise HeadRefused(400, "nul_in_head", "The request's head holds a NUL byte.")
    if b"\r\n " in raw or b"\r\n\t" in raw:
        raise HeadRefused(400, "folded_header", "A header is folded over several lines; send it in one.")


def _read_target(head: RequestHead, target: bytes) -> None:
    if head.method == b"CONNECT":
        raise HeadRefused(405, "method", "CONNECT is not served: Sizewise is no forward proxy.")
    if head.method == b"TRACE":  # its answer would show the client the upstream's key
        raise HeadRefused(405, "method", "TRACE is not served.")
    if not _TARGET.match(target):
        text = "The request's target must be a path that begins with /: no scheme and host, no #, no spaces."
        raise HeadRefused(400, "bad_target", text)
    head.path, mark, query = target.partition(b"?")
    head.query = mark + query
    if _DOTS.search(head.path):
        raise HeadRefused(400, "dots_in_path", "The path holds a . or .. part; send it resolved.")


def _read_headers(head: RequestHead, headers: list[tuple[bytes, bytes]]) -> None:
    hosts = lengths = encodings = 0
    named: list[bytes] = []
    for raw_name, value in headers:
        name = raw_name.lower()
        if name == b"host":
            hosts += 1
            if not _HOST.match(value):
                raise HeadRefused(400, "bad_host", "The Host header isn't a host name.")
        elif name == b"content-length":
            lengths += 1
            if not _LENGTH.match(value):
                raise HeadRefused(400, "bad_content_length", "Content-Length must be a number of bytes.")
            head.content_length = int(value)
        elif name == b"transfer-encoding":
            encodings += 1
            if value.lower() != b"chunked":
                text = "Only Transfer-Encoding: chunked is served."
                raise HeadRefused(501, "transfer_encoding", text)
            head.chunked = True
        elif name == b"connection":
            named += [token.strip() for token in value.lower().split(b",")]
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise HeadRefused(417, "expectation", "Only Expect: 100-continue is met.")
            head.expects_continue = True
        elif name in _READ:
            _READ[name](head, value.decode("latin-1"))
        if not _is_ours(name):
            head.header_lines.append((name, raw_name + b": " + value + b"\r\n"))
    _check_framing(head, hosts, lengths, encodings)
    head.keep_alive = b"close" not in named and (head.http11 or b"keep-alive" in named)
    asks = head.wants_upgrade and b"upgrade" in named
    head.wants_upgrade = asks and head.method == b"GET" and head.http11 and not head.has_body
    dropped = {name for name in named if name and name not in END_TO_END}
    if len(dropped) > 1 or not dropped <= {b"keep-alive", b"close"}:
        head.header_lines = [line for line in head.header_lines if line[0] not in dropped]


def _is_ours(name: bytes) -> bool:
    """Not for the upstream. Where - and _ are one to it (CGI, WSGI), the name with _ is that header too."""
    if b"_" in name:
        name = name.replace(b"_", b"-")
        if name in CREDENTIALS:
            return True
    return name in HOP_BY_HOP or name.startswith(b"x-sizewise-")


def _check_framing(head: RequestHead, hosts: int, lengths: int, encodings: int) -> None:
    if hosts > 1 or (hosts == 0 and head.http11):
        raise HeadRefused(400, "host", f"A request needs one Host header; this one has {hosts}.")
    if lengths > 1:
        raise HeadRefused(400, "content_length", "The request has several Content-Length headers.")
    if encodings > 1 or (encodings and lengths):
        text = "The request has both Content-Length and Transfer-Encoding, or several of the latter."
        raise HeadRefused(400, "ambiguous_length", text)
    if encodings and not head.http11:
        raise HeadRefused(400, "http10_chunked", "Transfer-Encoding does not exist in HTTP/1.0.")


def _read_traceparent(head: RequestHead, value: str) -> None:
    if match := _TRACEPARENT.fullmatch(value):
        head.trace_id, head.parent_span_id = bytes.fromhex(match[1]), bytes.fromhex(match[2])


def _read_upgrade(head: RequestHead, value: str) -> None:
    head.wants_upgrade = value.lower() == "websocket"  # others (h2c) may be ignored, and are


def _keep(field: str, limit: int = 120) -> Callable[[RequestHead, str], None]:
    def read(head: RequestHead, value: str) -> None:
        setattr(head, field, value[:limit])

    return read


_READ = {
    b"traceparent": _read_traceparent,
    b"upgrade": _read_upgrade,
    b"user-agent": _keep("client"),
    b"x-request-id": _keep("request_id"),
    b"idempotency-key": _keep("idempotency_key", 400),
    b"x-sizewise-key": _keep("sizewise_key", 400),
    b"x-sizewise-team": _keep("team"),
    b"x-sizewise-project": _keep("project"),
    b"x-sizewise-environment": _keep("environment"),
    b"x-sizewise-user": _keep("user"),
    b"x-sizewise-unit": _keep("unit"),
}
