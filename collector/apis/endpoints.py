"""The table of model routes: which requests are calls, and who reads them and their replies.

Paths match by their last components, so that prefixes (/api/v1, /openai/v1, /serving) need no configuration.
Some APIs name the model in the path (Gemini, Bedrock, Azure's deployments): its endpoint then knows it.
Another API is another module with its readers, and rows here.
"""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from collector.apis import (
    anthropic,
    audio,
    bedrock,
    cohere,
    form,
    gemini,
    images,
    invoke,
    native,
    ollama,
    openai,
    request,
    responses,
)
from collector.apis.eventstream import FrameCutter
from collector.apis.framed import ArrayCutter, FramedReader, LineCutter, read_framed
from collector.apis.reading import Reading
from collector.apis.request import RequestFacts
from collector.apis.sse import StreamReader


class Endpoint(NamedTuple):
    api: str  # the family, as in Call.api
    operation: str
    reader: type[StreamReader]
    read_reply: Callable[[bytes, int], Reading]
    can_ask_usage: bool = False  # takes stream_options.include_usage
    read_request: Callable[[bytes], RequestFacts] = request.read_request
    read_prefix: Callable[[bytes], RequestFacts] = request.read_request_prefix
    # A stream that is not server-sent events: the type of its content, and who reads it.
    framed_type: bytes = b""
    framed: Callable[[], FramedReader] | None = None


_JSON, _LINES, _FRAMES = b"application/json", b"application/x-ndjson", b"application/vnd.amazon.eventstream"

_CHAT = Endpoint("openai", "chat", openai.ChatStream, openai.read_reply, True)
_TEXT = _CHAT._replace(operation="text_completion")
_POOLED = Endpoint("openai", "embeddings", openai.ChatStream, openai.read_pooled)
_RESPONSES = Endpoint("openai", "responses", responses.ResponsesStream, responses.read_reply)
_MESSAGES = Endpoint("anthropic", "messages", anthropic.MessagesStream, anthropic.read_reply)
_IMAGES = Endpoint("openai", "images", images.ImageStream, images.read_reply)
_IMAGES = _IMAGES._replace(read_request=form.read_form, read_prefix=form.read_form)
_HEARD = Endpoint("openai", "audio_transcriptions", audio.AudioStream, audio.read_transcription)
_HEARD = _HEARD._replace(read_request=form.read_form, read_prefix=form.read_form)
_SPEECH = Endpoint("openai", "audio_speech", audio.AudioStream, audio.read_speech)
_COHERE = Endpoint("cohere", "chat", cohere.ChatStream, cohere.read_reply)
_RERANK = _COHERE._replace(operation="rerank")
_NATIVE = Endpoint("native", "text_completion", native.NativeStream, native.read_reply)
_OLLAMA = Endpoint(
    "ollama",
    "chat",
    ollama.LineStream,
    ollama.read_reply,
    read_request=ollama.read_request,
    framed_type=_LINES,
    framed=read_framed(LineCutter, ollama.LineStream),
)
_GENERATE = Endpoint("gemini", "chat", gemini.GenerateStream, gemini.read_reply)
_STREAM_GENERATE = _GENERATE._replace(
    framed_type=_JSON, framed=read_framed(ArrayCutter, gemini.GenerateStream)
)
_GEMINI_EMBED = _GENERATE._replace(operation="embeddings", read_reply=gemini.read_embedding)
_PREDICT = _GENERATE._replace(operation="predict", read_reply=gemini.read_prediction)
_CONVERSE = Endpoint("bedrock", "chat", bedrock.ConverseStream, bedrock.read_reply)
_CONVERSE_STREAM = _CONVERSE._replace(
    framed_type=_FRAMES, framed=read_framed(FrameCutter, bedrock.ConverseStream)
)
_INVOKE = Endpoint("bedrock", "invoke", invoke.InvokeStream, invoke.read_reply)
_INVOKE_STREAM = _INVOKE._replace(framed_type=_FRAMES, framed=read_framed(FrameCutter, invoke.InvokeStream))

