"""/v1/completions: several prompts, several answers each. An Ask enters, a Reply leaves."""

from collections.abc import Iterator
from typing import Any

from collector.simulator.ask import Ask, prompts_of
from collector.simulator.chat import OPENAI_FINGERPRINT, VLLM_FINGERPRINT
from collector.simulator.events import DONE, data_event, fail_openai
from collector.simulator.generation import Draft, draft
from collector.simulator.reply import Piece, Reply, encode
from collector.simulator.usage import UsagePlan, count_running, count_total, count_whole, plan_usage

_DEFAULT_MAX_TOKENS = 16  # of this endpoint, in OpenAI and in vLLM


def answer_completion(ask: Ask) -> Reply:
    if ask.max_tokens is None:
        ask.max_tokens = _DEFAULT_MAX_TOKENS
    prompts = prompts_of(ask.body["prompt"])
    drafts = [draft(ask, index, prompt) for prompt in prompts for index in range(ask.n)]
    output = sum(each.output_tokens for each in drafts)
    hidden = sum(each.reasoning_tokens for each in drafts)
    plan = plan_usage(ask)
    reply = Reply(
        reply_id=f"cmpl-{ask.request_id}",
        finish=drafts[0].finish,
        output_tokens=output - hidden,
        hidden_tokens=hidden,
        fail=lambda kind: fail_openai(ask, kind),
    )
    if ask.stream:
        reply.content_type = "text/event-stream; charset=utf-8"
        reply.pieces = _stream(ask, drafts, reply.reply_id, plan)
        reply.usage_told = plan.tells
    else:
        reply.body = encode(_whole(ask, drafts, reply.reply_id, output))
        reply.usage_told = ask.sim.usage != "none"
    return reply


def _whole(ask: Ask, drafts: list[Draft], reply_id: str, output: int) -> dict[str, Any]:
    shape = _head(ask, reply_id) | {"choices": [_choice(ask, at, each) for at, each in enumerate(drafts)]}
    vllm = ask.flavour == "vllm"
    if vllm:
        shape["service_tier"] = None
    shape["system_fingerprint"] = VLLM_FINGERPRINT if vllm else OPENAI_FINGERPRINT
    if ask.sim.usage != "none":
        shape["usage"] = count_whole(ask, output, 0)
    if vllm:
        shape |= {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
    return shape


def _head(ask: Ask, reply_id: str) -> dict[str, Any]:
    return {"id": reply_id, "object": "text_completion", "created": ask.created, "model": ask.served_model}


def _choice(ask: Ask, index: int, said: Draft) -> dict[str, Any]:
    if ask.flavour != "vllm":
        return {"text": said.text, "index": index, "logprobs": None, "finish_reason": said.finish}
    return {
        "index": index,
        "text": said.text,
        "logprobs": None,
        "finish_reason": said.finish,
        "stop_reason": None,
        "token_ids": None,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "routed_experts": None,
    }


def _chunk(ask: Ask, index: int, text: str, finish: str | None) -> dict[str, Any]:
    if ask.flavour != "vllm":
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    return choice | {"stop_reason": None, "prompt_token_ids": None, "token_ids": None}


def _stream(ask: Ask, drafts: list[Draft], reply_id: str, plan: UsagePlan) -> Iterator[Piece]:
    head, vllm, sent = _head(ask, reply_id), ask.flavour == "vllm", 0
    for index, said in enumerate(drafts):
        parts = said.chunks(ask.sim.tokens_per_chunk or 1) or [("", 0)]
        for at, (text, tokens) in enumerate(parts):
            finish = said.finish if at == len(parts) - 1 else None
            sent += tokens
            event = head | {"choices": [_chunk(ask, index, text, finish)]}
            if plan.every or (plan.with_choices and finish and said is drafts[-1]):
                event["usage"] = count_running(ask, sent, 0)
            elif plan.null_elsewhere:
                event["usage"] = None
            if vllm and finish and not plan.last:
                event["system_fingerprint"] = VLLM_FINGERPRINT
            yield Piece(data_event(event, ask), tokens)
    if plan.last:
        event = head | {"choices": [], "usage": count_total(ask, sent, 0)}
        yield Piece(data_event(event | ({"system_fingerprint": VLLM_FINGERPRINT} if vllm else {}), ask))
    yield Piece(DONE)
