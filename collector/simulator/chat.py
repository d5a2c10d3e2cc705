"""/v1/chat/completions as OpenAI, Azure, Mistral and vLLM answer it: an Ask enters, a Reply leaves.

The flavours differ in which fields stand where; each has a small shape class, and the sequence of events
is one. vLLM's shapes are those of 0.32, byte for byte in the order of their fields.
"""

from collections.abc import Iterator
from typing import Any

from collector.simulator.ask import Ask
from collector.simulator.events import DONE, data_event, fail_openai
from collector.simulator.generation import Draft, draft
from collector.simulator.reply import Piece, Reply, encode
from collector.simulator.usage import (
    UsagePlan,
    count_openai,
    count_vllm,
    count_vllm_last,
    count_vllm_running,
    plan_usage,
)

VLLM_FINGERPRINT = "vllm-0.32.0-39f5659a"
OPENAI_FINGERPRINT = "fp_44709d6fcb"
_FILTERED = {
    name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")
}


def answer_chat(ask: Ask) -> Reply:
    drafts = [draft(ask, index) for index in range(ask.n)]
    reply_id = f"chatcmpl-{ask.request_id}"
    output = sum(each.output_tokens for each in drafts)
    plan = plan_usage(ask)
    reply = Reply(
        reply_id=reply_id,
        finish=drafts[0].finish,
        output_tokens=output,
        fail=lambda kind: fail_openai(ask, kind),
    )
    if ask.stream:
        reply.content_type = "text/event-stream; charset=utf-8"
        reply.pieces = _stream(ask, drafts, reply_id, plan)
        reply.usage_told = plan.last or plan.every or plan.with_choices
    else:
        reply.body = encode(_whole(ask, drafts, reply_id, output))
        reply.usage_told = ask.sim.usage != "none"
    return reply


def _whole(ask: Ask, drafts: list[Draft], reply_id: str, output: int) -> dict[str, Any]:
    choices = [_choice(ask, index, each) for index, each in enumerate(drafts)]
    shape: dict[str, Any] = {
        "id": reply_id,
        "object": "chat.completion",
        "created": ask.created,
        "model": ask.served_model,
        "choices": choices,
    }
    vllm = ask.flavour == "vllm"
    if vllm:
        shape |= {"service_tier": None, "system_fingerprint": VLLM_FINGERPRINT}
    if ask.sim.usage != "none":
        shape["usage"] = (
            count_vllm(ask, output) if vllm else count_openai(ask, output, drafts[0].reasoning_tokens)
        )
    if vllm:
        for name in (
            "prompt_logprobs",
            "prompt_token_ids",
            "prompt_text",
            "kv_transfer_params",
            "ec_transfer_params",
        ):
            shape[name] = None
        shape["metrics"] = None
    elif ask.flavour != "mistral":
        shape |= {"service_tier": ask.service_tier, "system_fingerprint": OPENAI_FINGERPRINT}
    if ask.flavour == "azure":
        shape["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _FILTERED}]
    return shape


def _choice(ask: Ask, index: int, said: Draft) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if said.tool else said.text}
    if ask.flavour != "mistral":
        message |= {"refusal": None, "annotations": None if ask.flavour == "vllm" else []}
    if ask.flavour == "vllm":
        message |= {"audio": None, "function_call": None}
    if said.tool:
        message["tool_calls"] = [
            {"id": _tool_id(ask), "type": "function", "function": {"name": said.tool, "arguments": said.text}}
        ]
    if ask.flavour == "vllm":
        message["reasoning"] = None
    choice: dict[str, Any] = {"index": index, "message": message}
    if ask.flavour != "mistral":
        choice["logprobs"] = None
    choice["finish_reason"] = said.finish
    if ask.flavour == "vllm":
        choice |= {"stop_reason": None, "token_ids": None, "routed_experts": None}
    if ask.flavour == "azure":
        choice["content_filter_results"] = _FILTERED
    return choice


def _tool_id(ask: Ask) -> str:
    return f"chatcmpl-tool-{ask.request_id}" if ask.flavour == "vllm" else f"call_{ask.request_id}"


