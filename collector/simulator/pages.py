"""What is asked beside model calls: lists of models, health, version, tokenize."""

from typing import Any

import msgspec

from collector.simulator.behaviour import Behaviour
from collector.simulator.reply import Refused, Reply, encode
from collector.simulator.tokens import token_numbers

# Fixed, so that two simulators of the same behaviour answer alike.
_CREATED = 1_735_689_600
_MODELS = ("tiny-llama", "gpt-4o-mini", "claude-sonnet-4-5", "mistral-small", "text-embedding-3-small")


def show_nothing() -> Reply:
    """/health and /ping: 200 and no body."""
    return Reply(content_type="")


def show_version() -> Reply:
    return Reply(body=encode({"version": "0.32.0"}))


def list_models(behaviour: Behaviour, anthropic: bool) -> Reply:
    if anthropic:
        shown = [
            {"type": "model", "id": m, "display_name": m, "created_at": "2025-01-01T00:00:00Z"}
            for m in _MODELS
        ]
        return Reply(
            body=encode({"data": shown, "has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]})
        )
    return Reply(body=encode({"object": "list", "data": [_describe(model, behaviour) for model in _MODELS]}))


def _describe(model: str, behaviour: Behaviour) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": model, "object": "model", "created": _CREATED}
    if model != "tiny-llama":
        return shown | {"owned_by": "system"}
    return shown | {
        "owned_by": "vllm",
        "root": model,
        "parent": None,
        "max_model_len": behaviour.max_model_len,
    }


def tokenize(body: bytes, behaviour: Behaviour) -> Reply:
    try:
        asked = msgspec.json.decode(body)
        prompt = asked["prompt"] if "prompt" in asked else "\n".join(m["content"] for m in asked["messages"])
        numbers = token_numbers(prompt)
    except (msgspec.DecodeError, KeyError, TypeError):
        raise Refused(400, "Field required", param="prompt", kind="missing") from None
    shown = {
        "count": len(numbers),
        "max_model_len": behaviour.max_model_len,
        "tokens": numbers,
        "token_strs": None,
    }
    return Reply(body=encode(shown))
