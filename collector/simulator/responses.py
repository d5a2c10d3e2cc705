"""/v1/responses: whole, or as the sequence of typed events. An Ask enters, a Reply leaves.

Usage comes always, in the last event (`response.completed`, or `response.incomplete` when max_output_tokens
cut it); there is no [DONE]. vLLM says `response.completed` also then.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

from collector.simulator.ask import Ask
from collector.simulator.events import named_event
from collector.simulator.generation import Draft, draft
from collector.simulator.reply import Piece, Reply, encode

_PER_TURN: dict[str, list[int]] = {"input_tokens_per_turn": [], "cached_tokens_per_turn": []}
_PER_TURN_OUT: dict[str, list[int]] = {"output_tokens_per_turn": [], "tool_output_tokens_per_turn": []}


# vLLM has fields of its own, in an order of its own.
_VLLM_ORDER = """id created_at incomplete_details instructions metadata model object output
parallel_tool_calls temperature tool_choice tools top_p background max_output_tokens max_tool_calls
previous_response_id prompt reasoning service_tier status text top_logprobs truncation usage user
presence_penalty frequency_penalty kv_transfer_params ec_transfer_params input_messages output_messages"""
_VLLM_FIELDS = tuple(_VLLM_ORDER.split())
_VLLM_ONLY = {"presence_penalty": 0.0, "frequency_penalty": 0.0}


def answer_response(ask: Ask) -> Reply:
    said = draft(ask)
    reply = Reply(
        reply_id=f"resp_{ask.request_id}",
        finish=said.finish,
        output_tokens=len(said.tokens),
        hidden_tokens=said.reasoning_tokens,
        usage_told=ask.sim.usage != "none",
        fail=lambda kind: [_fail(ask, said)],
    )
    if ask.stream:
        reply.content_type = "text/event-stream; charset=utf-8"
        reply.pieces = _stream(ask, said)
    else:
        reply.body = encode(_shape(ask, said, _end_status(said)))
    return reply


def _end_status(said: Draft) -> str:
    return "incomplete" if said.finish in ("length", "content_filter") else "completed"


def _shape(ask: Ask, said: Draft, status: str) -> dict[str, Any]:
    """`status` in_progress has no output yet and no usage."""
    body = ask.body
    over = status in ("completed", "incomplete")
    reason = "content_filter" if said.finish == "content_filter" else "max_output_tokens"
    shape: dict[str, Any] = {
        "id": f"resp_{ask.request_id}",
        "object": "response",
        "created_at": ask.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": ask.max_tokens,
        "max_tool_calls": None,
        "model": ask.served_model,
        "output": [_item(ask, said)] if over else [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": ask.service_tier if over else "auto",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": _count(ask, said) if over and ask.sim.usage != "none" else None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }
    return (
        {name: shape.get(name, _VLLM_ONLY.get(name)) for name in _VLLM_FIELDS}
        if ask.flavour == "vllm"
        else shape
    )


def _count(ask: Ask, said: Draft) -> dict[str, Any]:
    vllm = ask.flavour == "vllm"
    read: dict[str, Any] = {"cached_tokens": ask.cached_tokens}
    written: dict[str, Any] = {"reasoning_tokens": said.reasoning_tokens}
    if vllm:
        read |= {"cache_write_tokens": 0, **_PER_TURN}
        written |= {"tool_output_tokens": 0, **_PER_TURN_OUT}
    return {
        "input_tokens": ask.prompt_tokens,
        "input_tokens_details": read,
        "output_tokens": said.output_tokens,
        "output_tokens_details": written,
        "total_tokens": ask.prompt_tokens + said.output_tokens,
    }


def _item(ask: Ask, said: Draft, *, begun: bool = False) -> dict[str, Any]:
    """The message or the function call; `begun`: as it is announced, still empty."""
    status = "in_progress" if begun else "incomplete" if said.finish == "length" else "completed"
    if said.tool:
        call = {"id": f"fc_{ask.request_id}", "type": "function_call", "status": status}
        arguments = "" if begun else said.text
        return call | {"call_id": f"call_{ask.request_id}", "name": said.tool, "arguments": arguments}
    content = [] if begun else [_part(said.text)]
    item = {"id": f"msg_{ask.request_id}", "type": "message", "status": status, "role": "assistant"}
    return item | {"content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _stream(ask: Ask, said: Draft) -> Iterator[Piece]:
    numbers = count()

    def event(kind: str, tokens: int = 0, **fields: Any) -> Piece:
        return Piece(named_event({"type": kind, "sequence_number": next(numbers), **fields}), tokens)

    yield event("response.created", response=_shape(ask, said, "in_progress"))
    yield event("response.in_progress", response=_shape(ask, said, "in_progress"))
    yield event("response.output_item.added", output_index=0, item=_item(ask, said, begun=True))
    item: dict[str, Any] = {"item_id": _item(ask, said)["id"], "output_index": 0}
    parts = said.chunks(ask.sim.tokens_per_chunk or 1)
    if said.tool:
        for text, tokens in parts:
            yield event("response.function_call_arguments.delta", tokens, **item, delta=text)
        yield event("response.function_call_arguments.done", **item, name=said.tool, arguments=said.text)
    else:
        item["content_index"] = 0
        yield event("response.content_part.added", **item, part=_part(""))
        for text, tokens in parts:
            yield event("response.output_text.delta", tokens, **item, delta=text, logprobs=[])
        yield event("response.output_text.done", **item, text=said.text, logprobs=[])
        yield event("response.content_part.done", **item, part=_part(said.text))
    yield event("response.output_item.done", output_index=0, item=_item(ask, said))
    status = _end_status(said)
    kind = "completed" if ask.flavour == "vllm" else status
    yield event(f"response.{kind}", response=_shape(ask, said, status))


def _fail(ask: Ask, said: Draft) -> bytes:
    failed = _shape(ask, said, "failed")
    failed["error"] = {"code": "server_error", "message": "The server had an error processing your request."}
    return named_event({"type": "response.failed", "sequence_number": 1_000_000, "response": failed})
