"""A request body understood: bytes and headers enter, an Ask leaves, or Refused with what the API would say.

The prompt is counted as its text plus, for chats, 4 tokens a message and 3 for the reply's opening (the
template's share); tools and schemas count as their JSON text; an image counts as 85.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from collector.simulator.behaviour import (
    Behaviour,
    Flavour,
    name_snapshot,
    tell_flavour,
    tell_messages_flavour,
)
from collector.simulator.directives import DirectiveError, Directives, find_directives, parse_directives
from collector.simulator.reply import Refused, encode
from collector.simulator.tokens import count_tokens

TOKENS_PER_MESSAGE = 4
TOKENS_TO_OPEN_REPLY = 3
TOKENS_PER_IMAGE = 85

Body = dict[str, Any]


class Ask(msgspec.Struct, kw_only=True):
    operation: str  # chat, text_completion, embeddings, responses, messages, count_tokens
    flavour: Flavour
    model: str  # as it was asked for
    served_model: str  # as the reply names it
    body: Body
    prompt: str  # all its text; the dice are thrown from it
    prompt_tokens: int
    max_tokens: int | None
    stream: bool
    sim: Directives
    behaviour: Behaviour
    created: int
    request_id: str  # the client's X-Request-Id, or one of ours

    @property
    def cached_tokens(self) -> int:
        return min(self.sim.cached or 0, self.prompt_tokens)

    @property
    def cache_write_tokens(self) -> tuple[int, int]:
        """For five minutes and for an hour; never more than what is left of the prompt."""
        left = self.prompt_tokens - self.cached_tokens
        short = min(self.sim.cache_write or 0, left)
        return short, min(self.sim.cache_write_1h or 0, left - short)

    @property
    def n(self) -> int:
        return int(self.body.get("n") or 1)

    @property
    def service_tier(self) -> str:
        return self.sim.service_tier or "default"


def understand(
    raw: bytes,
    headers: Mapping[str, str],
    behaviour: Behaviour,
    *,
    operation: str,
    deployment: str,
    created: int,
    request_id: str,
) -> Ask:
    body = _decode(raw)
    texts = _list_texts(operation, body)
    try:
        sim = parse_directives(
            *(found for text in (texts.system, texts.last_user) for found in find_directives(text)),
            headers.get("x-sim", ""),
        )
    except DirectiveError as error:
        raise Refused(400, str(error), param="x-sim") from None
    model = body.get("model") or deployment
    if not isinstance(model, str) or not model:
        raise Refused(400, "you must provide a model parameter", param="model")
    flavour = _choose_flavour(operation, model, bool(deployment), behaviour)
    return Ask(
        operation=operation,
        flavour=flavour,
        model=model,
        served_model=model if flavour == "vllm" else name_snapshot(model.removeprefix("azure-")),
        body=body,
        prompt=texts.whole,
        prompt_tokens=texts.tokens,
        max_tokens=_read_count(body, "max_completion_tokens", "max_output_tokens", "max_tokens"),
        stream=body.get("stream") is True,
        sim=sim,
        behaviour=behaviour,
        created=created,
        request_id=request_id,
    )


def _decode(raw: bytes) -> Body:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(
            400, f"We could not parse the JSON body of your request: {error}", kind="json"
        ) from None
    if not isinstance(body, dict):
        raise Refused(400, "The body of your request must be a JSON object.", kind="json")
    return body


def _choose_flavour(operation: str, model: str, deployment: bool, behaviour: Behaviour) -> Flavour:
    if operation in ("messages", "count_tokens"):
        return tell_messages_flavour(model, behaviour)
    if deployment:
        return "azure"
    if behaviour.flavour and behaviour.flavour != "anthropic":
        return behaviour.flavour
    return tell_flavour(model)


def check(ask: Ask) -> None:
    """What the API would refuse although it can read it, and what a directive wants refused."""
    if "sim-missing" in ask.model:
        raise Refused(404, f"The model `{ask.model}` does not exist.", kind="model", param="model")
    if ask.operation == "messages" and ask.max_tokens is None:
        raise Refused(400, "max_tokens: Field required", param="max_tokens")
    options = ask.body.get("stream_options")
    if options is not None:
        _check_stream_options(ask)
    temperature = ask.body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        raise Refused(
            400,
            f"temperature must be non-negative, got {float(temperature)}.",
            param="temperature",
            kind="value",
        )
    limit = ask.behaviour.max_model_len
    if ask.prompt_tokens > limit:
        raise Refused(
            400,
            f"This model's maximum context length is {limit} tokens. However, your messages resulted in "
            f"{ask.prompt_tokens} tokens. Please reduce the length of the messages.",
            param="messages",
            code="context_length_exceeded",
        )
    if ask.flavour == "vllm" and (ask.max_tokens or 0) > limit:
        raise Refused(
            400,
            f"max_tokens={ask.max_tokens} cannot be greater than max_model_len={limit}. "
            "Please request fewer output tokens.",
            param="max_tokens",
            kind="value",
        )
    if ask.sim.status is not None:
        raise Refused(ask.sim.status, f"Simulated error {ask.sim.status}.", kind="simulated")


def _check_stream_options(ask: Ask) -> None:
    refusal = ask.sim.reject_stream_options or (422 if ask.flavour == "mistral" else None)
    if refusal is not None:
        raise Refused(
            refusal,
            "stream_options: Extra inputs are not permitted",
            param="stream_options",
            kind="extra_forbidden",
        )
    if not ask.stream:
        raise Refused(
            400,
            "Stream options can only be defined when `stream=True`.",
            param="stream_options",
            kind="value",
        )


def _read_count(body: Body, *names: str) -> int | None:
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Refused(400, f"{name} must be at least 1, got {value!r}.", param=name, kind="value")
        return value
    return None


class _Texts(msgspec.Struct):
    system: str = ""
    last_user: str = ""
    whole: str = ""
    tokens: int = 0


def _list_texts(operation: str, body: Body) -> _Texts:
    if operation in ("chat", "messages", "count_tokens"):
        return _read_chat(_require(body, "messages", list), body)
    if operation == "text_completion":
        return _read_prompts(_require(body, "prompt", str | list))
    given = _require(body, "input", str | list)
    if operation == "embeddings":
        return _read_prompts(given)
    return _read_chat([{"role": "user", "content": given}] if isinstance(given, str) else given, body)


def _require(body: Body, name: str, kind: Any) -> Any:
    if name not in body:
        raise Refused(400, f"Missing required parameter: '{name}'.", param=name, kind="missing")
    if not isinstance(body[name], kind) or not body[name]:
        raise Refused(400, f"Invalid '{name}': empty or of the wrong type.", param=name, kind="value")
    return body[name]


def _read_chat(messages: list[Any], body: Body) -> _Texts:
    texts = _Texts()
    parts: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            raise Refused(400, "Invalid 'messages': each must be an object.", param="messages", kind="value")
        text = "".join(_text_of(message.get("content")))
        if message.get("role") in ("system", "developer"):
            texts.system += text
        elif message.get("role") == "user":
            texts.last_user = text
        for call in message.get("tool_calls") or ():
            text += call["function"]["name"] + call["function"]["arguments"]
        texts.tokens += TOKENS_PER_MESSAGE + count_tokens(text) + TOKENS_PER_IMAGE * _count_images(message)
        parts.append(text)
    system = "".join(_text_of(body.get("system") or body.get("instructions")))
    if system:
        texts.system += system
        texts.tokens += TOKENS_PER_MESSAGE + count_tokens(system)
        parts.append(system)
    if body.get("tools"):
        texts.tokens += count_tokens(encode(body["tools"]).decode())
    texts.tokens += TOKENS_TO_OPEN_REPLY
    texts.whole = "\n".join(parts)
    return texts


def _text_of(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                yield from _text_of(part.get("text"))
                yield from _text_of(part.get("content"))
            elif isinstance(part, str):
                yield part


def _count_images(message: Body) -> int:
    content = message.get("content")
    if not isinstance(content, list):
        return 0
    return sum(isinstance(part, dict) and "image" in str(part.get("type")) for part in content)


def _read_prompts(given: Any) -> _Texts:
    """A prompt or several, as text or as lists of token numbers."""
    texts = prompts_of(given)
    whole = "\n".join(texts)
    counted = sum(count_tokens(text) for text in texts)
    if not isinstance(given, str) and given and not isinstance(given[0], str):
        counted = sum(text.count(",") + 1 for text in texts)
    return _Texts(last_user=texts[-1], whole=whole, tokens=counted)


def prompts_of(given: Any) -> list[str]:
    """["a", "b"] stays; "a" is one; [1, 2] is one; [[1], [2, 3]] are two, written as "1" and "2,3"."""
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], str):
        return [str(text) for text in given]
    lists = given if isinstance(given[0], list) else [given]
    return [",".join(str(number) for number in numbers) for numbers in lists]
