"""A WebSocket after its 101: bytes pass both ways untouched; where calls can be in it, they are read aside.

The tunnel takes both connections over from the exchange of the opening handshake, which went through the
same routing, limits, keys and headers as any request.

Invariants
- What one side sends goes to the other, byte for byte, after it was read: a call is in the journal before
  the end of its last frame is passed on.
- A side that reads slowly stops the other from being read (`buffer_bytes` are held, no more).
- Neither side outlives the other: an end of stream is passed on, a broken connection ends both.
- A frame of our own is only put between two frames, and only to say why the tunnel is closed from here.
"""

import asyncio
import os
from time import perf_counter, time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from collector.apis.realtime import find_operation, wants_received, wants_sent
from collector.apis.request import RequestFacts
from collector.call import Outcome
from collector.relay.courses import Course, describe
from collector.relay.liveness import is_gone
from collector.relay.log import log
from collector.relay.open_calls import make_label
from collector.relay.request_head import RequestHead
from collector.relay.turns import Turns
from collector.relay.upstream import UpstreamConnection
from collector.relay.websocket import FrameReader, make_close, read_extensions

if TYPE_CHECKING:
    from collector.relay.server import ClientConnection
    from collector.relay.worker import Worker

_SENT_BYTES = 64 * 1024  # of a client's message are read
GOING_AWAY = (1001, b"the relay is stopping")
_POLICY_VIOLATION = 1008


def read_handshake(head: RequestHead) -> RequestFacts:
    """The model stands in the query, if anywhere."""
    query = parse_qs(head.query[1:].decode("latin-1"))
    return RequestFacts(model=query.get("model", [""])[0][:200], stream=True)