class _Chunks:
    """The events of one stream, each made from the same head."""

    def __init__(self, ask: Ask, reply_id: str, plan: UsagePlan):
        self.ask, self.plan = ask, plan
        self.sent = 0
        self.head: dict[str, Any] = {
            "id": reply_id,
            "object": "chat.completion.chunk",
            "created": ask.created,
            "model": ask.served_model,
        }
        if ask.flavour in ("openai", "azure"):
            self.head |= {"service_tier": ask.service_tier, "system_fingerprint": OPENAI_FINGERPRINT}

    def make(self, index: int, delta: dict[str, Any], finish: str | None = None, **tail: Any) -> bytes:
        choice: dict[str, Any] = {"index": index, "delta": delta}
        if self.ask.flavour != "mistral":
            choice["logprobs"] = None
        choice["finish_reason"] = finish
        vllm = self.ask.flavour == "vllm"
        opening = "role" in delta
        if vllm and not opening:
            choice |= ({"stop_reason": None} if finish else {}) | {"token_ids": None}
        if self.ask.flavour == "azure":
            choice["content_filter_results"] = {} if opening or finish else _FILTERED
        chunk = {**self.head, "choices": [choice]}
        if self.plan.every and vllm:
            chunk["usage"] = count_vllm_running(self.ask, self.sent)
        elif self.plan.every:
            chunk["usage"] = count_openai(self.ask, self.sent, 0)
        elif self.plan.null_elsewhere:
            chunk["usage"] = None
        if vllm and opening:
            chunk |= {"prompt_token_ids": None, "prompt_text": None}
        if vllm and finish and not self.plan.last:
            chunk["system_fingerprint"] = VLLM_FINGERPRINT
        return data_event({**chunk, **tail}, self.ask)

    def close(self, output: int, reasoning: int) -> bytes:
        chunk: dict[str, Any] = {**self.head, "choices": []}
        if self.ask.flavour == "vllm":
            chunk |= {"usage": count_vllm_last(self.ask, output), "system_fingerprint": VLLM_FINGERPRINT}
        else:
            chunk["usage"] = count_openai(self.ask, output, reasoning)
        return data_event(chunk, self.ask)


def _stream(ask: Ask, drafts: list[Draft], reply_id: str, plan: UsagePlan) -> Iterator[Piece]:
    chunks = _Chunks(ask, reply_id, plan)
    if ask.flavour == "azure":
        yield Piece(_open_azure(ask, chunks))
    refusal = {"refusal": None} if ask.flavour in ("openai", "azure") else {}
    for index, each in enumerate(drafts):
        opening = {"role": "assistant", "content": None if each.tool else ""}
        if each.tool:
            function = {"name": each.tool, "arguments": ""}
            opening["tool_calls"] = [
                {"index": 0, "id": _tool_id(ask), "type": "function", "function": function}
            ]  # type: ignore[assignment]
        yield Piece(chunks.make(index, opening | refusal))
    output = sum(each.output_tokens for each in drafts)
    reasoning = sum(each.reasoning_tokens for each in drafts)
    chunks.sent = reasoning
    for index, each in enumerate(drafts):
        yield from _speak(ask, chunks, index, each, last=index == len(drafts) - 1, reasoning=reasoning)
    if plan.last:
        yield Piece(chunks.close(output, reasoning))
    yield Piece(DONE)


def _speak(
    ask: Ask, chunks: _Chunks, index: int, said: Draft, *, last: bool, reasoning: int
) -> Iterator[Piece]:
    """vLLM puts the finish reason on the last chunk with text, the others on an empty one."""
    parts = said.chunks(ask.sim.tokens_per_chunk or 1)
    finish_on_text = ask.flavour in ("vllm", "mistral") and bool(parts)
    for at, (text, tokens) in enumerate(parts):
        ending = finish_on_text and at == len(parts) - 1
        chunks.sent += tokens
        delta = (
            {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
            if said.tool
            else {"content": text}
        )
        tail = _tell_with_choices(ask, chunks, reasoning) if ending and last else {}
        yield Piece(chunks.make(index, delta, said.finish if ending else None, **tail), tokens)
    if not finish_on_text:
        tail = _tell_with_choices(ask, chunks, reasoning) if last else {}
        yield Piece(chunks.make(index, {}, said.finish, **tail))


def _tell_with_choices(ask: Ask, chunks: _Chunks, reasoning: int) -> dict[str, Any]:
    if not chunks.plan.with_choices:
        return {}
    if ask.flavour == "vllm":
        return {"usage": count_vllm_last(ask, chunks.sent)}
    return {"usage": count_openai(ask, chunks.sent, reasoning)}


def _open_azure(ask: Ask, chunks: _Chunks) -> bytes:
    filtered = [{"prompt_index": 0, "content_filter_results": _FILTERED}]
    opening = {**chunks.head, "id": "", "object": "", "created": 0, "model": "", "choices": []}
    return data_event(opening | {"prompt_filter_results": filtered}, ask)
