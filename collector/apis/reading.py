"""What a reader found in a reply: enters the journal's Call field by field, holds no text of the user.

Whatever was not said is "" or None. `usage_problem` says why usage is not known.
"""

import msgspec

from collector.call import Usage


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
    engine_ms: float | None = None
    content_events: int = 0  # stream events that carried content: text, reasoning, tool arguments
    content_chars: int = 0  # an estimate, see StreamReader
