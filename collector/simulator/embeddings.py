"""/v1/embeddings: unit vectors, the same for the same text. An Ask enters, a Reply leaves."""

import base64
import math
from array import array
from typing import Any

from collector.simulator.ask import Ask, prompts_of
from collector.simulator.reply import Refused, Reply, encode
from collector.simulator.tokens import seed_dice

_DIMENSIONS = {"text-embedding-3-large": 3072, "text-embedding-3-small": 1536, "text-embedding-ada-002": 1536}
_DIMENSIONS_ELSEWHERE = 64


def answer_embeddings(ask: Ask) -> Reply:
    as_base64 = ask.body.get("encoding_format") == "base64"
    size = ask.body.get("dimensions") or _DIMENSIONS.get(ask.model, _DIMENSIONS_ELSEWHERE)
    if not isinstance(size, int) or not 0 < size <= 4096:
        raise Refused(
            400, f"dimensions must be between 1 and 4096, got {size!r}.", param="dimensions", kind="value"
        )
    data = []
    for index, text in enumerate(prompts_of(ask.body["input"])):
        vector = _embed(ask, text, size)
        embedding = base64.b64encode(vector.tobytes()).decode() if as_base64 else vector.tolist()
        data.append({"index": index, "object": "embedding", "embedding": embedding})
    told = ask.sim.usage != "none"
    return Reply(
        reply_id=f"embd-{ask.request_id}",
        finish="stop",
        body=encode(_shape(ask, data, told)),
        usage_told=told,
    )


def _embed(ask: Ask, text: str, size: int) -> "array[float]":
    dice = seed_dice(ask.behaviour.seed, ask.model, text)
    raw = [dice.random() - 0.5 for _ in range(size)]
    length = math.sqrt(sum(number * number for number in raw)) or 1.0
    return array("f", [number / length for number in raw])


def _shape(ask: Ask, data: list[dict[str, Any]], told: bool) -> dict[str, Any]:
    """OpenAI's has no id: there, the truth log is joined by the header x-request-id."""
    counted = {"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens}
    if ask.flavour == "vllm":
        shape = {"id": f"embd-{ask.request_id}", "object": "list", "created": ask.created, "model": ask.model}
        counted |= {"completion_tokens": 0}
        usage = counted | {"prompt_tokens_details": None, "completion_tokens_details": None}
        return shape | {"data": data} | ({"usage": usage} if told else {})
    shape = {"object": "list", "data": data, "model": ask.served_model}
    return shape | ({"usage": counted} if told else {})
