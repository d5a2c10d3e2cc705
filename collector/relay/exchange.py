"""One request and its reply: from the head of the one to the last byte of the other, and the Call they make.

Bytes enter from both connections and leave to the other; a Call goes to the journal.

Invariants
- `record` runs at most once, and before the bytes that end the reply are given to the client.
- The client gets the upstream's body, byte for byte, but for a usage event that we asked for and hide.
- After `_end` the exchange touches neither connection again.
- A request is sent a second time only if nothing of a reply came and either the connection was a reused one
  (it was stale), or the server refused the option that we put in (`stream_options`).
"""

import asyncio
import enum
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

from collector.apis.reading import Reading
from collector.apis.replies import stream_error_event
from collector.apis.request import RequestFacts, read_request, read_request_prefix, splice_usage
from collector.call import Call, Outcome, new_call_id
from collector.relay.chunked import BadChunk, ChunkedBody
from collector.relay.open_calls import make_label
from collector.relay.reply_head import BadReply, Framing, ReplyHead, parse_reply_head
from collector.relay.request_head import CREDENTIALS, RequestHead
from collector.relay.routes import Target
from collector.relay.tap import Tap, make_tap
from collector.relay.upstream import Pool, UpstreamConnection, describe_failure

if TYPE_CHECKING:
    from collector.relay.server import ClientConnection

_REPLY_HEAD_BYTES = 256 * 1024
_REFUSAL_BYTES = 64 * 1024  # a 400 or 422 up to this size is searched for stream_options
_NO_FACTS = RequestFacts()


class Upload(enum.IntEnum):
    GATHERING = 0  # the body is kept until it is whole, or over the sniff limit
    STREAMING = 1  # the rest of a large body is passed on as it comes
    DONE = 2


class Passing(enum.IntEnum):
    """How the reply's body goes to the client."""

    UNTOUCHED = 0  # the upstream's own framing
    CHUNKS = 1  # pieces in chunks of our own: an event is hidden, or the upstream ends by closing
    BARE = 2  # pieces without framing, ended by closing: an HTTP/1.0 client


