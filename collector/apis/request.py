"""What a request says: which model, streamed or not, does it ask for usage. First form of the interface."""

import msgspec


class RequestFacts(msgspec.Struct):
    model: str = ""
    stream: bool = False
    asks_usage: bool | None = None  # stream_options.include_usage as given
    has_stream_options: bool = False
    end_user: str = ""
    problem: str = ""  # why the body could not be read, or not wholly


_DECODER = msgspec.json.Decoder(RequestFacts)


def read_request(body: bytes) -> RequestFacts:
    """The facts of a whole body; never raises."""
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, ValueError) as problem:
        return RequestFacts(problem=str(problem)[:80])


def read_request_prefix(prefix: bytes) -> RequestFacts:
    """The facts found in the first bytes of a body; never raises."""
    return RequestFacts(problem="only a prefix was read")


def splice_usage(body: bytes, facts: RequestFacts) -> bytes | None:
    """The body with stream_options.include_usage set to true, every other byte as it was; None: leave alone."""
    return None
