"""The upstreams: reachable, trusted, which API answers there, whether it takes the key and tells its usage.

Only the list of models is asked for, which costs nothing. A completion, which does, is asked for on demand
(`call`), with one token to say, streamed and not; it goes straight there and into no ledger.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any

import msgspec

from collector.apis.endpoints import find_endpoint, read_whole
from collector.apis.reading import Reading
from collector.config import Upstream
from collector.config.effective import plan_upstream
from collector.doctor.probe import Answer, Probe, describe_failure
from collector.plan import UpstreamPlan

TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 60.0
MODELS_PATH = {
    "openai": "/v1/models",
    "anthropic": "/v1/models",
    "cohere": "/v1/models",
    "gemini": "/v1beta/models",
    "ollama": "/api/tags",
}
API_HEADERS = {"anthropic": {"anthropic-version": "2023-06-01"}}
ENVIRONMENT_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
CREDENTIALS = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
NOT_FOR_CHAT = ("embed", "rerank", "whisper", "tts", "moderation", "dall-e", "image")
METRIC_NAMES = ("vllm:num_requests_running", "vllm:prompt_tokens_total", "vllm:generation_tokens_total")


class UsageFact(msgspec.Struct, frozen=True):
    stream: bool
    status: int = 0
    said: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    reason: str = ""


class UpstreamFact(msgspec.Struct):
    name: str
    url: str
    api: str  # as configured
    tls: bool
    has_key: bool
    base_path: str = ""
    failure: str = ""
    is_tls_failure: bool = False
    connect_ms: float = 0.0
    certificate_ends_s: float | None = None
    status: int = 0
    answers_as: str = ""  # the API that its reply looks like; "" where it can't be told
    models: list[str] = []
    skew_s: float | None = None
    skew_doubt_s: float = 0.0
    metrics: str = ""  # the address, where one is configured
    metrics_status: int = 0
    metrics_failure: str = ""
    metrics_missing: list[str] = []
    usage: list[UsageFact] | None = None  # None: not asked for
    called_model: str = ""


def gather(
    plans: Sequence[UpstreamPlan], metrics: dict[str, str], *, call: bool, model: str
) -> list[UpstreamFact]:
    """All at once: one that doesn't answer holds up no other."""
    look: Callable[[UpstreamPlan], UpstreamFact] = lambda plan: gather_one(  # noqa: E731
        plan, metrics.get(plan.name, ""), call=call, model=model
    )
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(look, plans))


def gather_one(plan: UpstreamPlan, metrics: str, *, call: bool, model: str) -> UpstreamFact:
    scheme = "https" if plan.tls else "http"
    fact = UpstreamFact(
        name=plan.name,
        url=f"{scheme}://{plan.host_header}{plan.base_path}",
        api=plan.api,
        tls=plan.tls,
        has_key=any(name in CREDENTIALS for name in plan.headers),
        base_path=plan.base_path,
    )
    with Probe(plan, TIMEOUT_S) as probe:
        try:
            asked_s = time.time()
            answer = probe.get(MODELS_PATH.get(plan.api, "/"), request_headers(plan))
            _read_answer(fact, answer, asked_s, time.time())
        except (OSError, HTTPException) as failure:
            fact.failure = describe_failure(failure)
            fact.is_tls_failure = "certificate" in fact.failure or fact.failure.startswith("TLS")
        fact.connect_ms, fact.certificate_ends_s = probe.connect_ms, probe.certificate_ends_s
        if metrics and not fact.failure:
            _read_metrics(fact, plan, metrics)
    if call and not fact.failure:
        fact.called_model = model if model in fact.models or not fact.models else _choose_model(fact.models)
        fact.usage = [_ask_usage(plan, fact.called_model, stream) for stream in (False, True)]
    return fact


