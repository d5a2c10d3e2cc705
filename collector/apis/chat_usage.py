"""The usage of OpenAI's chat API and of the many who speak it, with the names that they add to it.

Enters: the decoded member `usage`. Leaves: our Usage. Cached and reasoning tokens are inside the totals.
"""

from decimal import Decimal
from typing import Any

import msgspec

from collector.apis.reading import Count
from collector.call import Usage


class InputDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    created_cache_tokens: Count | None = None  # vLLM's name for cache writes
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class OutputDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class ChatUsage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: Count | None = None  # DeepSeek
    cached_tokens: Count | None = None  # Together, Moonshot
    num_cached_tokens: Count | None = None  # Mistral
    prompt_audio_seconds: Any = None  # Mistral; {} where there was no audio
    num_search_queries: Count | None = None  # Perplexity
    cost: Decimal | dict[str, Any] | None = None  # OpenRouter: dollars, as charged; others: objects


_NO_INPUT_DETAILS = InputDetails()
_NO_OUTPUT_DETAILS = OutputDetails()


def convert(given: ChatUsage) -> Usage:
    of_input = given.prompt_tokens_details or _NO_INPUT_DETAILS
    of_output = given.completion_tokens_details or _NO_OUTPUT_DETAILS
    cached, written = of_input.cached_tokens, of_input.cache_write_tokens
    usage = Usage(
        input_tokens=given.prompt_tokens,
        output_tokens=_output_tokens(given, of_output.reasoning_tokens),
        cache_read_tokens=_cached_elsewhere(given) if cached is None else cached,
        cache_write_tokens=of_input.created_cache_tokens if written is None else written,
        reasoning_tokens=of_output.reasoning_tokens,
        input_audio_tokens=of_input.audio_tokens,
        output_audio_tokens=of_output.audio_tokens,
        input_image_tokens=of_input.image_tokens,
        output_image_tokens=of_output.image_tokens,
    )
    if given.num_search_queries is None and given.prompt_audio_seconds is None:
        return usage
    heard_s = _seconds(given.prompt_audio_seconds)
    return msgspec.structs.replace(usage, web_searches=given.num_search_queries, audio_seconds=heard_s)


def convert_pooled(given: ChatUsage) -> Usage:
    """Embeddings and the like: without a prompt's count the total is the prompt's."""
    usage = convert(given)
    if usage.input_tokens is None and not usage.output_tokens and given.total_tokens is not None:
        return msgspec.structs.replace(usage, input_tokens=given.total_tokens)
    return usage


def cost_usd(given: ChatUsage) -> Decimal | None:
    """What a broker says that it charged: exactly as it was written, never as a float."""
    cost = given.cost
    return cost if isinstance(cost, Decimal) and cost.is_finite() and 0 <= cost < 10**9 else None


def _cached_elsewhere(given: ChatUsage) -> int | None:
    """Cache reads under the names that some use instead."""
    if given.prompt_cache_hit_tokens is not None:
        return given.prompt_cache_hit_tokens
    return given.num_cached_tokens if given.cached_tokens is None else given.cached_tokens


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < 1e9 else None


def _output_tokens(given: ChatUsage, reasoning: int | None) -> int | None:
    """Some servers count reasoning beside the completion; their own total gives it away."""
    prompt, completion = given.prompt_tokens, given.completion_tokens
    if reasoning and prompt is not None and completion is not None:
        total = prompt + completion + reasoning
        return completion + reasoning if given.total_tokens == total else completion
    return completion
