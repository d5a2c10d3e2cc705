"""The table of model routes: which requests are calls, and who reads their replies.

Paths match by their last components, so that prefixes (/api/v1, /openai/v1, /serving) need no configuration.
Another API is another module with its readers, and rows here.
"""

from collections.abc import Callable
from typing import NamedTuple

from collector.apis import anthropic, openai, responses
from collector.apis.reading import Reading
from collector.apis.sse import StreamReader


class Endpoint(NamedTuple):
    api: str  # the family, as in Call.api
    operation: str
    reader: type[StreamReader]
    read_reply: Callable[[bytes, int], Reading]
    can_ask_usage: bool  # takes stream_options.include_usage


_CHAT = Endpoint("openai", "chat", openai.ChatStream, openai.read_reply, True)
_TEXT = Endpoint("openai", "text_completion", openai.ChatStream, openai.read_reply, True)
_EMBEDDINGS = Endpoint("openai", "embeddings", openai.ChatStream, openai.read_reply, False)
_RESPONSES = Endpoint("openai", "responses", responses.ResponsesStream, responses.read_reply, False)
_MESSAGES = Endpoint("anthropic", "messages", anthropic.MessagesStream, anthropic.read_reply, False)

_BY_LAST = {b"completions": _TEXT, b"embeddings": _EMBEDDINGS, b"responses": _RESPONSES}
_BY_LAST_TWO = {b"chat/completions": _CHAT, b"v1/messages": _MESSAGES}


def find_endpoint(method: bytes, path: bytes) -> Endpoint | None:
    """The endpoint of a model route; None for what passes uncounted. `path` comes without its query."""
    if method != b"POST":
        return None
    parts = path.rsplit(b"/", 2)
    if len(parts) == 3 and (found := _BY_LAST_TWO.get(parts[1] + b"/" + parts[2])):
        return found
    return _BY_LAST.get(parts[-1])


def read_whole(endpoint: Endpoint, body: bytes, status: int) -> Reading:
    """What a reply that came in one piece says; never raises."""
    try:
        return endpoint.read_reply(body, status)
    except Exception as problem:
        return Reading(usage_problem=f"the reply can't be read: {type(problem).__name__}")
