"""What a dialect hands to the wire: a Reply, whole or as events; or Refused, the way out of a bad request."""

from collections.abc import Callable, Iterator

import msgspec


class Piece(msgspec.Struct, frozen=True):
    """One event of a stream, as bytes, and how many generated tokens it carries."""

    data: bytes
    tokens: int = 0


class Reply(msgspec.Struct, kw_only=True):
    """Either `body` (whole) or `pieces` (streamed); `fail` gives the events of an error in mid-stream.

    Served to the end, the output is hidden_tokens (reasoning) and then output_tokens, which are sent.
    """

    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    pieces: Iterator[Piece] | None = None
    fail: Callable[[str], list[bytes]] | None = None
    reply_id: str = ""
    finish: str = ""  # stop, length, tool_calls, error; "" where nothing was generated
    output_tokens: int = 0
    hidden_tokens: int = 0
    usage_told: bool = False


class Refused(Exception):  # noqa: N818 - a reply, not a fault
    """The request ends here, with this error."""

    def __init__(
        self, status: int, message: str, *, kind: str = "", param: str | None = None, code: str | None = None
    ):
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code


def encode(value: object) -> bytes:
    return _ENCODER.encode(value)


_ENCODER = msgspec.json.Encoder()
