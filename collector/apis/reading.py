"""What a reader found in a reply: enters the journal's Call field by field, holds no text of the user.

Whatever was not said is "" or None. `usage_problem` says why usage is not known. A count that can't be
one (negative, a string, a fraction, absurdly large) makes the whole usage unknown: half of a usage would
be priced as if it were all of it.
"""

from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec

from collector.call import Usage

MAX_COUNT = 10**12
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]

StructT = TypeVar("StructT", bound=msgspec.Struct)


class Reading(msgspec.Struct):
    model: str = ""
    response_id: str = ""
    finish_reason: str = ""
    service_tier: str = ""  # as served
    fingerprint: str = ""
    usage: Usage | None = None
    usage_problem: str = ""
    error_type: str = ""
    queue_ms: float | None = None
    first_token_ms: float | None = None
    engine_ms: float | None = None  # prefill and decoding, without the queue
    reported_cost_usd: Decimal | None = None  # what the API itself says it cost, for comparison
    content_events: int = 0  # stream events that carried content: text, reasoning, tool arguments
    content_chars: int = 0  # length of that content as it stood in the JSON: an estimate, see StreamReader


def add_counts(*counts: int | None) -> int | None:
    """The sum of those that were said; None when none was."""
    said = [count for count in counts if count is not None]
    return sum(said) if said else None


def merge(earlier: StructT | None, later: StructT) -> StructT:
    """Field by field: the last value of each wins, an absent one keeps the earlier."""
    if earlier is None:
        return later
    merged = {}
    for name in later.__struct_fields__:
        old, new = getattr(earlier, name), getattr(later, name)
        if new is None:
            new = old
        elif isinstance(old, msgspec.Struct) and isinstance(new, msgspec.Struct):
            new = merge(old, new)
        merged[name] = new
    return type(later)(**merged)


def settle_usage(reading: Reading, usage: Usage) -> None:
    """Keep a usage that agrees with itself; one that breaks the convention of Usage is unknown."""
    if problem := _contradiction(usage):
        reading.usage_problem = problem
    else:
        reading.usage = usage


def _contradiction(usage: Usage) -> str:
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    if cached and usage.input_tokens is not None and cached > usage.input_tokens:
        return f"{cached} cached tokens are more than the {usage.input_tokens} of the input"
    reasoning = usage.reasoning_tokens
    if reasoning and usage.output_tokens is not None and reasoning > usage.output_tokens:
        return f"{reasoning} reasoning tokens are more than the {usage.output_tokens} of the output"
    long_lived, written = usage.cache_write_1h_tokens, usage.cache_write_tokens
    if long_lived and written is not None and long_lived > written:
        return f"{long_lived} tokens cached for an hour are more than the {written} written"
    return ""
