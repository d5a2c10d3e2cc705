"""One HTTP connection to an upstream, made as the relay makes it: no proxy, TLS verified, HTTP/1.1.

Requests go out on it one after the other, and the time to their first and last byte is measured. Redirects
are not followed: the relay doesn't either.
"""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from types import TracebackType

import msgspec

from collector.plan import UpstreamPlan
from collector.relay.tls import make_upstream_context

MOST_BODY_BYTES = 4 * 1024**2
PIECE_BYTES = 64 * 1024
NO_HEADERS: dict[str, str] = {}


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes
    first_ms: float  # until the head of the reply
    content_ms: float  # until the first bytes of its body
    whole_ms: float
    connected: bool  # a new connection was made for it


class Probe:
    """Raises OSError, ssl.SSLError, TimeoutError or http.client.HTTPException, as these come."""

    def __init__(self, plan: UpstreamPlan, timeout_s: float, *, trusting: bool = False) -> None:
        """`trusting`: any certificate will do, for our own relay on this machine."""
        self.plan = plan
        self.timeout_s = timeout_s
        self.trusting = trusting
        self.connect_ms = 0.0
        self.certificate_ends_s: float | None = None
        self._http: http.client.HTTPConnection | None = None

    def __enter__(self) -> "Probe":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def connect(self) -> None:
        plan, began = self.plan, time.perf_counter()
        raw = socket.create_connection((plan.host, plan.port), timeout=self.timeout_s)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if plan.tls:
                context = make_upstream_context(plan)
                if self.trusting:
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                raw = context.wrap_socket(raw, server_hostname=plan.host)
                ends = (raw.getpeercert() or {}).get("notAfter")
                self.certificate_ends_s = ssl.cert_time_to_seconds(str(ends)) if ends else None
        except BaseException:
            raw.close()
            raise
        self.connect_ms = (time.perf_counter() - began) * 1000
        self._http = http.client.HTTPConnection(plan.host, plan.port)
        self._http.sock = raw

    def get(self, path: str, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        return self.ask("GET", path, headers, None)

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return self.ask("POST", path, {"content-type": "application/json", **headers}, body)

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        connected = self._http is None or self._http.sock is None
        if connected:
            self.connect()
        assert self._http is not None
        began = time.perf_counter()
        with self._closed_on_failure():
            sent = {"host": self.plan.host_header, "accept-encoding": "identity", **headers}
            self._http.request(method, self.plan.base_path + path, body, sent)
            with self._http.getresponse() as reply:
                first = time.perf_counter()
                pieces = _read(reply)
                content = pieces[0][0] if pieces else first
                whole = time.perf_counter()
                told = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(
            status=reply.status,
            headers=told,
            body=b"".join(piece for _, piece in pieces),
            first_ms=(first - began) * 1000,
            content_ms=(content - began) * 1000,
            whole_ms=(whole - began) * 1000,
            connected=connected,
        )

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise


def _read(reply: http.client.HTTPResponse) -> list[tuple[float, bytes]]:
    """Each piece with the instant of its arrival."""
    pieces: list[tuple[float, bytes]] = []
    size = 0
    while piece := reply.read1(PIECE_BYTES):
        pieces.append((time.perf_counter(), piece))
        size += len(piece)
        if size > MOST_BODY_BYTES:
            raise http.client.HTTPException(f"its reply is over {MOST_BODY_BYTES} bytes")
    return pieces


def describe_failure(failure: BaseException) -> str:
    """Why no reply came, for a person."""
    if isinstance(failure, TimeoutError):
        return "it did not answer in time"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({failure.verify_message})"
    if isinstance(failure, ssl.SSLError):
        return f"TLS failed ({failure.reason or failure})"
    if isinstance(failure, socket.gaierror):
        return "its name can't be resolved"
    if isinstance(failure, ConnectionRefusedError):
        return "it refused the connection; nothing listens there"
    if isinstance(failure, http.client.HTTPException):
        return f"what it answers is no HTTP ({type(failure).__name__})"
    return str(failure)[:200] or type(failure).__name__
