"""The table of model routes: which requests are calls, and who reads their replies.

Paths match by their last components, so that prefixes (/api/v1, /openai/v1, /serving) need no configuration.
Another API is another module with its readers, and rows here.
"""

from collections.abc import Callable
from typing import NamedTuple

from collector.apis.reading import Reading
from collector.apis.sse import StreamReader


class Endpoint(NamedTuple):
    api: str  # the family, as in Call.api
    operation: str
    reader: type[StreamReader]
    read_reply: Callable[[bytes, int], Reading]
    can_ask_usage: bool  # takes stream_options.include_usage


def _unread(body: bytes, status: int) -> Reading:
    return Reading()


_BY_LAST: dict[bytes, Endpoint] = {
    b"completions": Endpoint("openai", "text_completion", StreamReader, _unread, True),
    b"embeddings": Endpoint("openai", "embeddings", StreamReader, _unread, False),
    b"responses": Endpoint("openai", "responses", StreamReader, _unread, False),
}
_BY_LAST_TWO: dict[bytes, Endpoint] = {
    b"chat/completions": Endpoint("openai", "chat", StreamReader, _unread, True),
    b"v1/messages": Endpoint("anthropic", "messages", StreamReader, _unread, False),
}


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
    return endpoint.read_reply(body, status)
