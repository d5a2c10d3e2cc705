"""Connections to the upstreams: made, kept alive in a LIFO pool each, and handed to one exchange at a time.

Invariants
- A connection belongs to one exchange or stands in the pool, never both; it returns only after a whole reply
  that may be followed by another (keep-alive), with nothing read beyond it.
- Whatever arrives on a pooled connection closes it.
- The newest is used first, so that the oldest can go: those idle for too long are closed by `sweep`.
"""

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING, cast

from collector.plan import Limits, UpstreamPlan
from collector.relay.tls import make_upstream_context

if TYPE_CHECKING:
    from collector.relay.exchange import Exchange


class UpstreamConnection(asyncio.Protocol):
    __slots__ = ("exchange", "idle_since", "pool", "transport", "used")

    def __init__(self, pool: "Pool") -> None:
        self.pool = pool
        self.exchange: Exchange | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.idle_since = 0.0
        self.used = False  # has served a request before

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.pool.open += 1
        self.transport.set_write_buffer_limits(high=self.pool.limits.buffer_bytes)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            self.transport.abort()
        else:
            self.exchange.reply_received(data)

    def eof_received(self) -> bool | None:
        if self.exchange is not None:
            self.exchange.reply_ended()
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self.pool.forget(self)
        if self.exchange is not None:
            self.exchange.upstream_lost(error)

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.client.pause_upload()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.client.resume_upload()

    def drop(self) -> None:
        """Close at once: the server sees it and stops generating."""
        self.exchange = None
        self.transport.abort()


class Pool:
    """The connections to one upstream."""

    def __init__(self, upstream: UpstreamPlan, limits: Limits) -> None:
        self.upstream, self.limits = upstream, limits
        self.made = 0
        self.open = 0
        self.retired = False  # the configuration changed: nothing is kept alive any more
        self._idle: list[UpstreamConnection] = []
        self._tls: ssl.SSLContext | None = None

    def take(self) -> UpstreamConnection | None:
        """A connection kept alive, the newest; None when there is none."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    def give_back(self, connection: UpstreamConnection) -> None:
        connection.exchange = None
        connection.used = True
        if (
            self.retired
            or len(self._idle) >= self.limits.pool_per_upstream
            or connection.transport.is_closing()
        ):
            connection.transport.close()
            return
        connection.transport.resume_reading()  # a slow client may have paused it
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        self.open -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    async def connect(self) -> UpstreamConnection:
        """Raises OSError, ssl.SSLError or TimeoutError."""
        loop = asyncio.get_running_loop()
        upstream = self.upstream
        async with asyncio.timeout(self.limits.connect_timeout_s):
            _, protocol = await loop.create_connection(
                lambda: UpstreamConnection(self),
                upstream.host,
                upstream.port,
                ssl=self._context() if upstream.tls else None,
                server_hostname=upstream.host if upstream.tls else None,
            )
        self.made += 1
        raw = protocol.transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return protocol

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = make_upstream_context(self.upstream)
        return self._tls

    def sweep(self, now: float) -> None:
        """Close what stood idle for too long; the oldest stand first."""
        deadline = now - self.limits.keepalive_timeout_s
        while self._idle and self._idle[0].idle_since < deadline:
            self._idle.pop(0).transport.close()

    def close_idle(self) -> None:
        while self._idle:
            self._idle.pop().transport.close()


def describe_failure(error: BaseException) -> str:
    """Why no connection came about, for a person; never more than a line."""
    if isinstance(error, TimeoutError):
        return "it did not accept a connection in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return "its name can't be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection; nothing listens there"
    return str(error)[:200] or type(error).__name__
