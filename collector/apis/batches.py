"""What was asked for earlier and is fetched now: a batch's results, a response that ran in the background.

Pieces of the body enter, cut anywhere; for each call among them a Result leaves. A file may be fetched often
and a response asked for until it is done: so a Result has an id that depends on the answer alone, and the
same for every fetch; who keeps calls keeps each id once.

Invariants
- Only what a model answered is a Result: a line that failed, or a response still under way, costs nothing.
- Memory is bounded by one line. A line that can't be read is counted, and the others are read.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from collector.apis import anthropic, gemini, openai, responses
from collector.apis.framed import LineCutter, Unreadable
from collector.apis.lenient import describe_unreadable
from collector.apis.reading import Reading

_MAX_TIME_S = 253_402_300_799


class Result(msgspec.Struct):
    """One call of a batch, or one background response."""

    stable_id: bytes  # 16 bytes, a UUIDv8 out of the answer's own id
    api: str
    operation: str
    reading: Reading
    created_s: int | None  # when the answer was made, as it says itself


class _Body(msgspec.Struct):
    """Enough of an answer to tell whose it is."""

    id: Any = None
    object: Any = None
    type: Any = None
    data: Any = None
    created: Any = None
    created_at: Any = None
    usage_metadata: Any = msgspec.field(default=None, name="usageMetadata")
    response_id: Any = msgspec.field(default=None, name="responseId")
    background: Any = None
    status: Any = None


class _Response(msgspec.Struct):
    status_code: Any = None
    body: msgspec.Raw = msgspec.Raw()
    usage_metadata: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="usageMetadata")


class _Outcome(msgspec.Struct):
    type: Any = None
    message: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct):
    id: Any = None
    response: msgspec.Raw = msgspec.Raw()
    result: _Outcome | None = None  # Anthropic


Reader = Callable[[bytes, int], Reading]

_decode_line = msgspec.json.Decoder(_Line).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_decode_body = msgspec.json.Decoder(_Body).decode

_BY_OBJECT: dict[object, tuple[str, str, Reader]] = {
    "chat.completion": ("openai", "chat", openai.read_reply),
    "text_completion": ("openai", "text_completion", openai.read_reply),
    "response": ("openai", "responses", responses.read_reply),
    "list": ("openai", "embeddings", openai.read_pooled),
}


class ResultsReader:
    """A result file, line by line: OpenAI's and Azure's, Mistral's and Groq's, Anthropic's, Gemini's."""

    def __init__(self) -> None:
        self._cutter = LineCutter()
        self._found: list[Result] = []
        self.unread = 0  # lines that can't be read
        self.failed = 0  # lines that hold no answer
        self.problem = ""

    def feed(self, chunk: bytes) -> list[Result]:
        """The results that this piece completes; never raises."""
        if not self.problem:
            try:
                for line in self._cutter.cut(chunk):
                    self._take(line)
            except Unreadable as problem:
                self.problem = str(problem)
        found, self._found = self._found, []
        return found

    def finish(self) -> list[Result]:
        if not self.problem and (last := self._cutter.end()):
            self._take(last)
        found, self._found = self._found, []
        return found

    def _take(self, line: bytes) -> None:
        try:
            result = _read_line(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            self.unread += 1
            self.problem = "" if self.unread < 1000 else f"a line is {describe_unreadable(problem)}"
            return
        if result is None:
            self.failed += 1
        else:
            self._found.append(result)


def read_background(body: bytes, status: int) -> Result | None:
    """A response that is asked for by its id: a call only when it ran in the background and is done."""
    if status >= 400:
        return None
    try:
        head = _decode_body(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if head.background is not True or head.status in ("queued", "in_progress", None):
        return None
    result = _read_body(body, b"", batch=False)
    return result if result is not None and result.operation == "responses" else None


def _read_line(line: bytes) -> Result | None:
    given = _decode_line(line)
    identity = str(given.id).encode() if given.id else b""
    if given.result is not None:
        message = bytes(given.result.message)
        return _read_body(message, b"", batch=True) if _is_object(message) else None
    if not _is_object(bytes(given.response)):
        return None
    response = _decode_response(given.response)
    if _is_object(bytes(response.usage_metadata)):
        return _read_body(bytes(given.response), identity, batch=True)
    failed = isinstance(response.status_code, int) and response.status_code >= 400
    body = bytes(response.body)
    return _read_body(body, identity, batch=True) if _is_object(body) and not failed else None


def _is_object(raw: bytes) -> bool:
    return raw.startswith(b"{")


def _read_body(body: bytes, identity: bytes, *, batch: bool) -> Result | None:
    head = _decode_body(body)
    read: Reader
    if head.usage_metadata is not None:
        api, operation, read = "gemini", "chat", gemini.read_reply
    elif head.type == "message":
        api, operation, read = "anthropic", "messages", anthropic.read_reply
    else:
        api, operation, read = _BY_OBJECT.get(head.object, ("openai", "chat", openai.read_reply))
    reading = read(body, 200)
    if batch:
        reading.service_tier = "batch"
    own = head.id or head.response_id
    identity = str(own).encode() if own else identity or body
    created = head.created if head.created is not None else head.created_at
    return Result(_derive_id(api, identity), api, operation, reading, _seconds(created))


def _derive_id(api: str, identity: bytes) -> bytes:
    """A UUIDv8 (RFC 9562) out of a digest: the same answer has the same id wherever it is fetched."""
    value = int.from_bytes(hashlib.blake2b(identity, digest_size=16, person=api.encode()).digest(), "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    return (value & ~(0b11 << 62) | 0b10 << 62).to_bytes(16, "big")


def _seconds(value: object) -> int | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if plain and 0 < value <= _MAX_TIME_S else None  # type: ignore[call-overload,operator]
