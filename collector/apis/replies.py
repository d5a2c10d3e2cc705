"""What Sizewise itself answers with, in the shape the client's library for that API expects.

`code` is the Sizewise code (upstream_unreachable, cap_reached, ...) and is for scripts: it stays.
The message is for people.
"""

import msgspec

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}


def _type_of(status: int) -> str:
    return _TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def error_body(
    api: str, status: int, code: str, message: str, details: dict[str, str] | None = None
) -> bytes:
    """The JSON body of an error. Unknown APIs get OpenAI's shape, which most clients read.

    `details`: further members of the error, for scripts.
    """
    error = {"message": message, "type": _type_of(status), "param": None, "code": code, **(details or {})}
    if api == "anthropic":
        del error["param"]
        return msgspec.json.encode({"type": "error", "error": error})
    if api == "gemini":
        told = {"code": status, "status": code.upper(), "reason": code}
        return msgspec.json.encode({"error": error | told})
    if api in ("cohere", "bedrock"):
        return msgspec.json.encode({**error, "__type": error["type"]})
    if api == "ollama":
        return msgspec.json.encode({**error, "error": message})
    return msgspec.json.encode({"error": error})


def stream_error_event(api: str, status: int, code: str, message: str, operation: str = "") -> bytes:
    """The event that tells a client its stream broke. No [DONE] follows: the reply did not end well."""
    if api == "anthropic":
        return b"event: error\ndata: " + error_body(api, status, code, message) + b"\n\n"
    if api == "cohere":
        delta = {"error": message, "code": code, "finish_reason": "ERROR"}
        end = msgspec.json.encode({"type": "message-end", "delta": delta})
        return b"event: message-end\ndata: " + end + b"\n\n"
    if operation == "responses":
        event = {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0}
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    return b"data: " + error_body(api, status, code, message) + b"\n\n"
