"""Gemini's generateContent and embedContent, as the Gemini API and Vertex AI speak them.

The prompt's count includes what came from the cache; thoughts stand beside the candidates and the tools'
prompts beside the prompt: both are added. Each event of a stream says the counts so far: the last wins.
Events come as server-sent events (`alt=sse`) or as the objects of one JSON array.
"""

import re
from typing import Any

import msgspec

from collector.apis.failure import name_error
from collector.apis.framed import MAX_BYTES, ArrayCutter, FramedReader
from collector.apis.reading import Count, Reading, add_counts, merge, settle_usage
from collector.apis.sse import CONTENT_ONLY, OTHER, StreamReader
from collector.apis.whole import decode_event, decode_reply
from collector.call import Usage


class _Modality(msgspec.Struct, rename="camel"):
    modality: str | None = None
    token_count: Count | None = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: Count | None = None
    candidates_token_count: Count | None = None
    response_token_count: Count | None = None  # the same, where the model speaks live
    thoughts_token_count: Count | None = None
    cached_content_token_count: Count | None = None
    tool_use_prompt_token_count: Count | None = None
    total_token_count: Count | None = None
    prompt_tokens_details: list[_Modality] | None = None
    cache_tokens_details: list[_Modality] | None = None
    candidates_tokens_details: list[_Modality] | None = None
    tool_use_prompt_tokens_details: list[_Modality] | None = None
    traffic_type: str | None = None
    service_tier: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    function_call: Any = None
    inline_data: Any = None
    executable_code: Any = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: list[Any] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    grounding_metadata: _Grounding | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Reply(msgspec.Struct, rename="camel"):
    """A whole reply, or one event of a stream: both have the same form."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Reply)


def read_reply(body: bytes, status: int) -> Reading:
    """A reply in one piece, or a stream's whole array; never raises."""
    if status < 400 and body[:64].lstrip().startswith(b"["):
        return _read_array(body)
    reading, reply = decode_reply(body, status, _decoder)
    if reply is None:
        return reading
    gathered = _Gathered()
    gathered.add(reading, reply, reading.usage_problem)
    gathered.settle(reading)
    if reading.usage is None and not reading.usage_problem and not reading.error_type:
        reading.usage_problem = "the reply has no usage"
    return reading


def _read_array(body: bytes) -> Reading:
    stream = FramedReader(ArrayCutter(), GenerateStream())
    stream.feed(body)
    return stream.finish()


class _Gathered:
    """What the events so far said of the usage."""

    __slots__ = ("misfit", "queries", "usage")

    def __init__(self) -> None:
        self.usage: _Usage | None = None
        self.queries: set[str] = set()
        self.misfit = ""

    def add(self, reading: Reading, event: _Reply, misfit: str) -> int:
        """Keep what one event says; the length of its content is returned."""
        self.misfit = self.misfit or misfit
        if event.usage_metadata is not None:
            self.usage = merge(self.usage, event.usage_metadata)
        if event.model_version:
            reading.model = event.model_version[:200]
        if event.response_id:
            reading.response_id = event.response_id[:200]
        if event.prompt_feedback is not None and event.prompt_feedback.block_reason:
            reading.finish_reason = event.prompt_feedback.block_reason[:64]
        if event.error:
            reading.error_type = name_error(event.error) or "error"
        chars = 0
        for candidate in event.candidates or ():
            if candidate.finish_reason:
                reading.finish_reason = candidate.finish_reason[:64]
            if candidate.grounding_metadata is not None:
                self.queries.update(map(str, candidate.grounding_metadata.web_search_queries or ()))
            for part in (candidate.content.parts if candidate.content else None) or ():
                chars += len(part.text or "")
                chars += bool(part.function_call or part.inline_data or part.executable_code)
        return chars

    def settle(self, reading: Reading) -> None:
        if self.misfit:
            reading.usage_problem = self.misfit
        elif self.usage is not None:
            reading.service_tier = _tier(self.usage)
            settle_usage(reading, _convert(self.usage, _searches(reading.model, len(self.queries))))


class GenerateStream(StreamReader):
    __slots__ = ("_gathered",)
    content_key = re.compile(rb'"text"\s*:\s*"(?=[^"\\])')
    max_event_bytes = MAX_BYTES

    def __init__(self) -> None:
        super().__init__()
        self._gathered = _Gathered()

    def _take(self, data: bytes) -> int:
        event, misfit = decode_event(data, _decoder)
        finished = any(candidate.finish_reason for candidate in event.candidates or ())
        chars = self._gathered.add(self.reading, event, misfit)
        if not chars:
            return OTHER
        self._count_content(chars)
        plain = not finished and event.usage_metadata is None and not event.error and not misfit
        return CONTENT_ONLY if plain else OTHER

    def _settle(self) -> None:
        self._gathered.settle(self.reading)


