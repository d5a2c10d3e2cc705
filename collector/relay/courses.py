"""The course of a call: what requests with the same head and model have in common, worked out once.

Where they go, the request's first lines as the upstream gets them, and the part of the Call that is the same
for all of them, already in the journal's form. A request whose head and model were seen costs one look-up.
"""

import re
from typing import TYPE_CHECKING

from collector.call import Call
from collector.journal.record import About, encode_about
from collector.plan import Plan
from collector.relay.open_calls import make_label
from collector.relay.policy import Cap
from collector.relay.request_head import CREDENTIALS, RequestHead
from collector.relay.routes import Target
from collector.relay.upstream import Pool
from collector.relay.websocket import frame_handshake

if TYPE_CHECKING:
    from collector.relay.worker import Worker

_MODELS_OF_A_HEAD = 64  # a client that makes up models must not fill the memory


class Course:
    __slots__ = (
        "about", "caps", "label", "lines", "lines_hiding", "parent_at", "parent_at_hiding", "pool", "target",
    )  # fmt: skip

    def __init__(
        self, head: RequestHead, model: str, target: Target, pool: Pool, plan: Plan, key: str
    ) -> None:
        """`key` is the keyed hash of the idempotency key."""
        self.target, self.pool = target, pool
        self.caps: tuple[Cap, ...] | None = None  # those that cover its calls; set by who makes it
        self.lines = _make_lines(head, target, hides=False)
        self.lines_hiding = _make_lines(head, target, hides=True)
        self.parent_at = _find_parent(head, self.lines)  # 0: the client named no trace
        self.parent_at_hiding = _find_parent(head, self.lines_hiding)
        call = describe(head, model, target, plan, key)
        self.about: About = encode_about(call)
        self.label = make_label(
            call.upstream, call.api, call.operation, call.team, call.project, call.route, call.environment,
            call.key_id, call.model,
        )  # fmt: skip

    def frame(self, head: RequestHead, body: bytes, *, hides: bool) -> bytes:
        """The whole request as the upstream gets it."""
        lines = self.lines_hiding if hides else self.lines
        if body or head.chunked or head.content_length is not None:
            return b"%scontent-length: %d\r\n\r\n%s" % (lines, len(body), body)
        return frame_handshake(lines) if head.wants_upgrade else lines + b"\r\n"

    def frame_beginning(self, head: RequestHead, body: bytes, length: int) -> bytes:
        """The beginning of a request whose body of `length` bytes, or of unknown length, is still coming."""
        if head.chunked:
            return b"%stransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (self.lines, len(body), body)
        return b"%scontent-length: %d\r\n\r\n%s" % (self.lines, length, body)

    def name_parent(self, request: bytes, call_id: bytes, *, hides: bool) -> bytes:
        """The framed request with this call as the parent in its traceparent: in the trace it stands between
        the client and the upstream."""
        at = self.parent_at_hiding if hides else self.parent_at
        return b"%s%s%s" % (request[:at], call_id[8:].hex().encode(), request[at + 16 :]) if at else request


def find_course(worker: "Worker", head: RequestHead, model: str) -> Course | None:
    """None: the caller isn't let in, or no route takes it."""
    target = None if head.refusal is not None else worker.router.find(head.path, model)
    if target is None:
        return None
    pool = worker.pool_of(target.upstream)
    course = Course(head, model, target, pool, worker.plan, worker.hash(head.idempotency_key))
    team, project = head.team or target.team, head.project or target.project
    course.caps = worker.admission.find_caps(head, team, project)
    if len(head.courses) < _MODELS_OF_A_HEAD:
        head.courses[model] = course
    return course


def describe(head: RequestHead, model: str, target: Target | None, plan: Plan, key: str) -> Call:
    """The part of a Call that its head, model and target give."""
    upstream = target.upstream if target else None
    endpoint = head.endpoint
    return Call(
        call_id=b"",
        started_at_ns=0,
        upstream=upstream.name if upstream else "",
        api=endpoint.api if endpoint else "",
        provider=upstream.provider if upstream else "",
        operation=endpoint.operation if endpoint else "",
        zone=upstream.zone if upstream else "",
        path=head.path.decode("latin-1")[:200],
        tenant=plan.tenant,
        team=head.team or (target.team if target else ""),
        project=head.project or (target.project if target else ""),
        route=target.route if target else "",
        environment=head.environment or (target.environment if target else "") or plan.environment,
        key_id=head.key_id,
        unit=head.unit,
        trace_id=head.trace_id,
        parent_span_id=head.parent_span_id,
        idempotency_key=key,
        client=head.client,
        model=model[:200],
    )


def _make_lines(head: RequestHead, target: Target, *, hides: bool) -> bytes:
    """Request line, Host and headers as the upstream gets them, without the body's framing."""
    upstream = target.upstream
    injected = {name.lower().encode(): value.encode() for name, value in upstream.headers.items()}
    replaced = set(injected)
    if CREDENTIALS & replaced:
        replaced |= CREDENTIALS
    if hides:
        replaced.add(b"accept-encoding")
        injected[b"accept-encoding"] = b"identity"
    lines = [line for name, line in head.header_lines if name not in replaced]
    lines += [b"%s: %s\r\n" % pair for pair in injected.items()]
    first = b"%s %s%s HTTP/1.1\r\nhost: %s\r\n"
    return first % (head.method, target.path, head.query, upstream.host_header.encode()) + b"".join(lines)


def _find_parent(head: RequestHead, lines: bytes) -> int:
    """Where the client's span id stands in the traceparent."""
    if not head.trace_id:
        return 0
    names = head.trace_id.hex().encode(), head.parent_span_id.hex().encode()
    found = re.search(rb"\r\n(?i:traceparent): [0-9a-f]{2}-%s-%s-" % names, lines)
    return found.end() - 17 if found else 0
