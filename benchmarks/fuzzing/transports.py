"""The connections of a stage: clients that ask, upstreams that answer, each held to its invariants.

Bytes for the relay wait in `pieces`, cut by the dice, until the stage delivers them.
"""

import re
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from benchmarks.fuzzing.dialogues import FIND_TAG, Asked, answer
from benchmarks.fuzzing.mutations import cut, mutate
from collector.relay.server import ClientConnection
from collector.relay.upstream import UpstreamConnection

if TYPE_CHECKING:
    from benchmarks.fuzzing.stage import Stage

SURPLUS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"  # which nobody asked for
_REQUEST = re.compile(rb"[A-Z-]+ /[!-~]* HTTP/1\.1\r\n")
_QUIET, _OTHER = socket.socketpair()  # a socket on which nothing ever happens


class StageTransport:
    """One side's connection: what is delivered is cut by the dice, and held while the relay doesn't read."""

    def __init__(self, stage: "Stage", protocol: Any) -> None:
        self.stage, self.protocol = stage, protocol
        self.closing = self.lost = self.paused = self.full = False
        self.pieces: deque[bytes] = deque()  # to be delivered to the relay
        stage.transports.append(self)

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.took(bytes(data))

    def took(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.stage.loop.call_soon(self.lose, None)

    abort = close

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.closing = self.lost = True
            self.pieces.clear()
            self.protocol.connection_lost(error)

    @property
    def can_deliver(self) -> bool:
        return bool(self.pieces) and not (self.paused or self.closing)

    def deliver(self) -> None:
        self.protocol.data_received(self.pieces.popleft())

    def toggle_full(self) -> None:
        self.full = not self.full
        if not self.lost:
            (self.protocol.pause_writing if self.full else self.protocol.resume_writing)()

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return _QUIET if name == "socket" else None


class ClientTransport(StageTransport):
    """A client gets bytes of its own calls alone, none before its time; ends are recorded first."""

    def __init__(self, stage: "Stage", asked: list[Asked]) -> None:
        super().__init__(stage, ClientConnection(stage.worker))
        self.asked, self.got = asked, bytearray()
        self.tags = {one.tag for one in asked}
        self.protocol.connection_made(self)

    def took(self, data: bytes) -> None:
        self.got += data
        exchange = self.protocol.exchange
        if exchange is None:
            return
        own = FIND_TAG.search(exchange.head.query)
        if not own or own[0] not in self.tags:
            return
        order = [one.tag for one in self.asked]
        begun = order[: order.index(own[0]) + 1]  # a reply may leave when the next request has begun
        for tag in FIND_TAG.findall(data):
            if tag in self.stage.asked and tag not in begun:
                self.stage.note(f"bytes of {tag!r} in the reply to {own[0]!r}")
        reply = exchange.reply
        counted = exchange.head.endpoint is not None
        if (
            counted
            and reply is not None
            and reply.ending
            and exchange.call_id not in self.stage.journal.calls
        ):
            self.stage.note("the end of a reply went out before its call was recorded")

    def check_tags(self) -> None:
        for tag in FIND_TAG.findall(bytes(self.got)):
            if tag in self.stage.asked and tag not in self.tags:
                self.stage.note(f"a client got bytes of {tag!r}, another's call")


class UpstreamTransport(StageTransport):
    """Reads requests with a parser of its own, and answers each.

    Invariant: what arrives is whole requests, none before the reply to the last has come.
    """

    def __init__(self, stage: "Stage", protocol: UpstreamConnection) -> None:
        super().__init__(stage, protocol)
        self._inbox = b""
        self._ends = False
        self._spoiled = False  # it said more than a reply

    def took(self, data: bytes) -> None:
        if self._spoiled:
            self.stage.note("a request went to an upstream that had said more than its reply")
        if not self._inbox:
            if self.pieces and self.stage.clean:
                self.stage.note("a request was sent before the reply to the last had come")
            self.pieces.clear()  # a damaged reply may have ended early for the relay
        self._inbox += data
        head_end = self._inbox.find(b"\r\n\r\n") + 4
        if head_end < 4 or not _REQUEST.match(self._inbox):
            self.stage.note(f"an upstream got {self._inbox[:60]!r} for a request")
            return
        size = self._body_size(self._inbox[:head_end].lower(), self._inbox[head_end:])
        if size is None:
            return
        raw, self._inbox = self._inbox[: head_end + size], self._inbox[head_end + size :]
        if self._inbox:
            self.stage.note(f"an upstream got {self._inbox[:60]!r} behind a request")
        self._answer(raw, raw[head_end:])

    def _body_size(self, head: bytes, rest: bytes) -> int | None:
        """None: not all of it has come."""
        lengths = re.findall(rb"\r\ncontent-length: (\d+)(?=\r\n)", head)
        chunked = head.count(b"\r\ntransfer-encoding: chunked\r\n")
        if len(lengths) + chunked > 1 or head.count(b"\r\nhost: ") != 1 or b"\r\nx-sizewise-" in head:
            self.stage.note(f"an upstream got the head {head!r}")
        if chunked:
            return unframe(rest)[1]
        size = int(lengths[0]) if lengths else 0
        return size if len(rest) >= size else None

    def _answer(self, raw: bytes, body: bytes) -> None:
        stage = self.stage
        tag = FIND_TAG.search(raw.partition(b"\r\n")[0])
        asked = stage.asked.get(tag[0]) if tag else None
        if asked is None:
            reply, self._ends = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False
        else:
            if stage.clean:
                stage.check_body(asked, raw, body)
            reply, self._ends = answer(stage.rng, asked, body)
        if not stage.clean and stage.rng.random() < 0.4:
            reply = mutate(stage.rng, reply)
        self.pieces.extend(cut(stage.rng, reply))
        if stage.clean and not self._ends and stage.rng.random() < 0.1:
            self.pieces[-1] += SURPLUS
            self._spoiled = True

    def deliver(self) -> None:
        super().deliver()
        if self._ends and not self.pieces and not self.lost:
            self.protocol.eof_received()
            self.close()


def unframe(framed: bytes) -> tuple[bytes, int | None]:
    """A body out of its chunks, and where they end: None when they go on. The relay adds no trailers."""
    body, at = b"", 0
    while (end := framed.find(b"\r\n", at)) >= 0:
        size = int(framed[at:end], 16)
        body, at = body + framed[end + 2 : end + 2 + size], end + 4 + size
        if not size:
            return body, at if at <= len(framed) else None
    return body, None
