"""What each path answers: a Request enters, an Answer leaves (a Reply, and for model calls its truth).

The service knows the behaviour, the truth log and the counters; it knows nothing of sockets.
"""

import os
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from hashlib import sha256

import msgspec

from collector.simulator.ask import Ask, understand
from collector.simulator.behaviour import Behaviour
from collector.simulator.chat import answer_chat
from collector.simulator.directives import DirectiveError, Directives, parse_directives
from collector.simulator.messages import answer_count_tokens, answer_messages
from collector.simulator.metrics import Metrics
from collector.simulator.refusals import answer_refused
from collector.simulator.reply import Refused, Reply, encode
from collector.simulator.truth import Entry, TruthLog

_OPERATIONS: dict[str, tuple[str, Callable[[Ask], Reply]]] = {
    "/v1/chat/completions": ("chat", answer_chat),
    "/v1/messages": ("messages", answer_messages),
    "/v1/messages/count_tokens": ("count_tokens", answer_count_tokens),
}
_AZURE_PREFIX = "/openai/deployments/"


class Request(msgspec.Struct):
    method: str
    target: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Answer(msgspec.Struct):
    reply: Reply
    sim: Directives = Directives()
    entry: Entry | None = None  # of a model call


class Service:
    def __init__(self, behaviour: Behaviour):
        self.behaviour = behaviour
        self.truth = TruthLog(behaviour.log_file)
        self.metrics = Metrics()
        self._pages: dict[str, Callable[[str], Reply]] = {
            "/health": lambda _: Reply(content_type=""),
            "/ping": lambda _: Reply(content_type=""),
            "/version": lambda _: _json({"version": "0.32.0"}),
            "/metrics": lambda _: Reply(
                content_type="text/plain; version=1.0.0; charset=utf-8", body=self.metrics.expose()
            ),
            "/sim/log": self._show_log,
        }

    def answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        operation, handler, deployment = _find_operation(path)
        if handler is not None:
            if request.method != "POST":
                return Answer(
                    Reply(status=405, headers=(("allow", "POST"),), body=b'{"detail":"Method Not Allowed"}')
                )
            return self._answer_call(request, path, operation, handler, deployment)
        if path == "/sim/log" and request.method == "DELETE":
            self.truth.clear()
            return Answer(Reply(status=204, content_type=""))
        page = self._pages.get(path)
        if page is None:
            return Answer(Reply(status=404, body=b'{"detail":"Not Found"}'))
        if request.method not in ("GET", "HEAD"):
            return Answer(
                Reply(status=405, headers=(("allow", "GET"),), body=b'{"detail":"Method Not Allowed"}')
            )
        return Answer(page(query))

    # --- model calls

    def _answer_call(
        self, request: Request, path: str, operation: str, handler: Callable[[Ask], Reply], deployment: str
    ) -> Answer:
        headers = request.headers
        request_id = headers.get("x-request-id") or os.urandom(8).hex()
        entry = Entry(
            id=f"req_{request_id}",
            request_id=request_id,
            path=path,
            operation=operation,
            status=200,
            request_bytes=len(request.body),
            request_sha256=sha256(request.body).hexdigest(),
            header_names=sorted(headers),
            traceparent=headers.get("traceparent", ""),
            started_at=time.time(),
        )
        try:
            self._check_key(headers)
            ask = understand(
                request.body,
                headers,
                self.behaviour,
                operation=operation,
                deployment=deployment,
                created=int(entry.started_at),
                request_id=request_id,
            )
            _note_ask(entry, ask)
            if _dies_whole(ask):
                raise Refused(
                    500, "EngineCore encountered an issue. See stack trace (above) for the root cause."
                )
            reply, sim = handler(ask), ask.sim
        except Refused as refused:
            reply, sim = self._refuse(refused, request, operation, entry)
        entry.status, entry.finish, entry.usage_told = reply.status, reply.finish, reply.usage_told
        entry.id = reply.reply_id or entry.id
        reply.headers = (*_name_request(entry), *reply.headers)
        return Answer(reply, sim, entry)

    def _check_key(self, headers: Mapping[str, str]) -> None:
        wanted = self.behaviour.api_key
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if wanted and wanted not in (given, headers.get("x-api-key"), headers.get("api-key")):
            raise Refused(401, "Incorrect API key provided.")

    def _refuse(
        self, refused: Refused, request: Request, operation: str, entry: Entry
    ) -> tuple[Reply, Directives]:
        """A body that could not be read still has a header, a path, and often a model to tell the dialect by."""
        if not entry.flavour:
            entry.model = _peek_model(request.body)
            entry.flavour = _guess_flavour(operation, entry.model, self.behaviour)
        sim = _peek_directives(request)
        reply = answer_refused(
            refused, entry.flavour, operation in ("messages", "count_tokens"), sim.retry_after
        )
        return reply, sim

    def _show_log(self, query: str) -> Reply:
        after = query.removeprefix("after=")
        body = self.truth.read(int(after) if after.isdigit() else 0)
        return Reply(content_type="application/x-ndjson", body=body)


def _find_operation(path: str) -> tuple[str, Callable[[Ask], Reply] | None, str]:
    deployment = ""
    if path.startswith(_AZURE_PREFIX):
        deployment, _, rest = path.removeprefix(_AZURE_PREFIX).partition("/")
        path = f"/v1/{rest}"
    operation, handler = _OPERATIONS.get(path, ("", None))
    return operation, handler, deployment


def _note_ask(entry: Entry, ask: Ask) -> None:
    entry.flavour, entry.model, entry.served_model = ask.flavour, ask.model, ask.served_model
    entry.stream, entry.prompt_tokens, entry.cached_tokens = ask.stream, ask.prompt_tokens, ask.cached_tokens
    entry.cache_write_tokens, entry.cache_write_1h_tokens = ask.cache_write_tokens
    entry.reasoning_tokens = ask.sim.reasoning or 0
    entry.service_tier = ask.service_tier


def _dies_whole(ask: Ask) -> bool:
    return not ask.stream and (ask.sim.error_after is not None or ask.sim.engine_death_after is not None)


def _name_request(entry: Entry) -> tuple[tuple[str, str], ...]:
    """The heads that each vendor puts its own name into."""
    if entry.flavour == "anthropic":
        return (("request-id", f"req_{entry.request_id}"), ("server", "cloudflare"))
    if entry.flavour == "vllm":
        return (("server", "uvicorn"), ("vary", "Origin"))
    version = (("openai-version", "2020-10-01"),) if entry.flavour == "openai" else ()
    return (("x-request-id", f"req_{entry.request_id}"), ("openai-processing-ms", "1"), *version)


def _peek_model(body: bytes) -> str:
    try:
        model = msgspec.json.decode(body).get("model")
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
        return ""
    return model if isinstance(model, str) else ""


def _guess_flavour(operation: str, model: str, behaviour: Behaviour) -> str:
    from collector.simulator.behaviour import tell_flavour

    if operation in ("messages", "count_tokens"):
        return (
            "vllm"
            if behaviour.flavour == "vllm" or (model and not model.startswith("claude"))
            else "anthropic"
        )
    if behaviour.flavour and behaviour.flavour != "anthropic":
        return behaviour.flavour
    return tell_flavour(model) if model and model != "sim-missing" else "openai"


def _peek_directives(request: Request) -> Directives:
    try:
        return parse_directives(request.headers.get("x-sim", ""))
    except DirectiveError:
        return Directives()


def _json(value: object) -> Reply:
    return Reply(body=encode(value))


def date_header() -> tuple[str, str]:
    return ("date", formatdate(usegmt=True))
