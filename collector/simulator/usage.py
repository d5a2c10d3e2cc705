"""What each API says it used, and when in a stream it says so. Counts come from an Ask and its drafts."""

from typing import Any

import msgspec

from collector.simulator.ask import Ask


class UsagePlan(msgspec.Struct, frozen=True):
    """Where usage stands in a stream: on a last chunk of its own, on all, on the last with choices."""

    last: bool = False
    every: bool = False
    with_choices: bool = False
    null_elsewhere: bool = False  # OpenAI's `usage: null` on the chunks that have none

    @property
    def tells(self) -> bool:
        return self.last or self.every or self.with_choices


def plan_usage(ask: Ask) -> UsagePlan:
    options = ask.body.get("stream_options") or {}
    asked = options.get("include_usage") is True
    match ask.sim.usage:
        case "none":
            return UsagePlan()
        case "last":
            return UsagePlan(last=True, null_elsewhere=ask.flavour in ("openai", "azure"))
        case "every":
            return UsagePlan(last=True, every=True)
        case "with_choices":
            return UsagePlan(with_choices=True)
    if ask.flavour == "mistral":
        return UsagePlan(with_choices=True)
    if ask.flavour != "vllm":
        return UsagePlan(last=asked, null_elsewhere=asked)
    if ask.behaviour.force_include_usage:
        return UsagePlan(last=True, every=True)
    return UsagePlan(last=asked, every=asked and options.get("continuous_usage_stats") is True)


def count_whole(ask: Ask, output: int, reasoning: int) -> dict[str, Any]:
    """In a reply that is not streamed."""
    return _count_vllm_whole(ask, output) if ask.flavour == "vllm" else _count_openai(ask, output, reasoning)


def count_running(ask: Ask, output: int, reasoning: int) -> dict[str, Any]:
    """On a chunk that has choices."""
    if ask.flavour == "vllm":
        return _count_vllm(ask, output) | {"completion_tokens_details": None}
    return _count_openai(ask, output, reasoning)


def count_total(ask: Ask, output: int, reasoning: int) -> dict[str, Any]:
    """On the chunk of its own; vLLM leaves out there what is null."""
    if ask.flavour != "vllm":
        return _count_openai(ask, output, reasoning)
    usage = _count_vllm(ask, output)
    return usage | {"prompt_tokens_details": _detail(ask)} if ask.behaviour.prompt_tokens_details else usage


def _count_openai(ask: Ask, output: int, reasoning: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": output,
        "total_tokens": ask.prompt_tokens + output,
    }
    if ask.flavour != "mistral":
        usage["prompt_tokens_details"] = {"cached_tokens": ask.cached_tokens, "audio_tokens": 0}
        usage["completion_tokens_details"] = {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    return usage


def _count_vllm_whole(ask: Ask, output: int) -> dict[str, Any]:
    details = _detail(ask, multimodal_tokens=None) if ask.behaviour.prompt_tokens_details else None
    more = {"prompt_tokens_details": details, "completion_tokens_details": None}
    return _count_vllm(ask, output) | more


def _count_vllm(ask: Ask, output: int) -> dict[str, Any]:
    return {
        "prompt_tokens": ask.prompt_tokens,
        "total_tokens": ask.prompt_tokens + output,
        "completion_tokens": output,
    }


def _detail(ask: Ask, **more: None) -> dict[str, Any]:
    return {"cached_tokens": ask.cached_tokens, "created_cache_tokens": 0, **more}
