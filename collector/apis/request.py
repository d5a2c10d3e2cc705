"""What a request says: which model, streamed or not, whether it asks for usage, on whose behalf.

The body enters as the client sent it; facts leave, and for a stream whose client asked for no usage the same
body with that option put in. Never raises: a body that can't be read is the upstream's to refuse.
"""

from typing import Any

import msgspec

from collector.apis.lenient import decode_leniently, describe_unreadable
from collector.apis.scan import Member, find_brace, scan_members, skip_space

MAX_NAME = 200


class RequestFacts(msgspec.Struct):
    model: str = ""
    stream: bool = False
    asks_usage: bool | None = None  # stream_options.include_usage as given
    has_stream_options: bool = False  # the key is there, whatever its value
    end_user: str = ""
    problem: str = ""  # why the body could not be read, or not wholly


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Metadata(msgspec.Struct):
    user_id: Any = None


class _Body(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | msgspec.UnsetType | None = msgspec.UNSET
    user: str | None = None
    safety_identifier: str | None = None
    metadata: _Metadata | None = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_scalar: msgspec.json.Decoder[str | bool | None] = msgspec.json.Decoder(str | bool | None)


def read_request(body: bytes) -> RequestFacts:
    """The facts of a whole body."""
    try:
        return _facts(_decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        read, misfits = decode_leniently(body, _Body)
    except (ValueError, RecursionError) as problem:
        return RequestFacts(
            problem=f"the body is {describe_unreadable(problem)}" if body else "the body is empty"
        )
    facts = _facts(read)
    facts.model, facts.end_user = _encodable(facts.model), _encodable(facts.end_user)
    facts.has_stream_options |= any(misfit.path.startswith("stream_options") for misfit in misfits)
    facts.problem = ", ".join(misfit.path for misfit in misfits) + " can't be read"
    return facts


def read_request_prefix(prefix: bytes) -> RequestFacts:
    """The facts among the first bytes of a body: its own model and stream, when they stand that early."""
    facts = RequestFacts(problem="only the beginning of the body was read")
    missing = {"model", "stream"}
    try:
        for member in scan_members(prefix):
            if member.key == "stream_options":
                facts.has_stream_options = True
            if member.key not in missing:
                continue
            value = _scalar(prefix, member)
            if member.key == "model" and isinstance(value, str):
                facts.model = value[:MAX_NAME]
            elif member.key == "stream":
                facts.stream = value is True
            missing.discard(member.key)
            if not missing:
                break
    except Exception as problem:
        facts.problem = f"the beginning of the body can't be read: {type(problem).__name__}"
    return facts


def splice_usage(body: bytes, facts: RequestFacts) -> bytes | None:
    """The body with stream_options.include_usage true and else unchanged; None: leave it alone."""
    if not facts.stream or facts.asks_usage or facts.problem:
        return None
    if not facts.has_stream_options:
        return _insert(body, find_brace(body), b'"stream_options":{"include_usage":true}')
    found = [member for member in scan_members(body) if member.key == "stream_options"]
    if len(found) != 1:
        return None
    options = found[0]
    if body[options.start : options.end] == b"null":
        return _replace(body, options, b'{"include_usage":true}')
    inner = [member for member in scan_members(body, options.start) if member.key == "include_usage"]
    if not inner:
        return _insert(body, options.start, b'"include_usage":true')
    if len(inner) == 1 and body[inner[0].start : inner[0].end] in (b"false", b"null"):
        return _replace(body, inner[0], b"true")
    return None


def _facts(body: _Body) -> RequestFacts:
    options = body.stream_options
    end_user = body.safety_identifier or body.user
    if not end_user and body.metadata is not None and isinstance(body.metadata.user_id, str):
        end_user = body.metadata.user_id
    return RequestFacts(
        (body.model or "")[:MAX_NAME],
        bool(body.stream),
        options.include_usage if isinstance(options, _StreamOptions) else None,
        options is not msgspec.UNSET,
        (end_user or "")[:MAX_NAME],
    )


def _encodable(text: str) -> str:
    """JSON may hold half a surrogate pair, which no UTF-8 can."""
    return text.encode("utf-8", "replace").decode()


def _scalar(body: bytes, member: Member) -> str | bool | None:
    try:
        return _decode_scalar.decode(body[member.start : member.end])
    except (msgspec.MsgspecError, ValueError):
        return None


def _insert(body: bytes, brace: int, member: bytes) -> bytes | None:
    """Right behind the opening brace; with a comma unless the object is empty."""
    if body[brace : brace + 1] != b"{":
        return None
    after = brace + 1
    first = skip_space(body, after)
    comma = b"" if body[first : first + 1] == b"}" else b","
    return b"".join((body[:after], member, comma, memoryview(body)[after:]))


def _replace(body: bytes, value: Member, replacement: bytes) -> bytes:
    return b"".join((body[: value.start], replacement, body[value.end :]))
