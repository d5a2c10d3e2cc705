"""One request and its reply: from the head of the one to the last byte of the other, and the Call they make.

Bytes enter from both connections and leave to the other; a Call goes to the journal.

Invariants
- `record` writes at most one call, and before the bytes that end the reply are given to the client.
- After `_end` the exchange touches neither connection again.
- A request is sent a second time only if nothing of a reply came and the connection was a reused one (it was
  stale), or if the server refused the option that we put in (`stream_options`).
"""

import asyncio
from time import perf_counter, time, time_ns
from typing import TYPE_CHECKING

from collector.apis.request import RequestFacts, splice_usage
from collector.call import Outcome, new_call_id
from collector.journal.record import encode_about
from collector.relay.account import settle
from collector.relay.courses import Course, describe, find_course
from collector.relay.option import HeldRefusal
from collector.relay.policy import Refusal, find_reached
from collector.relay.reply import Reply
from collector.relay.reply_head import BadReply, Framing, ReplyHead, read_reply_head
from collector.relay.request_head import RequestHead
from collector.relay.tunnel import Tunnel, read_handshake
from collector.relay.upload import Body, Upload
from collector.relay.upstream import Pool, UpstreamConnection, describe_failure

if TYPE_CHECKING:
    from collector.relay.server import ClientConnection

_REPLY_HEAD_BYTES = 256 * 1024
_NO_FACTS = RequestFacts()
_LENGTH, _NONE = Framing.LENGTH, Framing.NONE


# An enum's member costs a look-up through its class each time.
_GATHERING, _STREAMING, _DONE = Upload.GATHERING, Upload.STREAMING, Upload.DONE


