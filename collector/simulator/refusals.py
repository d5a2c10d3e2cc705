"""Errors in each API's own words: a Refused enters, a Reply leaves."""

from typing import Any

import msgspec

from collector.simulator.behaviour import Behaviour, tell_flavour, tell_messages_flavour
from collector.simulator.reply import Refused, Reply, encode

# status: (Anthropic's type, OpenAI's type, OpenAI's code, vLLM's type)
_KINDS = {
    400: ("invalid_request_error", "invalid_request_error", None, "BadRequestError"),
    401: ("authentication_error", "invalid_request_error", "invalid_api_key", "Unauthorized"),
    403: ("permission_error", "invalid_request_error", None, "PermissionDeniedError"),
    404: ("not_found_error", "invalid_request_error", "model_not_found", "NotFoundError"),
    413: ("request_too_large", "invalid_request_error", None, "BadRequestError"),
    422: ("invalid_request_error", "invalid_request_error", None, "UnprocessableEntityError"),
    429: ("rate_limit_error", "requests", "rate_limit_exceeded", "RateLimitError"),
    500: ("api_error", "server_error", None, "InternalServerError"),
    503: ("api_error", "server_error", None, "ServiceUnavailableError"),
    529: ("overloaded_error", "server_error", None, "InternalServerError"),
}
_ANTHROPIC_TEXTS = {429: "This request would exceed your account's rate limit.", 529: "Overloaded"}


def answer_refused(refused: Refused, flavour: str, messages_path: bool, retry_after: int | None) -> Reply:
    kind = "anthropic" if messages_path and flavour == "anthropic" else flavour
    shape: object
    if kind == "anthropic":
        shape = _shape_anthropic(refused)
    elif kind == "vllm":
        shape = _shape_vllm(refused, messages_path)
    elif kind == "mistral":
        shape = _shape_mistral(refused)
    else:
        shape = _shape_openai(refused)
    if retry_after is None and refused.status == 429:
        retry_after = 1
    headers = (("retry-after", str(retry_after)),) if retry_after is not None else ()
    return Reply(status=refused.status, headers=headers, body=encode(shape), finish="error")


def _kinds(status: int) -> tuple[str, str, str | None, str]:
    return _KINDS.get(status, _KINDS[500 if status >= 500 else 400])


def _shape_openai(refused: Refused) -> dict[str, Any]:
    _, kind, code, _ = _kinds(refused.status)
    error = {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code or code}
    return {"error": error}


def _shape_anthropic(refused: Refused) -> dict[str, Any]:
    kind = _kinds(refused.status)[0]
    message = _ANTHROPIC_TEXTS.get(refused.status, refused.message)
    if refused.kind == "model":
        message = f"model: {refused.message.split('`')[1]}"
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}


def _shape_mistral(refused: Refused) -> dict[str, Any]:
    if refused.status != 422:
        kind = _kinds(refused.status)[1]
        return {
            "object": "error",
            "message": refused.message,
            "type": kind,
            "param": refused.param,
            "code": None,
        }
    detail = {"type": refused.kind or "value_error", "loc": ["body", refused.param], "msg": refused.message}
    return {"detail": [detail]}


def _shape_vllm(refused: Refused, messages_path: bool) -> dict[str, Any]:
    """vLLM's checker of bodies and its engine speak two languages; its 401 a third."""
    if refused.status == 401:
        return {"error": "Unauthorized"}
    kind, message, param = _kinds(refused.status)[3], refused.message, refused.param
    if refused.kind == "json":
        kind, param = "Bad Request", "body.1"
        message = (
            "1 validation error:\n  {'type': 'json_invalid', 'loc': 'body.1', 'msg': 'JSON decode error', "
            "'input': '<dict of 0 items>', 'ctx': {'error': 'Expecting value'}}"
        )
    elif refused.kind == "missing":
        kind, param = "Bad Request", f"body.{refused.param}"
        message = (
            f"1 validation error:\n  {{'type': 'missing', 'loc': '{param}', 'msg': 'Field required', "
            "'input': '<dict of 1 items>'}"
        )
    elif refused.kind == "value":
        message = f"{message} (parameter={param})"
    if messages_path:
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "param": param, "code": refused.status}}


def peek_model(body: bytes) -> str:
    try:
        model = msgspec.json.decode(body).get("model")
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
        return ""
    return model if isinstance(model, str) else ""


def guess_flavour(operation: str, model: str, behaviour: Behaviour) -> str:
    if operation in ("messages", "count_tokens"):
        return tell_messages_flavour(model, behaviour)
    if behaviour.flavour and behaviour.flavour != "anthropic":
        return behaviour.flavour
    return tell_flavour(model) if model else "openai"