def _convert(given: _Usage, searches: int | None) -> Usage:
    prompt, tools, thoughts = (
        given.prompt_token_count,
        given.tool_use_prompt_token_count,
        given.thoughts_token_count,
    )
    candidates = given.candidates_token_count
    if candidates is None:
        candidates = given.response_token_count
    output = add_counts(candidates, thoughts)
    if thoughts and prompt is not None and candidates and given.total_token_count is not None:
        beside = prompt + (tools or 0) + candidates
        if given.total_token_count == beside:  # a server that counts thoughts inside says so by its total
            output = candidates
    if output is None and prompt is not None and given.total_token_count == prompt + (tools or 0):
        output = 0  # a blocked prompt, or an embedding: the total says that nothing else was counted
    return Usage(
        input_tokens=None if prompt is None else prompt + (tools or 0),
        output_tokens=output,
        cache_read_tokens=given.cached_content_token_count,
        reasoning_tokens=thoughts,
        input_audio_tokens=_of(("AUDIO",), given.prompt_tokens_details, given.tool_use_prompt_tokens_details),
        output_audio_tokens=_of(("AUDIO",), given.candidates_tokens_details),
        cache_audio_read_tokens=_of(("AUDIO",), given.cache_tokens_details),
        input_image_tokens=_of(
            ("IMAGE", "DOCUMENT"), given.prompt_tokens_details, given.tool_use_prompt_tokens_details
        ),
        output_image_tokens=_of(("IMAGE",), given.candidates_tokens_details),
        web_searches=searches,
    )


def _of(modalities: tuple[str, ...], *details: list[_Modality] | None) -> int | None:
    """Tokens of these modalities; a list without one of them says nothing."""
    return add_counts(
        *(one.token_count for listed in details for one in listed or () if one.modality in modalities)
    )


def _searches(model: str, queries: int) -> int | None:
    """Up to Gemini 2.5 a grounded prompt is one billed search, however many queries it took; then each."""
    if not queries:
        return None
    return 1 if re.match(r"gemini-[12]", model) else queries


def _tier(given: _Usage) -> str:
    """As served: on_demand_priority -> priority; provisioned throughput is a tier of its own."""
    tier = (given.service_tier or given.traffic_type or "").lower()
    if tier.endswith("_unspecified"):
        return ""
    return (tier.removeprefix("on_demand_") or tier)[:64]


class _Embedded(msgspec.Struct, rename="camel"):
    usage_metadata: _Usage | None = None
    predictions: list[Any] | None = None


_embedded_decoder = msgspec.json.Decoder(_Embedded)


def read_embedding(body: bytes, status: int) -> Reading:
    """embedContent, batchEmbedContents: only newer models say what they used."""
    reading, reply = decode_reply(body, status, _embedded_decoder)
    if reply is None or reading.usage_problem:
        return reading
    if reply.usage_metadata is not None:
        given = _convert(reply.usage_metadata, None)
        settle_usage(reading, msgspec.structs.replace(given, output_tokens=given.output_tokens or None))
    else:
        reading.usage_problem = "the reply has no usage"
    return reading


def read_prediction(body: bytes, status: int) -> Reading:
    """Vertex's :predict: embeddings say their tokens one by one; images are counted."""
    reading, reply = decode_reply(body, status, _embedded_decoder)
    if reply is None:
        return reading
    predictions = [one for one in reply.predictions or () if isinstance(one, dict)]
    images = sum("bytesBase64Encoded" in one or "gcsUri" in one for one in predictions)
    counts = [_statistics(one) for one in predictions]
    if images:
        settle_usage(reading, Usage(images=images))
    elif counts and all(type(count) is int and 0 <= count <= 10**12 for count in counts):
        settle_usage(reading, Usage(input_tokens=sum(count for count in counts if count is not None)))
    else:
        reading.usage_problem = "the reply has no usage"
    return reading


def _statistics(prediction: dict[str, Any]) -> int | None:
    inner = prediction.get("embeddings")
    statistics = inner.get("statistics") if isinstance(inner, dict) else None
    count = statistics.get("token_count") if isinstance(statistics, dict) else None
    return int(count) if isinstance(count, int | float) and count == count // 1 else None
