"""What each path answers: a Request enters, an Answer leaves (a Reply, and for model calls its truth).

The service knows the behaviour, the truth log and the counters; it knows nothing of sockets.
"""

import os
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from hashlib import sha256

import msgspec

from collector.simulator.ask import Ask, check, understand
from collector.simulator.behaviour import Behaviour
from collector.simulator.chat import answer_chat
from collector.simulator.completions import answer_completion
from collector.simulator.directives import Directives
from collector.simulator.embeddings import answer_embeddings
from collector.simulator.messages import answer_count_tokens, answer_messages
from collector.simulator.metrics import Metrics
from collector.simulator.pages import list_models, show_nothing, show_version, tokenize
from collector.simulator.refusals import answer_refused, guess_flavour, peek_model
from collector.simulator.reply import Refused, Reply
from collector.simulator.responses import answer_response
from collector.simulator.truth import Entry, TruthLog

_OPERATIONS: dict[str, tuple[str, Callable[[Ask], Reply]]] = {
    "/v1/chat/completions": ("chat", answer_chat),
    "/v1/completions": ("text_completion", answer_completion),
    "/v1/embeddings": ("embeddings", answer_embeddings),
    "/v1/responses": ("responses", answer_response),
    "/v1/messages": ("messages", answer_messages),
    "/v1/messages/count_tokens": ("count_tokens", answer_count_tokens),
}
_PAGES = ("/health", "/ping", "/version", "/metrics", "/v1/models", "/sim/log")
_NO_WISHES = Directives()
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

    def answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        if path.startswith("http://"):  # the absolute form, which a server must take
            path = "/" + path.removeprefix("http://").partition("/")[2]
        operation, handler, deployment = _find_operation(path)
        if handler is not None:
            if request.method != "POST":
                return Answer(_refuse_method("POST"))
            return self._answer_call(request, path, operation, handler, deployment)
        try:
            return Answer(self._answer_page(request, path, query))
        except Refused as refused:
            return Answer(answer_refused(refused, "vllm", False, None))

    def _answer_page(self, request: Request, path: str, query: str) -> Reply:
        if path == "/tokenize":
            return (
                tokenize(request.body, self.behaviour) if request.method == "POST" else _refuse_method("POST")
            )
        if path == "/sim/log" and request.method == "DELETE":
            self.truth.clear()
            return Reply(status=204, content_type="")
        if path not in _PAGES:
            return Reply(status=404, body=b'{"detail":"Not Found"}')
        if request.method not in ("GET", "HEAD"):
            return _refuse_method("GET")
        match path:
            case "/sim/log":
                return self._show_log(query)
            case "/metrics":
                return Reply(
                    content_type="text/plain; version=1.0.0; charset=utf-8", body=self.metrics.expose()
                )
            case "/v1/models":
                self._check_key(request.headers)
                return list_models(self.behaviour, "anthropic-version" in request.headers)
            case "/version":
                return show_version()
        return show_nothing()

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
        sim = _NO_WISHES
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
            sim = ask.sim
            _note_ask(entry, ask)
            check(ask)
            if _dies_whole(ask):
                raise Refused(
                    500, "EngineCore encountered an issue. See stack trace (above) for the root cause."
                )
            reply = handler(ask)
        except Refused as refused:
            reply = self._refuse(refused, request.body, operation, entry, sim)
        entry.status, entry.finish, entry.usage_told = reply.status, reply.finish, reply.usage_told
        entry.id = reply.reply_id or entry.id
        reply.headers = (*_name_request(entry), *reply.headers)
        return Answer(reply, sim, entry)

    def _check_key(self, headers: Mapping[str, str]) -> None:
        wanted = self.behaviour.api_key
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if wanted and wanted not in (given, headers.get("x-api-key"), headers.get("api-key")):
            raise Refused(401, "Incorrect API key provided.")

    def _refuse(self, refused: Refused, body: bytes, operation: str, entry: Entry, sim: Directives) -> Reply:
        """A body that could not be read still has a path, and often a model, to tell the dialect by."""
        if not entry.flavour:
            entry.model = peek_model(body)
            entry.flavour = guess_flavour(operation, entry.model, self.behaviour)
        # Nothing was read and nothing was said.
        entry.prompt_tokens = entry.cached_tokens = entry.cache_write_tokens = entry.cache_write_1h_tokens = 0
        entry.reasoning_tokens = 0
        on_messages = operation in ("messages", "count_tokens")
        return answer_refused(refused, entry.flavour, on_messages, sim.retry_after)

    def _show_log(self, query: str) -> Reply:
        after = query.removeprefix("after=")
        body = self.truth.read(int(after) if after.isdigit() else 0)
        return Reply(content_type="application/x-ndjson", body=body)


def _refuse_method(allowed: str) -> Reply:
    return Reply(status=405, headers=(("allow", allowed),), body=b'{"detail":"Method Not Allowed"}')


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


def date_header() -> tuple[str, str]:
    return ("date", formatdate(usegmt=True))
