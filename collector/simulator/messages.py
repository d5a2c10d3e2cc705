"""/v1/messages as Anthropic answers it, and as vLLM does: an Ask enters, a Reply leaves.

Anthropic's input_tokens leave out what was read from or written to the cache. `usage` stands in
message_start, and again, cumulative, in message_delta.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from collector.simulator.ask import Ask
from collector.simulator.events import named_event
from collector.simulator.generation import Draft, draft
from collector.simulator.reply import Piece, Reply, encode

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def answer_messages(ask: Ask) -> Reply:
    said = draft(ask)
    reply_id = f"chatcmpl-{ask.request_id}" if ask.flavour == "vllm" else f"msg_01{ask.request_id}"
    reply = Reply(
        reply_id=reply_id,
        finish=said.finish,
        output_tokens=len(said.tokens),
        hidden_tokens=said.reasoning_tokens,
        usage_told=ask.sim.usage != "none",
        fail=lambda kind: [_fail(kind)],
    )
    if ask.stream:
        reply.content_type = "text/event-stream; charset=utf-8"
        reply.pieces = _stream(ask, said, reply_id)
    else:
        reply.body = encode(_whole(ask, said, reply_id))
    return reply


def answer_count_tokens(ask: Ask) -> Reply:
    counted: dict[str, Any] = {"input_tokens": ask.prompt_tokens}
    if ask.flavour == "vllm":
        counted["context_management"] = {"original_input_tokens": ask.prompt_tokens}
    return Reply(body=encode(counted))


def _whole(ask: Ask, said: Draft, reply_id: str) -> dict[str, Any]:
    content: dict[str, Any] = {"type": "text", "text": said.text}
    if said.tool:
        content = _open_tool(ask, said) | {"input": _parse_input(said)}
    vllm = ask.flavour == "vllm"
    shape: dict[str, Any] = {"id": reply_id, "type": "message", "role": "assistant"}
    if not vllm:
        shape["model"] = ask.served_model
    shape["content"] = [content]
    if vllm:
        shape["model"] = ask.served_model
    shape["stop_reason"] = _STOP_REASONS[said.finish]
    if not vllm:
        shape["stop_sequence"] = None
    if ask.sim.usage != "none":
        shape["usage"] = _count(ask, said.output_tokens)
    return shape


def _count(ask: Ask, output: int) -> dict[str, Any]:
    short, long = ask.cache_write_tokens
    cached = ask.cached_tokens
    if ask.flavour == "vllm":
        if not ask.behaviour.prompt_tokens_details:
            return {"input_tokens": ask.prompt_tokens, "output_tokens": output}
        return {
            "input_tokens": ask.prompt_tokens - cached,
            "output_tokens": output,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
        }
    return {
        "input_tokens": ask.prompt_tokens - cached - short - long,
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": output,
        "service_tier": ask.sim.service_tier or "standard",
    }


def _open_tool(ask: Ask, said: Draft) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_01{ask.request_id}", "name": said.tool, "input": {}}


def _parse_input(said: Draft) -> Any:
    """A call cut by max_tokens has no arguments that could be parsed."""
    try:
        return msgspec.json.decode(said.text)
    except msgspec.DecodeError:
        return {}


def _stream(ask: Ask, said: Draft, reply_id: str) -> Iterator[Piece]:
    hosted = ask.flavour == "anthropic"
    message: dict[str, Any] = {
        "id": reply_id,
        "type": "message",
        "role": "assistant",
        "model": ask.served_model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    if ask.sim.usage != "none":
        message["usage"] = _count(ask, min(said.output_tokens, 1) if hosted else 0)
    yield _piece({"type": "message_start", "message": message})
    block = _open_tool(ask, said) if said.tool else {"type": "text", "text": ""}
    yield _piece({"type": "content_block_start", "index": 0, "content_block": block})
    if hosted:
        yield _piece({"type": "ping"})
    for text, tokens in said.chunks(ask.sim.tokens_per_chunk or 1):
        delta = {"type": "text_delta", "text": text}
        if said.tool:
            delta = {"type": "input_json_delta", "partial_json": text}
        yield _piece({"type": "content_block_delta", "index": 0, "delta": delta}, tokens)
    yield _piece({"type": "content_block_stop", "index": 0})
    yield _piece(_close(ask, said))
    yield _piece({"type": "message_stop"})


def _close(ask: Ask, said: Draft) -> dict[str, Any]:
    delta = {"stop_reason": _STOP_REASONS[said.finish], "stop_sequence": None}
    closing: dict[str, Any] = {"type": "message_delta", "delta": delta}
    if ask.sim.usage != "none":
        usage = _count(ask, said.output_tokens)
        # Of the lifetimes and the tier only message_start tells.
        closing["usage"] = {k: v for k, v in usage.items() if k not in ("cache_creation", "service_tier")}
    return closing


def _piece(value: dict[str, Any], tokens: int = 0) -> Piece:
    return Piece(named_event(value), tokens)


def _fail(kind: str) -> bytes:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    if kind == "engine_death":
        error = {"type": "InternalServerError", "message": "EngineCore encountered an issue."}
    return named_event({"type": "error", "error": error})