class Exchange:
    __slots__ = (
        "_body_left", "_body_parts", "_body_size", "_chunked_reply", "_chunked_request", "_connected_at",
        "_connecting", "_connect_us", "_content_at", "_first_byte_at", "_gaps", "_held", "_length", "_original", "_passing", "_pool",
        "_recorded", "_refusal", "_relay_s", "_reply_left", "_request", "_reused", "_slot", "_started",
        "_tries", "_upload_bytes", "activity", "begun", "call_id", "client", "client_gone", "connection", "facts",
        "head", "hides", "reply", "reply_bytes", "started_at_ns", "tap", "target", "upload", "worker",
    )  # fmt: skip

    def __init__(
        self, client: "ClientConnection", head: RequestHead, content_length: int, now: float
    ) -> None:
        self.client, self.head, self.worker = client, head, client.worker
        self.started_at_ns = time_ns()
        self._started = now
        self.activity = self.begun = self.worker.clock
        self.upload = Upload.GATHERING
        self._body_left = self._length = content_length
        self._chunked_request = ChunkedBody() if head.chunked else None
        self._body_parts: list[bytes] = []
        self._body_size = 0
        self._upload_bytes = 0
        self.facts = _NO_FACTS
        self.target: Target | None = None
        self.hides = False
        self._pool: Pool | None = None
        self.connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._request = b""  # kept until a reply begins, for sending it again
        self._original = b""  # the body before an option was put in
        self._reused = False
        self._tries = 0
        self.reply: ReplyHead | None = None
        self.tap: Tap | None = None
        self._held = b""  # an unfinished head of a reply
        self._refusal = b""  # a 400 or 422 that may be about the option that we put in
        self._chunked_reply: ChunkedBody | None = None
        self._passing = Passing.UNTOUCHED
        self._reply_left = 0
        self.reply_bytes = 0
        self.client_gone = False
        self._recorded = False
        self.call_id = b""
        self._slot = -1
        self._connect_us: int | None = None
        self._connected_at = self._first_byte_at = self._content_at = 0.0
        self._gaps: list[float] = []
        self._relay_s = 0.0

    # -- the request ---------------------------------------------------------------------------------------

    def body_received(self, data: bytes, now: float) -> bytes:
        """Take the body's next bytes; return what lies beyond it. Raises BadChunk."""
        self.activity = self.worker.clock
        if self._chunked_request is not None:
            pieces: list[bytes] = []
            used = self._chunked_request.feed(data, pieces)
            whole = self._chunked_request.done
            piece, beyond = b"".join(pieces), data[used:]
        else:
            left = self._body_left
            piece, beyond = (data, b"") if len(data) <= left else (data[:left], data[left:])
            self._body_left = left - len(piece)
            whole = self._body_left == 0
        self._upload_bytes += len(piece)
        if self.upload is Upload.STREAMING:
            self._pass_upload(piece, whole)
        else:
            self._gather(piece, whole, now)
        return beyond

    def _gather(self, piece: bytes, whole: bool, now: float) -> None:
        limits = self.worker.plan.limits
        if piece:
            self._body_parts.append(piece)
            self._body_size += len(piece)
        if self._body_size > limits.body_bytes:
            self._refuse_size(limits.body_bytes)
        elif whole:
            parts = self._body_parts
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._body_parts = []
            self.upload = Upload.DONE
            self._dispatch(body, True, now)
        elif self._body_size > limits.sniff_bytes:
            body = b"".join(self._body_parts)
            self._body_parts = []
            self.upload = Upload.STREAMING
            self._dispatch(body, False, now)

    def _refuse_size(self, limit: int) -> None:
        message = f"The request's body is over relay.limits.body_bytes ({limit})."
        self.fail(413, "body_too_large", message, "refused")

    def _dispatch(self, body: bytes, whole: bool, now: float) -> None:
        """Find where the request goes and send it: all of it, or its beginning."""
        head, worker = self.head, self.worker
        if head.endpoint is not None:
            self.facts = facts = read_request(body) if whole else read_request_prefix(body)
        else:
            facts = _NO_FACTS
        self.target = target = worker.router.find(head.path, facts.model)
        if target is None:
            message = f"No route takes {head.path.decode('latin-1')[:200]} with model {facts.model[:100]!r}."
            self.fail(404, "no_route", message, "refused")
            return
        self._pool = worker.pool_of(target.upstream)
        if whole and self._may_ask_usage():
            spliced = splice_usage(body, facts)
            if spliced is not None:
                self.hides = True
                self._original, body = body, spliced
        self._request = self._head_for_upstream(target, len(body) if whole else None) + body
        if not whole and self.head.chunked:
            self._request = self._head_for_upstream(target, None) + b"%x\r\n%s\r\n" % (len(body), body)
        if head.endpoint is not None:
            self._open_call(target)
        self._send(now)

    def _may_ask_usage(self) -> bool:
        endpoint, facts, target = self.head.endpoint, self.facts, self.target
        if endpoint is None or target is None or not endpoint.can_ask_usage:
            return False
        wanted = facts.stream and not facts.asks_usage and target.upstream.asks_usage
        return wanted and target.upstream.name not in self.worker.refuses_option

    def _open_call(self, target: Target) -> None:
        head = self.head
        self.call_id = new_call_id(self.started_at_ns)
        label = make_label(
            target.upstream.name,
            head.endpoint.api if head.endpoint else "",
            head.endpoint.operation if head.endpoint else "",
            head.team or target.team,
            head.project or target.project,
            target.route,
            head.environment or target.environment,
            "",
            self.facts.model,
        )
        self._slot = self.worker.open_calls.open(
            self.call_id, self.started_at_ns, self.facts.stream, head.trace_id, head.parent_span_id, label
        )

    def _head_for_upstream(self, target: Target, length: int | None) -> bytes:
        """`length` None: the rest of the body is streamed, framed as the client framed it."""
        head, upstream = self.head, target.upstream
        block = head.blocks.get((upstream.name, self.hides))
        if block is None:
            block = _make_block(head, target, self.hides)
            head.blocks[upstream.name, self.hides] = block
        if length is None:
            if head.chunked:
                return block + b"transfer-encoding: chunked\r\n\r\n"
            length = self._length
        elif not length and head.content_length is None and not head.chunked:
            return block + b"\r\n"
        return b"%scontent-length: %d\r\n\r\n" % (block, length)

    def _pass_upload(self, piece: bytes, whole: bool) -> None:
        limit = self.worker.plan.limits.body_bytes
        if self._upload_bytes > limit:
            self._refuse_size(limit)
            return
        if self.head.chunked:
            piece = b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""
            piece += b"0\r\n\r\n" if whole else b""
        if whole:
            self.upload = Upload.DONE
        if self.connection is not None and not self._connecting:
            self.connection.transport.write(piece)
        else:
            self._request += piece
            self.client.pause_upload()

    def _send(self, now: float) -> None:
        assert self._pool is not None
        self._tries += 1
        connection = self._pool.take() if self._tries == 1 else None
        if connection is None:
            self._connected_at = now
            self._connecting = self.worker.spawn(self._connect(self._pool))
            self._relay_s += perf_counter() - now
            return
        self._reused = True
        self._start_on(connection)
        self._relay_s += perf_counter() - now

    async def _connect(self, pool: Pool) -> None:
        try:
            connection = await pool.connect()
        except (OSError, TimeoutError) as error:
            self._connecting = None
            if self.client_gone:
                self._end()
                return
            timed_out = isinstance(error, TimeoutError)
            message = f"Upstream {pool.upstream.name} can't be reached: {describe_failure(error)}."
            code = "upstream_timeout" if timed_out else "upstream_unreachable"
            self.fail(504 if timed_out else 502, code, message, "upstream_unreachable")
            return
        self._connecting = None
        now = perf_counter()
        self._connect_us = int((now - self._connected_at) * 1e6)
        if self.client_gone:
            pool.give_back(connection)
            self._end()
            return
        self._reused = False
        self._start_on(connection)
        self.client.resume_upload()

    def _start_on(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        connection.exchange = self
        connection.transport.write(self._request)
        if self.upload is not Upload.DONE:
            self._request = b""  # can't be sent again

    # -- the reply -----------------------------------------------------------------------------------------

    def reply_received(self, data: bytes) -> None:
        now = perf_counter()
        self.activity = self.worker.clock
        try:
            if self.reply is None:
                self._read_reply_head(data, now)
            else:
                self._pass_body(data, b"", now)
        except BadReply as error:
            self._bad_reply(str(error))
        except BadChunk as error:
            self._bad_reply(str(error))
        self._relay_s += perf_counter() - now

    def _bad_reply(self, reason: str) -> None:
        assert self.target is not None
        message = (
            f"What upstream {self.target.upstream.name} sent is no reply that can be passed on: {reason}."
        )
        if self.reply is None:
            self.fail(502, "bad_reply", message, "upstream_cut")
        else:
            self._cut("bad_reply", message)

    def _read_reply_head(self, data: bytes, now: float) -> None:
        if not self._first_byte_at:
            self._first_byte_at = now
        if self._held:
            data = self._held + data
            self._held = b""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) > _REPLY_HEAD_BYTES:
                raise BadReply("its head is too long")
            self._held = data
            return
        reply = parse_reply_head(data[:end], to_head_request=self.head.method == b"HEAD")
        rest = data[end:]
        if reply.status < 200:
            self._pass_interim(reply, rest, now)
        elif self.hides and reply.status in (400, 422) and reply.framing in (Framing.LENGTH, Framing.CHUNKED):
            self._begin_reply(reply)
            self._pass_body(rest, self._reply_head_bytes(reply), now)
        else:
            self._request = b""
            self._begin_reply(reply)
            self._pass_body(rest, self._reply_head_bytes(reply), now)

    def _pass_interim(self, reply: ReplyHead, rest: bytes, now: float) -> None:
        """1xx: hints are for the client that asked; a 101 would need a tunnel, which was not asked for."""
        if reply.status == 101:
            raise BadReply("it switches protocols, which was not asked for")
        if rest:
            self._read_reply_head(rest, now)

    def _begin_reply(self, reply: ReplyHead) -> None:
        self.reply = reply
        if self.head.endpoint is not None:
            self.tap = make_tap(self.head.endpoint, reply, self.worker.plan.limits.read_reply_bytes)
        if reply.framing is Framing.CHUNKED:
            self._chunked_reply = ChunkedBody()
        elif reply.framing is Framing.LENGTH:
            self._reply_left = reply.content_length or 0
        hides = self.hides and reply.event_stream and not reply.content_encoding
        self.hides = hides or (self.hides and reply.status in (400, 422))
        if reply.framing is Framing.NONE:
            self._passing = Passing.UNTOUCHED
        elif not self.head.http11 and reply.framing is not Framing.LENGTH:
            self._passing = Passing.BARE
        elif hides or reply.framing is Framing.CLOSE:
            self._passing = Passing.CHUNKS if self.head.http11 else Passing.BARE

    def _reply_head_bytes(self, reply: ReplyHead) -> bytes:
        parts = [b"HTTP/1.1 %d %s\r\n" % (reply.status, reply.reason), *reply.lines]
        keeps = self.client.keeps_alive(self)
        if self._passing is Passing.CHUNKS or (
            self._passing is Passing.UNTOUCHED and reply.framing is Framing.CHUNKED
        ):
            parts.append(b"transfer-encoding: chunked\r\n")
        elif reply.content_length is not None and self._passing is Passing.UNTOUCHED:
            parts.append(b"content-length: %d\r\n" % reply.content_length)
        if not keeps:
            parts.append(b"connection: close\r\n")
        elif not self.head.http11:
            parts.append(b"connection: keep-alive\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def _pass_body(self, data: bytes, before: bytes, now: float) -> None:
        """Read the body's next bytes aside, record the call if they end it, then forward them after `before`."""
        reply, tap = self.reply, self.tap
        assert reply is not None
        framing = reply.framing
        pieces: list[bytes]
        if framing is Framing.CHUNKED:
            assert self._chunked_reply is not None
            pieces = []
            used = self._chunked_reply.feed(data, pieces) if data else 0
            done = self._chunked_reply.done
        elif framing is Framing.LENGTH:
            used = min(len(data), self._reply_left)
            self._reply_left -= used
            done = self._reply_left == 0
            pieces = [data[:used]] if used else []
        else:
            used = len(data) if framing is Framing.CLOSE else 0
            done = framing is Framing.NONE
            pieces = [data] if used else []
        if used != len(data):
            reply.keep_alive = False  # it sent more than its reply: nothing on this connection can be trusted
            data = data[:used]
        if self.hides and reply.status in (400, 422):
            self._hold_refusal(before, data, pieces, done, now)
            return
        if pieces and tap is not None:
            data = self._tap(tap, pieces, data, done, now)
        elif pieces and self._passing is not Passing.UNTOUCHED:
            data = self._frame(pieces, done)
        elif done and self._passing is Passing.CHUNKS:
            data = self._frame(self._flushed(), True)
        if done or (tap is not None and tap.terminal):
            self.record(None)
        self._forward(before + data if before else data)
        if done:
            self._end()

    def _tap(self, tap: Tap, pieces: list[bytes], data: bytes, done: bool, now: float) -> bytes:
        """Feed the tap; returns what goes to the client."""
        if self.hides:
            hide = tap.hide  # type: ignore[attr-defined]
            shown = [out for piece in pieces if (out := hide(piece))]
            data = self._frame(shown + (self._flushed() if done else []), done)
        else:
            for piece in pieces:
                tap.feed(piece)
            if self._passing is not Passing.UNTOUCHED:
                data = self._frame(pieces, done)
        if tap.has_content:
            if self._content_at:
                if len(self._gaps) < 8192:
                    self._gaps.append(now - self._content_at)
            else:
                self._gaps.append(now - self._started)  # the first is no gap: taken out in `record`
            self._content_at = now
        return data

    def _flushed(self) -> list[bytes]:
        if not self.hides or self.tap is None:
            return []
        rest = self.tap.flush()  # type: ignore[attr-defined]
        return [rest] if rest else []

    def _frame(self, pieces: list[bytes], done: bool) -> bytes:
        if self._passing is Passing.BARE:
            return b"".join(pieces)
        out = b"".join(pieces)
        framed = b"%x\r\n%s\r\n" % (len(out), out) if out else b""
        return framed + b"0\r\n\r\n" if done else framed

    def _forward(self, data: bytes) -> None:
        self.reply_bytes += len(data)
        if data and not self.client_gone:
            self.client.transport.write(data)

    def _hold_refusal(self, before: bytes, data: bytes, pieces: list[bytes], done: bool, now: float) -> None:
        """A 400 or 422 to a request that we changed: if it names our option, the original is sent instead."""
        self._refusal += before + data
        for piece in pieces:
            if self.tap is not None:
                self.tap.feed(piece)
        if not done and len(self._refusal) < _REFUSAL_BYTES:
            return
        if done and b"stream_options" in self._refusal:
            self._send_original(now)
            return
        self.hides = False
        self._request = b""
        if done:
            self.record(None)
        self._forward(self._refusal)
        self._refusal = b""
        if done:
            self._end()

    def _send_original(self, now: float) -> None:
        assert self.target is not None
        self.worker.refuses_option.add(self.target.upstream.name)
        self._release()
        self.hides = False
        original, self._original = self._original, b""
        self._request = self._head_for_upstream(self.target, len(original)) + original
        self._refusal = b""
        self.reply = self.tap = None
        self._chunked_reply = None
        self._passing = Passing.UNTOUCHED
        self._tries = 0
        self._send(now)

    def reply_ended(self) -> None:
        """The upstream closed its side."""
        reply = self.reply
        if reply is None or reply.framing is not Framing.CLOSE:
            return  # connection_lost follows
        data = self._frame(self._flushed(), True) if self._passing is not Passing.UNTOUCHED else b""
        self.record(None)
        self._forward(data)
        self._end()

    def upstream_lost(self, error: Exception | None) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.exchange = None
        if (
            self.reply is None
            and not self._first_byte_at
            and self._reused
            and self._request
            and self._tries == 1
        ):
            self._send(perf_counter())  # the pooled connection was stale
            return
        assert self.target is not None
        name = self.target.upstream.name
        reason = f" ({error})" if error else ""
        if self.reply is None:
            message = f"Upstream {name} closed the connection before it answered{reason}."
            self.fail(502, "upstream_closed", message, "upstream_unreachable")
        else:
            self._cut("upstream_cut", f"Upstream {name} broke off in mid-reply{reason}.")

    def _cut(self, code: str, message: str) -> None:
        """The reply broke off: the client must see that it isn't whole."""
        self.record("upstream_cut", code)
        if self._can_add_event():
            assert self.head.endpoint is not None
            operation = self.head.endpoint.operation
            event = stream_error_event(self.head.endpoint.api, 502, code, message, operation)
            self._forward(b"%x\r\n%s\r\n" % (len(event), event))
        self._end(close=True)

    def _can_add_event(self) -> bool:
        """Between two events and two chunks of an event stream, an event of our own can be read by the client."""
        if self.reply is None or not self.reply.event_stream or self.head.endpoint is None or self._refusal:
            return False
        if self.reply.content_encoding or self.tap is None or self.tap.terminal:
            return False
        if getattr(self.tap, "mid_event", False):
            return False
        if self._passing is Passing.CHUNKS:
            return True
        chunked = self._chunked_reply
        return self._passing is Passing.UNTOUCHED and chunked is not None and chunked.at_boundary()

    # -- the end -------------------------------------------------------------------------------------------

    def fail(self, status: int, code: str, message: str, outcome: Outcome) -> None:
        """Answer in the API's shape; the reply has not begun."""
        self.record(outcome, code, status)
        api = self.head.endpoint.api if self.head.endpoint else ""
        close = self.upload is not Upload.DONE
        self.client.answer(status, api, code, message, close=close or not self.head.keep_alive)
        self._end(close=close)

    def client_left(self) -> None:
        self.client_gone = True
        if self._connecting is not None:
            self.record("client_left")
            self._connecting.cancel()
            self._end()
        elif self.connection is None:
            self.record("client_left")
            self._end()
        elif self.target is None or not self.target.upstream.drain_s or self.upload is not Upload.DONE:
            self.record("client_left")
            self._end()
        else:
            self.worker.drain(self, self.target.upstream.drain_s)

    def timed_out(self, what: str) -> None:
        name = self.target.upstream.name if self.target else ""
        if self.client_gone:
            self.record("client_left", "drain_timeout")
            self._end()
        elif self.upload is Upload.GATHERING:
            self.fail(
                408, "upload_timeout", f"The request's body did not arrive in time ({what}).", "refused"
            )
        elif self.reply is None:
            message = f"Upstream {name} did not answer in time ({what})."
            self.fail(504, "upstream_timeout", message, "upstream_unreachable")
        else:
            self._cut("upstream_timeout", f"Upstream {name} fell silent in mid-reply ({what}).")

    def _release(self) -> None:
        """Let go of the upstream connection: back into the pool if it may serve again."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        reply = self.reply
        if reply is not None and reply.keep_alive and self._is_whole() and self.upload is Upload.DONE:
            connection.pool.give_back(connection)
        else:
            connection.drop()

    def _is_whole(self) -> bool:
        if self._chunked_reply is not None:
            return self._chunked_reply.done
        reply = self.reply
        return reply is not None and reply.framing is not Framing.CLOSE and self._reply_left == 0

    def _end(self, close: bool = False) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._release()
        self.worker.drained(self)
        if self.client.exchange is self:
            self.client.exchange_done(close or self._passing is Passing.BARE)

    def record(self, outcome: Outcome | None, error_type: str = "", status: int = 0) -> None:
        """Write the call to the journal; None: what the reply itself says."""
        if self._recorded:
            return
        self._recorded = True
        if self.head.endpoint is None:
            return
        if not self.call_id:
            self.call_id = new_call_id(self.started_at_ns)
        worker = self.worker
        worker.journal.append(self._make_call(outcome, error_type, status))
        worker.open_calls.close(self._slot)
        worker.counters.calls += 1

    def _make_call(self, outcome: Outcome | None, error_type: str, status: int) -> Call:
        head, facts, target, reply, tap = self.head, self.facts, self.target, self.reply, self.tap
        assert head.endpoint is not None
        reading = tap.finish() if tap is not None else Reading()
        if outcome is None:
            outcome = self._outcome(reading)
        now = perf_counter()
        gaps = self._gaps
        first_content = int(gaps[0] * 1e6) if gaps else None
        p50, p99 = _percentiles(gaps)
        upstream = target.upstream if target is not None else None
        queue_ms, engine_ms = reading.queue_ms, reading.engine_ms
        return Call(
            call_id=self.call_id,
            started_at_ns=self.started_at_ns,
            upstream=upstream.name if upstream else "",
            api=head.endpoint.api,
            provider=upstream.provider if upstream else "",
            operation=head.endpoint.operation,
            zone=upstream.zone if upstream else "",
            path=head.path.decode("latin-1")[:200],
            tenant=self.worker.plan.tenant,
            team=head.team or (target.team if target else ""),
            project=head.project or (target.project if target else ""),
            route=target.route if target else "",
            environment=head.environment
            or (target.environment if target else "")
            or self.worker.plan.environment,
            end_user=head.user or facts.end_user,
            unit=head.unit,
            trace_id=head.trace_id,
            parent_span_id=head.parent_span_id,
            idempotency_key=self.worker.hash(head.idempotency_key) if head.idempotency_key else "",
            request_id=head.request_id or (reply.request_id if reply else ""),
            client=head.client,
            model=facts.model[:200],
            served_model=reading.model,
            service_tier=reading.service_tier,
            fingerprint=reading.fingerprint,
            response_id=reading.response_id,
            finish_reason=reading.finish_reason,
            stream=facts.stream or (reply is not None and reply.event_stream),
            usage_hidden=self.hides,
            status=reply.status if reply else status,
            outcome=outcome,
            error_type=error_type or reading.error_type,
            attempts=self._tries,
            usage=reading.usage,
            usage_source="reported" if reading.usage is not None else "unknown",
            usage_problem=reading.usage_problem,
            request_bytes=self._upload_bytes,
            response_bytes=self.reply_bytes,
            content_events=reading.content_events,
            content_chars=reading.content_chars,
            connect_us=self._connect_us,
            first_byte_us=int((self._first_byte_at - self._started) * 1e6) if self._first_byte_at else None,
            first_content_us=first_content if tap is not None and reply and reply.event_stream else None,
            duration_us=int((now - self._started) * 1e6),
            relay_us=int(self._relay_s * 1e6),
            gap_p50_us=p50,
            gap_p99_us=p99,
            queue_us=int(queue_ms * 1000) if queue_ms is not None else None,
            engine_us=int(engine_ms * 1000) if engine_ms is not None else None,
        )

    def _outcome(self, reading: Reading) -> Outcome:
        if self.client_gone:
            return "client_left"
        reply = self.reply
        return "error" if reply is None or reply.status >= 400 or reading.error_type else "ok"


def _percentiles(gaps: list[float]) -> tuple[int | None, int | None]:
    """Median and p99 of the gaps; the first entry is the time to the first content, not a gap."""
    if len(gaps) < 2:
        return None, None
    ordered = sorted(gaps[1:])
    last = len(ordered) - 1
    return int(ordered[last // 2] * 1e6), int(ordered[int(last * 0.99)] * 1e6)


def _make_block(head: RequestHead, target: Target, hides: bool) -> bytes:
    """Request line, Host and headers as the upstream gets them, without the body's framing."""
    upstream = target.upstream
    injected = {name.lower().encode(): value.encode() for name, value in upstream.headers.items()}
    replaced = set(injected) | (CREDENTIALS if CREDENTIALS & set(injected) else set())
    if hides:
        replaced = replaced | {b"accept-encoding"}
        injected[b"accept-encoding"] = b"identity"
    lines = [line for name, line in head.header_lines if name not in replaced]
    lines += [b"%s: %s\r\n" % pair for pair in injected.items()]
    first = b"%s %s%s HTTP/1.1\r\nhost: %s\r\n"
    return first % (head.method, target.path, head.query, upstream.host_header.encode()) + b"".join(lines)