_BY_LAST = {
    b"completions": _TEXT,
    b"embeddings": _POOLED,
    b"responses": _RESPONSES,
    b"moderations": _POOLED._replace(operation="moderations"),
    b"pooling": _POOLED._replace(operation="pooling"),
    b"classify": _POOLED._replace(operation="classify"),
    b"score": _POOLED._replace(operation="rerank"),
    b"rerank": _RERANK,
    b"generate": _NATIVE,
    b"generate_stream": _NATIVE,
    b"completion": _NATIVE,
    b"infill": _NATIVE,
}
_BY_LAST_TWO = {
    b"chat/completions": _CHAT,
    b"v1/messages": _MESSAGES,
    b"audio/transcriptions": _HEARD,
    b"audio/translations": _HEARD._replace(operation="audio_translations"),
    b"audio/speech": _SPEECH,
    b"images/generations": _IMAGES,
    b"images/edits": _IMAGES,
    b"images/variations": _IMAGES,
    b"api/chat": _OLLAMA,
    b"api/generate": _OLLAMA._replace(operation="text_completion"),
    b"api/embed": _OLLAMA._replace(operation="embeddings", read_request=request.read_request),
    b"v1/chat": _COHERE,
    b"v2/chat": _COHERE,
    b"v1/embed": _COHERE._replace(operation="embeddings"),
    b"v2/embed": _COHERE._replace(operation="embeddings"),
}
# What the path names the model for: its endpoint, and whether it streams (None: the body says).
_OF_MODEL: dict[bytes, tuple[Endpoint, bool]] = {
    b"converse": (_CONVERSE, False),
    b"converse-stream": (_CONVERSE_STREAM, True),
    b"invoke": (_INVOKE, False),
    b"invoke-with-response-stream": (_INVOKE_STREAM, True),
}
_VERBS: dict[bytes, tuple[Endpoint, bool]] = {
    b"generateContent": (_GENERATE, False),
    b"streamGenerateContent": (_STREAM_GENERATE, True),
    b"embedContent": (_GEMINI_EMBED, False),
    b"batchEmbedContents": (_GEMINI_EMBED, False),
    b"predict": (_PREDICT, False),
}
_RAW_VERBS = {b"rawPredict", b"streamRawPredict"}


def find_endpoint(method: bytes, path: bytes) -> Endpoint | None:
    """The endpoint of a model route; None for what passes uncounted. `path` comes without its query."""
    if method != b"POST":
        return None
    parts = path.rsplit(b"/", 2)
    last = parts[-1]
    if len(parts) == 3:
        if parts[0].endswith(b"/model") and last in _OF_MODEL:
            return _name_model(*_OF_MODEL[last], _bedrock_model(parts[1]))
        found = _BY_LAST_TWO.get(parts[1] + b"/" + last) or _BY_LAST.get(last)
    else:
        found = _BY_LAST.get(last)
    if found is None:
        return _find_verb(path, last) if b":" in last else None
    if b"/deployments/" in path:
        return _name_deployment(found, path)
    return found


def read_whole(endpoint: Endpoint, body: bytes, status: int) -> Reading:
    """What a reply that came in one piece says; never raises."""
    try:
        return endpoint.read_reply(body, status)
    except Exception as problem:
        return Reading(usage_problem=f"the reply can't be read: {type(problem).__name__}")


def _find_verb(path: bytes, last: bytes) -> Endpoint | None:
    """Gemini's models/MODEL:verb; on Vertex other publishers' models answer in their own shapes."""
    model, _, verb = last.rpartition(b":")
    if verb in _RAW_VERBS:
        endpoint = _MESSAGES if b"/publishers/anthropic/" in path else _CHAT._replace(can_ask_usage=False)
        stream = True if verb == b"streamRawPredict" else None
        return _read_with(endpoint, _text(model), stream)
    found = _VERBS.get(verb)
    return _name_model(*found, _text(model)) if found else None


def _name_model(endpoint: Endpoint, stream: bool, model: str) -> Endpoint:
    """The path says all there is to know: the body need not be looked at."""

    def read(body: bytes) -> RequestFacts:
        return RequestFacts(model, stream)

    return endpoint._replace(read_request=read, read_prefix=read)


def _name_deployment(endpoint: Endpoint, path: bytes) -> Endpoint:
    """Azure serves the deployment of the path, whatever model the body names."""
    model = path.partition(b"/deployments/")[2].partition(b"/")[0]
    return _read_with(endpoint, _text(model), None) if model else endpoint


def _read_with(endpoint: Endpoint, model: str, stream: bool | None) -> Endpoint:
    def replace(facts: RequestFacts) -> RequestFacts:
        facts.model = model
        facts.stream = facts.stream if stream is None else stream
        return facts

    return endpoint._replace(
        read_request=lambda body: replace(endpoint.read_request(body)),
        read_prefix=lambda body: replace(endpoint.read_prefix(body)),
    )


def _bedrock_model(raw: bytes) -> str:
    """The id of the model, also out of the ARN of a foundation model or of an inference profile."""
    model = _text(raw)
    return model.rpartition("/")[2] if model.startswith("arn:") else model


def _text(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode("utf-8", "replace")[: request.MAX_NAME]