def request_headers(plan: UpstreamPlan) -> dict[str, str]:
    """The configured ones; a provider's own key of the shell, where none is configured, goes to it alone."""
    headers = {**API_HEADERS.get(plan.api, {}), **plan.headers}
    key = os.environ.get(ENVIRONMENT_KEYS.get(plan.provider, ""), "")
    official = plan.tls and plan.host == f"api.{plan.provider}.com"
    if key and official and not CREDENTIALS & headers.keys():
        headers |= {"x-api-key": key} if plan.api == "anthropic" else {"authorization": f"Bearer {key}"}
    return headers


def _read_answer(fact: UpstreamFact, answer: Answer, asked_s: float, answered_s: float) -> None:
    fact.status = answer.status
    fact.answers_as, fact.models = recognise(answer.body)
    if date := answer.headers.get("date"):
        try:
            theirs_s = parsedate_to_datetime(date).timestamp() + 0.5  # it has whole seconds
        except ValueError:
            return
        fact.skew_s = theirs_s - (asked_s + answered_s) / 2
        fact.skew_doubt_s = 0.5 + (answered_s - asked_s) / 2


def recognise(body: bytes) -> tuple[str, list[str]]:
    """Which API a list of models, or its refusal, looks like; and the models."""
    try:
        said = json.loads(body)
    except ValueError:
        return "", []
    if not isinstance(said, dict):
        return "", []
    listed = said.get("data")
    if isinstance(listed, list):
        models = [one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]
        api = "anthropic" if models and models[0].get("type") == "model" and "has_more" in said else "openai"
        return api, [one["id"] for one in models]
    if said.get("type") == "error" and "error" in said:
        return "anthropic", []
    return ("openai", []) if "error" in said else ("", [])


def _choose_model(models: list[str]) -> str:
    return next((one for one in models if not any(word in one for word in NOT_FOR_CHAT)), models[0])


def _read_metrics(fact: UpstreamFact, plan: UpstreamPlan, metrics: str) -> None:
    """A path is one on the upstream, beside its API; its own server may need the key."""
    fact.metrics = metrics
    if metrics.startswith("/"):
        where, path = msgspec.structs.replace(plan, base_path=""), metrics
    else:
        where, path = plan_upstream("metrics", Upstream(url=metrics)), ""
    try:
        with Probe(where, TIMEOUT_S) as probe:
            answer = probe.get(path, plan.headers if metrics.startswith("/") else {})
    except (OSError, HTTPException) as failure:
        fact.metrics_failure = describe_failure(failure)
        return
    fact.metrics_status = answer.status
    fact.metrics_missing = [name for name in METRIC_NAMES if name.encode() not in answer.body]


def make_body(plan: UpstreamPlan, model: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"model": model, "max_tokens": 1}
    body["messages"] = [{"role": "user", "content": "Say hello."}]
    if stream:
        body["stream"] = True
    if plan.api == "anthropic":
        return MESSAGES, body
    if stream and plan.asks_usage:
        body["stream_options"] = {"include_usage": True}
    return CHAT, body


def _ask_usage(plan: UpstreamPlan, model: str, stream: bool) -> UsageFact:
    path, body = make_body(plan, model, stream=stream)
    try:
        with Probe(plan, CALL_TIMEOUT_S) as probe:
            answer = probe.post(path, request_headers(plan), json.dumps(body).encode())
    except (OSError, HTTPException) as failure:
        return UsageFact(stream, reason=describe_failure(failure))
    reading = read_usage(path, answer, stream=stream)
    usage = reading.usage
    return UsageFact(
        stream=stream,
        status=answer.status,
        said=usage is not None and usage.input_tokens is not None and usage.output_tokens is not None,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        reason=reading.usage_problem or reading.error_type,
    )


def read_usage(path: str, answer: Answer, *, stream: bool) -> Reading:
    """By the same readers as the relay's."""
    endpoint = find_endpoint(b"POST", path.encode())
    assert endpoint is not None
    if not stream or answer.status >= 400:
        return read_whole(endpoint, answer.body, answer.status)
    reader = endpoint.reader()
    reader.feed(answer.body)
    return reader.finish()