class Exchange:
    __slots__ = (
        "_body", "_connecting", "_course", "_held", "_original", "_recorded",
        "_refusal", "_request", "_reused", "_slot", "activity", "begun", "call_id", "client", "client_gone",
        "connect_us", "connection", "entered", "facts", "first_byte_at", "head", "hides", "length", "relay_s",
        "reply", "reply_bytes", "request_bytes", "started", "started_at_ns", "tries", "upload", "worker",
    )  # fmt: skip

    def __init__(self, client: "ClientConnection", head: RequestHead, length: int, now: float) -> None:
        self.client, self.head, self.length = client, head, length
        self.worker = worker = client.worker
        self.started_at_ns = time_ns()
        self.started = self.entered = now  # entered: when our own code last began to work for it
        self.activity = self.begun = worker.clock
        self.upload = _GATHERING
        self.facts = _NO_FACTS
        self.hides = False
        self.call_id = b""
        self.client_gone = self._recorded = self._reused = False
        self.connection: UpstreamConnection | None = None
        self.reply: Reply | None = None
        self.connect_us: int | None = None
        self.tries = self.request_bytes = self.reply_bytes = 0
        self.first_byte_at = self.relay_s = 0.0
        self._course: Course | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._slot = -1
        self._body: Body | None = None  # of a request that did not come in one piece
        self._request = b""  # kept until a reply begins, for sending it again
        self._original = b""  # the body before an option was put in
        self._held = b""  # an unfinished head of a reply
        self._refusal: HeldRefusal | None = None  # it may be about the option that we put in

    # -- the request ---------------------------------------------------------------------------------------

    def body_received(self, data: bytes, now: float) -> bytes:
        """Take the body's next bytes; return what lies beyond it. Raises BadChunk."""
        self.activity = self.worker.clock
        self.entered = now
        body = self._body
        if body is None:
            body = self._body = Body(self.length, chunked=self.head.chunked)
        piece, beyond = body.take(data)
        self.request_bytes = body.size
        if max(body.size, self.length) > self.worker.plan.limits.body_bytes:
            self._refuse_size()
        elif self.upload is _STREAMING:
            self._pass_upload(body, piece)
        else:
            self._gather(body, piece)
        return beyond

    def whole_received(self, body: bytes) -> None:
        """The usual case: the whole body came with its head."""
        self.upload = _DONE
        self.request_bytes = size = len(body)
        if size > self.worker.plan.limits.body_bytes:
            self._refuse_size()
        else:
            self._dispatch(body, True)

    def _refuse_size(self) -> None:
        limit = self.worker.plan.limits.body_bytes
        message = f"The request's body is over relay.limits.body_bytes ({limit})."
        self.fail(413, "body_too_large", message, "refused")

    def _gather(self, body: Body, piece: bytes) -> None:
        body.keep(piece)
        if body.whole:
            self.upload = _DONE
        elif body.size > self.worker.plan.limits.sniff_bytes:
            self.upload = _STREAMING
        else:
            return
        self._dispatch(body.let_go(), body.whole)

    def _dispatch(self, body: bytes, whole: bool) -> None:
        """Find where the request goes and send it: all of it, or its beginning."""
        head = self.head
        endpoint = head.endpoint
        if endpoint is not None:
            self.facts = endpoint.read_request(body) if whole else endpoint.read_prefix(body)
        elif head.wants_upgrade:
            self.facts = read_handshake(head)
        model = self.facts.model
        course = self._course = head.courses.get(model) or find_course(self.worker, head, model)
        if course is None:
            self._refuse_course()
            return
        if course.caps is not None and (refusal := find_reached(course.caps, time())):
            self.worker.counters.capped += 1
            self._refuse(refusal)
            return
        if self.facts.stream and whole and self._may_ask_usage(course):
            spliced = splice_usage(body, self.facts)
            if spliced is not None:
                self.hides = True
                self._original, body = body, spliced
        if whole:
            self._request = course.frame(head, body, hides=self.hides)
        else:
            self._request = course.frame_beginning(head, body, self.length)
        if endpoint is not None:
            self.call_id = new_call_id(self.started_at_ns)
            self._slot = self.worker.open_calls.open(
                self.call_id,
                self.started_at_ns,
                self.facts.stream,
                head.trace_id,
                head.parent_span_id,
                course.label,
            )
            if course.parent_at:
                self._request = course.name_parent(self._request, self.call_id, hides=self.hides)
        self._send(course.pool)

    def _refuse_course(self) -> None:
        head = self.head
        if head.refusal is not None:
            self._recorded = True  # who isn't let in must not be able to fill the ledger: only counted
            self.worker.counters.unauthorized += 1
            self._refuse(head.refusal)
            return
        path, model = head.path.decode("latin-1")[:200], self.facts.model[:100]
        message = f"No route takes {path}" + (f" with the model {model!r}." if model else ".")
        self.fail(404, "no_route", message, "refused")

    def _refuse(self, refusal: Refusal) -> None:
        status, code, message, lines, details = refusal
        self.fail(status, code, message, "refused", lines, details)

    def _may_ask_usage(self, course: Course) -> bool:
        facts, endpoint, upstream = self.facts, self.head.endpoint, course.target.upstream
        if facts.asks_usage or endpoint is None or not endpoint.can_ask_usage:
            return False
        return upstream.asks_usage and (upstream.name, facts.model) not in self.worker.refuses_option

    def _pass_upload(self, body: Body, piece: bytes) -> None:
        framed = body.frame(piece)
        if body.whole:
            self.upload = _DONE
        if self.connection is not None:
            self.worker.outbox.write(self.connection.transport, framed, self.entered)
        else:
            self._request += framed
            self.client.pause_upload()

    def _send(self, pool: Pool) -> None:
        self.tries += 1
        # What can't be sent again gets a connection that can't be stale.
        connection = pool.take() if self.tries == 1 and self.upload is _DONE else None
        self._reused = connection is not None
        if connection is not None:
            self._start_on(connection)
            self.relay_s += perf_counter() - self.entered
        else:
            self.relay_s += perf_counter() - self.entered
            self._connecting = self.worker.spawn(self._connect(pool))

    async def _connect(self, pool: Pool) -> None:
        began = perf_counter()
        try:
            connection = await pool.connect()
        except Exception as error:  # whatever it is (a name that is none, ...): the client gets an answer
            self._connecting = None
            timed_out = isinstance(error, TimeoutError)
            message = f"Upstream {pool.upstream.name} can't be reached: {describe_failure(error)}."
            code = "upstream_timeout" if timed_out else "upstream_unreachable"
            self.entered = perf_counter()
            self.fail(504 if timed_out else 502, code, message, "upstream_unreachable")
            return
        self._connecting = None
        self.entered = perf_counter()
        self.connect_us = int((self.entered - began) * 1e6)
        self._start_on(connection)
        self.client.resume_upload()

    def _start_on(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        connection.exchange = self
        self.worker.outbox.write(connection.transport, self._request, self.entered)
        if self.upload is not _DONE:
            self._request = b""  # can't be sent again

    # -- the reply -----------------------------------------------------------------------------------------

    def reply_received(self, data: bytes) -> None:
        self.entered = now = perf_counter()
        self.activity = self.worker.clock
        try:
            reply = self.reply
            if reply is None:
                self._receive_head(data, now)
            else:
                out = reply.take(data, now)
                if self._refusal is None and not reply.ending and not self.client_gone:
                    self.reply_bytes += len(out)  # the usual case: in mid-stream
                    if out:
                        self.worker.outbox.write(self.client.transport, out, now)
                else:
                    self._forward(reply, b"", out)
        except BadReply as error:
            self._refuse_reply(str(error))
        self.relay_s += perf_counter() - now

    def _receive_head(self, data: bytes, now: float) -> None:
        if not self.first_byte_at:
            self.first_byte_at = now
        if self._held:
            data, self._held = self._held + data, b""
        while end := data.find(b"\r\n\r\n") + 1:
            raw, rest = data[: end + 3], data[end + 3 :]
            head = read_reply_head(raw, to_head_request=self.head.method == b"HEAD")
            if head.status >= 200:
                self._begin_reply(head, raw, rest, data, now)
                return
            if head.status == 101:
                if self.head.wants_upgrade:
                    self._switch(raw, rest)
                    return
                raise BadReply("it switches protocols, which was not asked for")
            data = rest  # hints such as 103 are not passed on
        if len(data) > _REPLY_HEAD_BYTES:
            raise BadReply("its head is too long")
        if not b"HTTP/1.".startswith(data[:7]) or b"\n" in data.partition(b"\r\n")[0]:
            raise BadReply(f"it begins with {data[:60]!r}, which is no HTTP/1.1 status line")
        self._held = data

    def _switch(self, raw: bytes, rest: bytes) -> None:
        """The upstream agrees to a WebSocket: both connections are a tunnel's now, and this exchange ends."""
        connection, course = self.connection, self._course
        assert connection is not None
        assert course is not None
        self.connection = connection.exchange = None
        tunnel = Tunnel(self.client, connection, self.head, course, raw, self.facts.model)
        tunnel.start(raw, rest)

    def _begin_reply(self, head: ReplyHead, raw: bytes, rest: bytes, data: bytes, now: float) -> None:
        """`data` is `raw`, its head, and `rest`, what came of its body."""
        client_head, hides = self.head, self.hides
        self.reply = reply = Reply(head, client_head.endpoint, hides, client_head.http11)
        if hides and head.status in (400, 422):
            self._refusal = HeldRefusal()
        else:
            self._request = self._original = b""
        keeps = self.client.keeps_alive(self)
        asis = keeps and client_head.http11 and not head.has_dropped and not hides
        if head.framing is _LENGTH and head.content_length == len(rest) and not hides:
            reply.take_whole(rest, self.worker.plan.limits.read_reply_bytes)
            out = rest
        else:
            reply.open_tap(self.worker.plan.limits.read_reply_bytes)
            takes = rest or head.framing in (_NONE, _LENGTH)
            out = reply.take(rest, now) if takes else b""
        if asis and out is rest:
            self._forward(reply, b"", data)  # the usual case: not a byte is moved
        else:
            before = raw if asis else reply.head_bytes(http11=client_head.http11, keep_alive=keeps)
            self._forward(reply, before, out)

    def _forward(self, reply: Reply, before: bytes, out: bytes) -> None:
        """Record the call if these bytes end its reply; then give them to the client."""
        if before:
            out = before + out
        if self._refusal is not None:
            held = self._refusal.take(out, done=reply.done)
            if held is None:
                return
            if self._refusal.names_option:
                self._send_original()
                return
            self._refusal = None
            self._request = self._original = b""
            out = held
        self.reply_bytes += len(out)
        if not self._recorded and reply.ending:
            self.record(None)
        if out and not self.client_gone:
            self.worker.outbox.write(self.client.transport, out, self.entered)
        if reply.done:
            self._end()

    def _send_original(self) -> None:
        course = self._course
        assert course is not None
        self.worker.refuses_option.add((course.target.upstream.name, self.facts.model))
        self._release()
        self.hides = False
        self.reply = self._refusal = None
        body, self._original = self._original, b""
        request = course.frame(self.head, body, hides=False)
        self._request = course.name_parent(request, self.call_id, hides=False)
        self.tries = 0
        self.first_byte_at = 0.0
        self._send(course.pool)

    def _refuse_reply(self, reason: str) -> None:
        message = f"What upstream {self._upstream_name()} sent can't be passed on: {reason}."
        if self.reply is None:
            self.fail(502, "bad_reply", message, "upstream_cut")
        else:
            self._cut("bad_reply", message)

    def reply_ended(self) -> None:
        """The upstream closed its side; `upstream_lost` follows where that is no proper end."""
        reply = self.reply
        if reply is not None and reply.head.framing is Framing.CLOSE:
            self.entered = perf_counter()  # what went before was a wait for the upstream
            self._forward(reply, b"", reply.end())

    def upstream_lost(self, error: Exception | None) -> None:
        self.entered = perf_counter()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.exchange = None
        name, reason = self._upstream_name(), f" ({error})" if error else ""
        if self.reply is not None:
            self._cut("upstream_cut", f"Upstream {name} broke off in mid-reply{reason}.")
        elif self._is_stale() and self._course is not None:
            self._send(self._course.pool)  # the pooled connection was stale
        else:
            message = f"Upstream {name} closed the connection before it answered{reason}."
            self.fail(502, "upstream_closed", message, "upstream_unreachable")

    def _is_stale(self) -> bool:
        """The connection was kept alive for too long, and nobody has seen the request."""
        return self._reused and bool(self._request) and not self.first_byte_at and not self.client_gone

    def _cut(self, code: str, message: str) -> None:
        """The reply broke off: the client must see that it isn't whole."""
        if not self.reply_bytes:  # ... unless it has seen nothing of it
            self._refusal = None
            self.fail(502, code, message, "upstream_cut")
            return
        self.record("client_left" if self.client_gone else "upstream_cut", code)
        assert self.reply is not None
        event = self.reply.error_event(code, message)
        if event and not self.client_gone:
            self.worker.outbox.write(self.client.transport, event, self.entered)
        self._end(close=True)

    # -- the end -------------------------------------------------------------------------------------------

    def _upstream_name(self) -> str:
        return self._course.target.upstream.name if self._course else ""

    def fail(
        self,
        status: int,
        code: str,
        message: str,
        outcome: Outcome,
        lines: bytes = b"",
        details: dict[str, str] | None = None,
    ) -> None:
        """Answer in the API's shape; the reply has not begun."""
        self.record("client_left" if self.client_gone else outcome, code, status)
        close = not self.client.keeps_alive(self)
        if not self.client_gone:
            api = self.head.endpoint.api if self.head.endpoint else ""
            self.client.answer(status, api, code, message, lines, details, close=close)
        self._end(close=close)

    def client_left(self) -> None:
        """The upstream is dropped at once, or drained for a while where it bills the whole reply anyway."""
        self.client_gone = True
        self.entered = perf_counter()
        course = self._course
        if self.connection is not None and course is not None and self.upload is _DONE:
            drain_s = course.target.upstream.drain_s
            if drain_s and not self._recorded:
                self.connection.transport.resume_reading()
                self.worker.drain(self, drain_s)
                return
        self.record("client_left")
        self._end()

    def _awaits_upload(self) -> bool:
        """It is the client that is slow: the upstream, if any, has taken all that came."""
        if self.upload is _STREAMING and self.connection is not None and self.reply is None:
            return not self.connection.transport.get_write_buffer_size()
        return self.upload is _GATHERING

    def timed_out(self, what: str) -> None:
        name = self._upstream_name()
        self.entered = perf_counter()
        if self.client_gone:
            self.record("client_left")
            self._end()
        elif self._awaits_upload():
            self.fail(
                408, "upload_timeout", f"The request's body did not arrive in time ({what}).", "refused"
            )
        elif self.reply is None:
            message = f"Upstream {name} did not answer in time ({what})."
            self.fail(504, "upstream_timeout", message, "upstream_unreachable")
        else:
            self._cut("upstream_timeout", f"Upstream {name} fell silent in mid-reply ({what}).")

    def _release(self) -> None:
        """Let go of the upstream's connection: back into the pool if it may serve again."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if self.reply is not None and self.reply.is_reusable() and self.upload is _DONE:
            connection.pool.give_back(connection)
        else:
            connection.drop()

    def _end(self, close: bool = False) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._release()
        if self.client_gone:
            self.worker.drained(self)
        elif self.client.exchange is self:
            self.client.exchange_done(close)

    def record(self, outcome: Outcome | None, error_type: str = "", status: int = 0) -> None:
        """Write the call to the journal, once; `outcome` None: what the reply itself says."""
        if self._recorded or self.head.endpoint is None:
            return
        self._recorded = True
        worker, course = self.worker, self._course
        if not self.call_id:
            self.call_id = new_call_id(self.started_at_ns)
        if course is not None:
            about = course.about
        else:
            key = worker.hash(self.head.idempotency_key)
            about = encode_about(describe(self.head, self.facts.model, None, worker.plan, key))
        worker.journal.append_parts(about, settle(self, outcome, error_type, status))
        worker.open_calls.close(self._slot)
        worker.counters.calls += 1
