"""What an answer's own text says about its quality, without asking a model: an Answer comes in, Signs leave.

Pure and cheap. Each sign is True (the fault is there), False (it isn't) or None (it can't be told, or there
was nothing to check): absent is not fine. As scores for the drift detector a fault is 0 and its absence 1;
a sign that is None gives no score.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from collector.text.language import find_language
from collector.text.refusals import is_refusal
from collector.text.schema import satisfies

CUT = {"length", "max_tokens", "max_output_tokens", "model_length", "MAX_TOKENS"}  # finish reasons
TAIL = 1500  # characters in which a loop is looked for
LOOP, ROUNDS = 120, 4  # so many characters, and the same at least so many times
NGRAM, LEAST_NGRAMS, LEAST_DISTINCT = 4, 150, 0.35


class ToolCall(NamedTuple):
    name: str
    arguments: str  # as the model wrote them


class Answer(NamedTuple):
    text: str
    finish_reason: str = ""
    failed: bool = False
    tool_calls: Sequence[ToolCall] = ()
    logprobs: Sequence[float] = ()
    # what the request asked for
    prompt: str = ""  # the user's last message
    wants_json: bool = False
    schema: Any = None
    tools: Mapping[str, Any] | None = None  # name -> schema of its arguments; None: not known


class Signs(NamedTuple):
    error: bool
    empty: bool | None
    truncated: bool | None
    refused: bool | None
    repetitive: bool | None
    bad_json: bool | None
    bad_schema: bool | None
    bad_tool_call: bool | None
    switched_language: bool | None
    length_chars: int | None
    perplexity: float | None


def read_signs(answer: Answer) -> Signs:
    if answer.failed:
        return Signs(True, *[None] * 10)  # one fault, not six
    text = answer.text
    empty = not text.strip() and not answer.tool_calls
    bad_json, bad_schema = check_json(answer) if text.strip() or not answer.tool_calls else (None, None)
    said = bool(text.strip())
    return Signs(
        error=False,
        empty=empty,
        truncated=answer.finish_reason in CUT if answer.finish_reason else None,
        refused=is_refusal(text) if said else None,
        repetitive=is_repetitive(text) if said and bad_json is not False else None,
        bad_json=bad_json,
        bad_schema=bad_schema,
        bad_tool_call=check_tool_calls(answer),
        switched_language=has_switched(answer) if bad_json is None else None,
        length_chars=len(text),
        perplexity=perplexity(answer.logprobs),
    )


def check_json(answer: Answer) -> tuple[bool | None, bool | None]:
    """Whether the text is no JSON, and whether it breaks the request's schema."""
    if not answer.wants_json and answer.schema is None:
        return None, None
    try:
        value = read_json(answer.text)
    except ValueError:
        return True, True if answer.schema is not None else None
    if answer.schema is None:
        return False, None
    fine = satisfies(value, answer.schema)
    return False, None if fine is None else not fine


def read_json(text: str) -> Any:
    """Strict: what other parsers refuse (NaN, Infinity) is refused here too."""
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def check_tool_calls(answer: Answer) -> bool | None:
    """None without tool calls, or where the request's tools aren't known and the arguments parse."""
    if not answer.tool_calls:
        return None
    faults = [is_bad_call(call, answer.tools) for call in answer.tool_calls]
    return True if True in faults else None if None in faults else False


def is_bad_call(call: ToolCall, tools: Mapping[str, Any] | None) -> bool | None:
    try:
        value = read_json(call.arguments or "{}")
    except ValueError:
        return True
    if not isinstance(value, dict) or (tools is not None and call.name not in tools):
        return True
    if tools is None:
        return None
    schema = tools[call.name]
    fine = True if schema is None else satisfies(value, schema)
    return None if fine is None else not fine


def is_repetitive(text: str) -> bool:
    """The text ends in a loop, or most of its word sequences were already said."""
    if ends_in_loop(text[-TAIL:]):
        return True
    words = text.lower().split()
    grams = [tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)]
    return len(grams) >= LEAST_NGRAMS and len(set(grams)) < LEAST_DISTINCT * len(grams)


def ends_in_loop(tail: str) -> bool:
    """Some end of the text is one piece, at least four times over. Lines of dashes and dots don't count.

    The borders of the reversed text (as in Knuth, Morris and Pratt) give the period of each of its ends.
    """
    backwards, borders = tail.rstrip()[::-1], [0]
    for at in range(1, len(backwards)):
        border = borders[-1]
        while border and backwards[at] != backwards[border]:
            border = borders[border - 1]
        borders.append(border + (backwards[at] == backwards[border]))
        length, period = at + 1, at + 1 - borders[-1]
        if length >= max(LOOP, ROUNDS * period) and any(one.isalnum() for one in backwards[:period]):
            return True
    return False


def has_switched(answer: Answer) -> bool | None:
    asked, answered = find_language(answer.prompt), find_language(answer.text)
    return asked != answered if asked and answered else None


def perplexity(logprobs: Sequence[float]) -> float | None:
    """exp of the mean surprise; None where the server gave no logprobs, or none that are finite."""
    finite = [one for one in logprobs if math.isfinite(one) and one <= 0]
    return math.exp(min(700.0, -sum(finite) / len(finite))) if finite else None
