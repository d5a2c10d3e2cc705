"""A reply in one piece, decoded: bytes enter; the struct and what of its usage doesn't fit leave, or why not.

Strict first, which is fast; leniently only where that fails. Every reader of whole replies begins here.
"""

import msgspec

from collector.apis.failure import read_error
from collector.apis.lenient import StructT, decode_leniently, describe_unreadable, usage_misfit
from collector.apis.reading import Reading


def decode_reply(
    body: bytes, status: int, decoder: "msgspec.json.Decoder[StructT]"
) -> tuple[Reading, StructT | None]:
    """The reading as far as it goes without the API: its error, or a misfit in its usage. Never raises."""
    reading = Reading()
    if status >= 400:
        reading.error_type = read_error(body, status)
        return reading, None
    try:
        return reading, decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        pass
    try:
        reply, misfits = decode_leniently(body, decoder.type)
    except (ValueError, RecursionError) as problem:
        reading.usage_problem = f"the reply is {describe_unreadable(problem)}"[:80]
        return reading, None
    reading.usage_problem = usage_misfit(misfits)
    return reading, reply


def decode_event(data: bytes, decoder: "msgspec.json.Decoder[StructT]") -> tuple[StructT, str]:
    """One event, and what of its usage doesn't fit. Raises ValueError or RecursionError when it is none."""
    try:
        return decoder.decode(data), ""
    except (msgspec.MsgspecError, RecursionError):
        event, misfits = decode_leniently(data, decoder.type)
        return event, usage_misfit(misfits)
