"""How a whole simulator behaves: set once, by the command line or a test; directives override it."""

from typing import Literal

import msgspec

Flavour = Literal["openai", "azure", "mistral", "vllm", "anthropic"]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    seed: int = 0
    flavour: Flavour | None = None  # of every reply on OpenAI's paths; None: by the model's name
    api_key: str = ""  # when set, any other key gets 401
    first_ms: float = 0.0
    gap_ms: float = 0.0
    tokens: int | None = None  # None: 16 to 64, by the dice
    max_model_len: int = 131_072
    prompt_tokens_details: bool = False  # vLLM's --enable-prompt-tokens-details
    force_include_usage: bool = False  # vLLM's --enable-force-include-usage
    per_request_metrics: bool = False  # vLLM's --enable-per-request-metrics
    log_file: str = ""


_OPENAI = ("gpt-", "chatgpt", "o1", "o3", "o4", "text-embedding-", "davinci", "babbage", "ft:gpt", "claude")
_MISTRAL = ("mistral-", "ministral-", "codestral-", "pixtral-", "magistral-")

# A hosted API answers with the dated name; what is not here is answered as it was asked.
_SNAPSHOTS = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "o1": "o1-2024-12-17",
    "o3": "o3-2025-04-16",
    "o3-mini": "o3-mini-2025-01-31",
    "o4-mini": "o4-mini-2025-04-16",
    "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet-20250219",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514",
    "claude-opus-4-0": "claude-opus-4-20250514",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}


def tell_flavour(model: str) -> Flavour:
    """Who would serve a model of this name; what is nobody's runs on vLLM."""
    if model.startswith((*_OPENAI, "sim-missing")):
        return "openai"
    if model.startswith("azure-"):
        return "azure"
    if model.startswith(_MISTRAL):
        return "mistral"
    return "vllm"


def tell_messages_flavour(model: str, behaviour: Behaviour) -> Flavour:
    """On Anthropic's paths there are two: Anthropic, and vLLM that speaks like it."""
    if behaviour.flavour == "anthropic" or not model or model.startswith(("claude", "sim-missing")):
        return "anthropic"
    return "vllm"


def name_snapshot(model: str) -> str:
    return _SNAPSHOTS.get(model, model)
