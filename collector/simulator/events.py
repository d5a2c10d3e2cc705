"""Server-sent events: how one is written, and how a stream of OpenAI's family tells of an error."""

from typing import Any

from collector.simulator.ask import Ask
from collector.simulator.reply import encode

DONE = b"data: [DONE]\n\n"


def data_event(value: dict[str, Any], ask: Ask) -> bytes:
    """OpenAI's way: data alone. OpenAI pads its events so that their sizes tell nothing of the text."""
    if ask.flavour == "openai" and (ask.body.get("stream_options") or {}).get("include_obfuscation", True):
        value["obfuscation"] = "xK3pQ9vRt2"
    return b"data: %b\n\n" % encode(value)


def named_event(value: dict[str, Any]) -> bytes:
    """Anthropic's way and that of /v1/responses: the event is named by its type."""
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), encode(value))


def fail_openai(ask: Ask, kind: str) -> list[bytes]:
    """OpenAI breaks off after its error; vLLM goes on to [DONE], with status 200 and no usage."""
    if kind == "engine_death" or ask.flavour == "vllm":
        error = {
            "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
            "type": "InternalServerError",
            "param": None,
            "code": 500,
        }
        return [b"data: %b\n\n" % encode({"error": error}), DONE]
    error = {
        "message": "The server had an error while processing your request. Sorry about that!",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    return [b"data: %b\n\n" % encode({"error": error})]
