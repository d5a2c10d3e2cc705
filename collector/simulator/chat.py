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
from collector.simulator.usage import UsagePlan, count_running, count_total, count_whole, plan_usage

VLLM_FINGERPRINT = "vllm-0.32.0-39f5659a"
OPENAI_FINGERPRINT = "fp_44709d6fcb"
_FILTERED = {
    name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")
}


def answer_chat(ask: Ask) -> Reply:
    drafts = [draft(ask, index) for index in range(ask.n)]
    reply_id = f"chatcmpl-{ask.request_id}"
    output = sum(each.output_tokens for each in drafts)
    hidden = sum(each.reasoning_tokens for each in drafts)
    plan = plan_usage(ask)
    reply = Reply(
        reply_id=reply_id,
        finish=drafts[0].finish,
        output_tokens=output - hidden,
        hidden_tokens=hidden,
        fail=lambda kind: fail_openai(ask, kind),
    )
    if ask.stream:
        reply.content_type = "text/event-stream; charset=utf-8"
        reply.pieces = _stream(ask, drafts, reply_id, plan)
        reply.usage_told = plan.tells
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
        shape["usage"] = count_whole(ask, output, sum(each.reasoning_tokens for each in drafts))
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
        if ask.behaviour.per_request_metrics and len(drafts) == 1:
            shape["metrics"] = measure(ask, output) | {"speculative_decoding": None}
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

    def __init__(self, ask: Ask, reply_id: str, plan: UsagePlan, reasoning: int):
        self.ask, self.plan, self.reasoning = ask, plan, reasoning
        self.sent = reasoning  # tokens so far; the hidden ones come first
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
        vllm, opening = self.ask.flavour == "vllm", "role" in delta
        if vllm and not opening:
            choice |= ({"stop_reason": None} if finish else {}) | {"token_ids": None}
        if self.ask.flavour == "azure":
            choice["content_filter_results"] = {} if opening or finish else _FILTERED
        chunk = {**self.head, "choices": [choice]}
        if self.plan.every:
            chunk["usage"] = count_running(self.ask, self.sent, self.reasoning)
        elif self.plan.null_elsewhere:
            chunk["usage"] = None
        if vllm and opening:
            chunk |= {"prompt_token_ids": None, "prompt_text": None}
        if vllm and finish and not self.plan.last:
            chunk["system_fingerprint"] = VLLM_FINGERPRINT
        return data_event({**chunk, **tail}, self.ask)

    def close(self) -> bytes:
        chunk = {**self.head, "choices": [], "usage": count_total(self.ask, self.sent, self.reasoning)}
        if self.ask.flavour == "vllm":
            chunk["system_fingerprint"] = VLLM_FINGERPRINT
            if self.ask.behaviour.per_request_metrics:
                chunk["metrics"] = measure(self.ask, self.sent)
        return data_event(chunk, self.ask)


def _stream(ask: Ask, drafts: list[Draft], reply_id: str, plan: UsagePlan) -> Iterator[Piece]:
    chunks = _Chunks(ask, reply_id, plan, sum(each.reasoning_tokens for each in drafts))
    if ask.flavour == "azure":
        yield Piece(_open_azure(ask, chunks))
    for index, each in enumerate(drafts):
        yield Piece(chunks.make(index, _open_delta(ask, each)))
    for index, each in enumerate(drafts):
        yield from _speak(ask, chunks, index, each, last=each is drafts[-1])
    if plan.last:
        yield Piece(chunks.close())
    yield Piece(DONE)


def _open_delta(ask: Ask, said: Draft) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant", "content": None if said.tool else ""}
    if said.tool:
        function = {"name": said.tool, "arguments": ""}
        delta["tool_calls"] = [{"index": 0, "id": _tool_id(ask), "type": "function", "function": function}]
    return delta | ({"refusal": None} if ask.flavour in ("openai", "azure") else {})


def _speak(ask: Ask, chunks: _Chunks, index: int, said: Draft, *, last: bool) -> Iterator[Piece]:
    """vLLM puts the finish reason on the last chunk with text, OpenAI on an empty one."""
    parts = said.chunks(ask.sim.tokens_per_chunk or 1)
    if ask.flavour not in ("vllm", "mistral") or not parts:
        parts.append(("", 0))
    for at, (text, tokens) in enumerate(parts):
        ending = at == len(parts) - 1
        chunks.sent += tokens
        delta: dict[str, Any] = {"content": text} if tokens else {}
        if said.tool and tokens:
            delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        tail = {}
        if ending and last and chunks.plan.with_choices:
            tail["usage"] = count_running(ask, chunks.sent, chunks.reasoning)
        yield Piece(chunks.make(index, delta, said.finish if ending else None, **tail), tokens)


def _open_azure(ask: Ask, chunks: _Chunks) -> bytes:
    filtered = [{"prompt_index": 0, "content_filter_results": _FILTERED}]
    opening = {**chunks.head, "id": "", "object": "", "created": 0, "model": "", "choices": []}
    return data_event(opening | {"prompt_filter_results": filtered}, ask)


def measure(ask: Ask, output: int) -> dict[str, Any]:
    """vLLM's --enable-per-request-metrics: the times that were planned."""
    first_ms = ask.behaviour.first_ms if ask.sim.first_ms is None else ask.sim.first_ms
    gap_ms = ask.behaviour.gap_ms if ask.sim.gap_ms is None else ask.sim.gap_ms
    took_ms = gap_ms * max(0, output - 1)
    return {
        "time_to_first_token_ms": first_ms,
        "generation_time_ms": took_ms,
        "queue_time_ms": 0.0,
        "mean_itl_ms": gap_ms,
        "tokens_per_second": output / took_ms * 1000 if took_ms else None,
    }