class Side(asyncio.Protocol):
    """One connection of a tunnel; `other` is where its bytes go."""

    __slots__ = ("lost", "other", "paused", "reader", "transport", "tunnel")
    other: "Side"

    def __init__(self, tunnel: "Tunnel", transport: asyncio.Transport, reader: FrameReader | None) -> None:
        self.tunnel, self.transport, self.reader = tunnel, transport, reader
        self.lost = False
        self.paused = False  # not read, since the other side doesn't take it

    def data_received(self, data: bytes) -> None:
        self.tunnel.pass_on(self, data)

    def eof_received(self) -> bool:
        return self.tunnel.side_ended(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.tunnel.side_lost(self)

    def pause_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.paused = True
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.paused and not self.other.transport.is_closing():
            self.other.transport.resume_reading()
        self.other.paused = False


class Tunnel:
    def __init__(
        self,
        client: "ClientConnection",
        connection: UpstreamConnection,
        head: RequestHead,
        course: Course,
        reply: bytes,
        model: str,
    ) -> None:
        """`reply`: the head that switches, as it came. Both connections are this tunnel's from here on."""
        self.worker: Worker = client.worker
        self._client, self._connection, self._head = client, connection, head
        self.activity = self.worker.clock
        self._ending_since = 0.0
        self._first_gone: Side | None = None
        self._parting: tuple[int, bytes] | None = None
        target = course.target
        self._owners = head.team or target.team, head.project or target.project
        self._turns: Turns | None = None
        sent = received = None
        if operation := find_operation(head.path):
            deflate, unreadable = read_extensions(reply)
            limits = self.worker.plan.limits
            # Compressed messages must be inflated whole, or those behind them can't be.
            sent_bytes = limits.read_reply_bytes if deflate else _SENT_BYTES
            sent = FrameReader(wants_sent, sent_bytes, deflate=deflate)
            received = FrameReader(wants_received, limits.read_reply_bytes, deflate=deflate)
            if unreadable:
                sent.broken = received.broken = f"the extension {unreadable}"
            self._turns = self._make_turns(course, operation, model)
        self.client = Side(self, client.transport, sent)
        self.upstream = Side(self, connection.transport, received)
        self.client.other, self.upstream.other = self.upstream, self.client

    def start(self, reply: bytes, rest: bytes) -> None:
        """Pass the switch on, and what came with it from either side."""
        self.worker.tunnels.add(self)
        self.worker.outbox.flush()
        held = self._client.hand_over()
        self.client.transport.set_protocol(self.client)
        self.upstream.transport.set_protocol(self.upstream)
        self.client.transport.write(reply)
        if rest:
            self.pass_on(self.upstream, rest)
        if held:
            self.pass_on(self.client, held)

    def _make_turns(self, course: Course, operation: str, model: str) -> Turns:
        call = msgspec.structs.replace(
            describe(self._head, model, course.target, self.worker.plan, ""),
            api="openai",
            operation=operation,
            end_user=self._head.user,
            request_id=self._head.request_id,
        )
        label = make_label(
            call.upstream, call.api, call.operation, call.team, call.project, call.route, call.environment,
            call.key_id, call.model,
        )  # fmt: skip
        return Turns(self.worker, call, label)

    # -- bytes ---------------------------------------------------------------------------------------------

    def pass_on(self, side: Side, data: bytes) -> None:
        self.activity = self.worker.clock
        turns = self._turns
        if turns is None:
            side.other.transport.write(data)
            return
        began = perf_counter()
        if side.reader is not None:
            self._read(side, side.reader, turns, data)
        side.other.transport.write(data)
        turns.relay_s += perf_counter() - began
        if self._parting is not None:
            self._part_if_free()

    def _read(self, side: Side, reader: FrameReader, turns: Turns, data: bytes) -> None:
        """Whatever is wrong with the reading, the bytes are passed on."""
        try:
            if side is self.client:
                turns.sent_bytes += len(data)
                for message in reader.feed(data):
                    turns.take_sent(message.data, message.whole)
            else:
                turns.received_bytes += len(data)
                for message in reader.feed(data):
                    turns.take_received(message.data, message.whole)
        except Exception as error:
            reader.broken = type(error).__name__
        if reader.broken:
            side.reader = None
            log(
                "websocket_unread",
                worker=self.worker.name,
                reason=reader.broken,
                by_client=side is self.client,
            )
            if side is self.upstream:
                problem = f"the WebSocket can't be read: {reader.broken}"[:80]
                turns.end("upstream_cut", "websocket_unread", problem)

    # -- ends ----------------------------------------------------------------------------------------------

    def side_ended(self, side: Side) -> bool:
        """An end of stream: the other side gets it too, and may still speak. True: this side stays open."""
        other = side.other.transport
        if other.is_closing() or side.transport.is_closing() or self._ending_since:
            return False
        self._ending_since = self.worker.clock
        self._first_gone = self._first_gone or side
        if side is self.upstream:
            self._end_turns()
        if not other.can_write_eof() or side.transport.get_extra_info("sslcontext") is not None:
            return False
        other.write_eof()
        return True

    def side_lost(self, side: Side) -> None:
        """Its connection is closed. What is still to be written to the other is written first."""
        if side is self.upstream:
            self._connection.pool.forget(self._connection)
        self._first_gone = self._first_gone or side
        self._end_turns()
        self._ending_since = self._ending_since or self.worker.clock
        side.lost = True
        if side.other.lost:
            self.worker.tunnels.discard(self)
            self.worker.acceptor.note_left()
        elif not side.other.transport.is_closing():
            side.other.transport.close()

    def _end_turns(self) -> None:
        """What is under way can't end any more. Who went first ended it."""
        turns = self._turns
        if turns is not None:
            if self._first_gone is self.client:
                turns.end("client_left", "", "the client left before the response ended")
            else:
                turns.end("upstream_cut", "upstream_cut", "the upstream broke off before the response ended")

    def check(self, now: float) -> None:
        """Once a sweep: idle for too long, ending for too long, or gone while it isn't read."""
        limits = self.worker.plan.limits
        quiet_s = now - max(self.activity, self._ending_since)
        if quiet_s > (limits.head_timeout_s if self._ending_since else limits.tunnel_idle_timeout_s):
            self.abort("upstream_cut", "tunnel_timeout")
        elif self.client.paused and not self.client.lost and is_gone(self.client.transport):
            self.client.transport.abort()
        elif refusal := self.worker.admission.find_end(self._head, *self._owners, time()):
            self.part(_POLICY_VIOLATION, refusal.code.encode())

    def abort(self, outcome: Outcome, error_type: str) -> None:
        if self._turns is not None:
            self._turns.end(outcome, error_type, "the tunnel was closed before the response ended")
        self.client.transport.abort()
        self.upstream.transport.abort()

    def part(self, code: int, reason: bytes) -> None:
        """Close it from here, and say so to both; a response under way ends first."""
        self._parting = self._parting or (code, reason)
        self._part_if_free()

    def _part_if_free(self) -> None:
        turns = self._turns
        if self._parting is None or self._ending_since or (turns is not None and len(turns)):
            return
        if turns is not None:
            readers = self.client.reader, self.upstream.reader
            if not all(reader is not None and reader.at_boundary for reader in readers):
                return
            self.client.transport.write(make_close(*self._parting))
            self.upstream.transport.write(make_close(*self._parting, os.urandom(4)))
        self._ending_since = self.worker.clock
        self.client.transport.close()
        self.upstream.transport.close()
