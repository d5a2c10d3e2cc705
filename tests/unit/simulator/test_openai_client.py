"""The real openai library against the simulator: it parses everything, and streamed equals whole."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from collector.simulator import Entry, Simulator, start_simulator
from collector.simulator.tokens import count_tokens

MODELS = ["gpt-4o-mini", "azure-gpt-4o", "tiny-llama"]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 9}},
            "required": ["city", "days"],
        },
    },
}


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{simulator.url}/v1", api_key="k", max_retries=0) as made:
        yield made


def say(text: str) -> Any:
    return [{"role": "system", "content": "You are terse."}, {"role": "user", "content": text}]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("wish", ["", "[[sim: tokens_per_chunk=5]]", "[[sim: cached=9 reasoning=4]]"])
def test_streamed_equals_whole(
    client: openai.OpenAI, served: Callable[[str], Entry], model: str, wish: str
) -> None:
    messages = say(f"Hello {wish}")
    whole = client.chat.completions.create(model=model, messages=messages, n=2)
    stream = client.chat.completions.create(
        model=model, messages=messages, n=2, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]
    assert texts[0] != texts[1]
    assert whole.usage is not None
    last = chunks[-1].usage
    assert last is not None
    assert last.model_dump(exclude_none=True).items() <= whole.usage.model_dump(exclude_none=True).items()
    hidden = 8 if "reasoning" in wish else 0
    assert whole.usage.completion_tokens == sum(map(count_tokens, texts)) + hidden
    for reply in (whole, chunks[-1]):
        truth = served(reply.id)
        assert truth.prompt_tokens == whole.usage.prompt_tokens
        assert truth.completion_tokens == whole.usage.completion_tokens
        assert (truth.outcome, truth.finish, truth.usage_told) == ("finished", "stop", True)


def test_usage_stands_where_each_server_puts_it(client: openai.OpenAI) -> None:
    def usages(model: str, **more: Any) -> list[Any]:
        stream = client.chat.completions.create(
            model=model, messages=say("Hi"), max_tokens=3, stream=True, **more
        )
        return [event.to_dict().get("usage", "absent") for event in stream]

    asked = {"stream_options": {"include_usage": True}}
    always = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    assert set(usages("gpt-4o-mini")) == {"absent"}
    *others, last = usages("gpt-4o-mini", **asked)
    assert set(others) == {None}
    assert last["completion_tokens"] == 3
    assert set(usages("tiny-llama")) == {"absent"}
    *others, last = usages("tiny-llama", **asked)
    assert set(others) == {"absent"}
    assert last["completion_tokens"] == 3
    assert [usage["completion_tokens"] for usage in usages("tiny-llama", **always)] == [0, 1, 2, 3, 3]
    *others, last = usages("mistral-small-latest")
    assert set(others) == {"absent"}
    assert last["completion_tokens"] == 3


@pytest.mark.parametrize("model", MODELS)
def test_max_tokens_cuts_and_says_so(client: openai.OpenAI, model: str) -> None:
    reply = client.chat.completions.create(model=model, messages=say("[[sim: tokens=50]]"), max_tokens=7)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 7 == count_tokens(reply.choices[0].message.content or "")


def test_fields_that_only_one_server_has(client: openai.OpenAI) -> None:
    hosted = client.chat.completions.create(
        model="gpt-4o-mini", messages=say("Hi [[sim: cached=5 service_tier=priority]]")
    )
    assert hosted.model == "gpt-4o-mini-2024-07-18"
    assert hosted.service_tier == "priority"
    assert hosted.system_fingerprint
    assert hosted.usage is not None
    assert hosted.usage.prompt_tokens_details is not None
    assert hosted.usage.prompt_tokens_details.cached_tokens == 5
    own = client.chat.completions.create(
        model="tiny-llama", messages=say("Hi"), extra_headers={"x-request-id": "r1"}
    )
    assert own.id == "chatcmpl-r1"
    assert own.to_dict().keys() > {"prompt_logprobs", "kv_transfer_params", "metrics", "service_tier"}


@pytest.mark.parametrize("model", MODELS)
def test_tools_are_called(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(
        model=model, messages=say("Weather?"), tools=[WEATHER], tool_choice="required"
    )
    calls = whole.choices[0].message.tool_calls
    assert calls is not None
    call: Any = calls[0]
    assert whole.choices[0].finish_reason == "tool_calls"
    assert set(json.loads(call.function.arguments)) == {"city", "days"}
    with client.chat.completions.stream(
        model=model, messages=say("Weather?"), tools=[WEATHER], tool_choice="required"
    ) as stream:
        final: Any = stream.get_final_completion().choices[0].message.tool_calls
    assert final[0].function.arguments == call.function.arguments


class Place(BaseModel):
    city: str
    size: int
    tags: list[str]


def test_a_json_schema_is_kept(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(model="gpt-4o", messages=say("Where?"), response_format=Place)
    assert isinstance(reply.choices[0].message.parsed, Place)


@pytest.mark.parametrize("model", ["gpt-3.5-turbo-instruct", "tiny-llama"])
def test_completions(client: openai.OpenAI, model: str) -> None:
    asked: Any = {"model": model, "prompt": ["One", "Two"], "max_tokens": 5}
    whole = client.completions.create(**asked)
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (2, 10)
    assert chunks[-1].usage.completion_tokens == 10


@pytest.mark.parametrize(("model", "size"), [("text-embedding-3-small", 1536), ("tiny-llama", 64)])
def test_embeddings_as_floats_and_as_base64(client: openai.OpenAI, model: str, size: int) -> None:
    floats = client.embeddings.create(model=model, input=["a b", "c"], encoding_format="float")
    packed = client.embeddings.create(model=model, input=["a b", "c"])  # the library asks for base64
    for one, other in zip(floats.data, packed.data, strict=True):
        assert len(one.embedding) == size
        assert one.embedding == pytest.approx(other.embedding, rel=1e-6)
    assert floats.usage.prompt_tokens == packed.usage.prompt_tokens == 3


@pytest.mark.parametrize("model", ["gpt-4.1-mini", "tiny-llama"])
@pytest.mark.parametrize("limit", [None, 4])
def test_responses(client: openai.OpenAI, model: str, limit: int | None) -> None:
    more: Any = {} if limit is None else {"max_output_tokens": limit}
    whole = client.responses.create(model=model, input="Say something [[sim: reasoning=2 tokens=9]]", **more)
    assert whole.status == ("completed" if limit is None else "incomplete")
    events = list(
        client.responses.create(
            model=model, input="Say something [[sim: reasoning=2 tokens=9]]", stream=True, **more
        )
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last: Any = events[-1]
    assert last.type == ("response.incomplete" if limit and model != "tiny-llama" else "response.completed")
    assert last.response.usage == whole.usage
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == whole.output_text == last.response.output_text
    assert whole.usage is not None
    assert whole.usage.output_tokens == count_tokens(said) + 2


def test_models(client: openai.OpenAI) -> None:
    assert "tiny-llama" in [model.id for model in client.models.list()]


def test_azure_deployments(simulator: Simulator) -> None:
    with openai.AzureOpenAI(azure_endpoint=simulator.url, api_key="k", api_version="2024-10-21") as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=say("Hi"), stream=True)
        first, *rest = list(stream)
    assert first.choices == []
    assert rest[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("model", "text", "kind"),
    [
        ("sim-missing", "Hi", openai.NotFoundError),
        ("gpt-4o", "[[sim: status=429]]", openai.RateLimitError),
        ("tiny-llama", "[[sim: status=500]]", openai.InternalServerError),
        ("gpt-4o", "[[sim: status=403]]", openai.PermissionDeniedError),
        ("tiny-llama", "[[sim: nonsense=1]]", openai.BadRequestError),
        ("gpt-4o", "[[sim: error_after=2]]", openai.InternalServerError),
    ],
)
def test_errors(client: openai.OpenAI, model: str, text: str, kind: type[openai.APIStatusError]) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model=model, messages=say(text))
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"]
    if kind is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "1"


def test_stream_options_are_refused_by_those_who_do(client: openai.OpenAI) -> None:
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(model="mistral-small-latest", messages=say("Hi"), **options)
    assert "stream_options" in caught.value.response.text
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        client.chat.completions.create(
            model="gpt-4o", messages=say("[[sim: reject_stream_options=400]]"), **options
        )


@pytest.mark.parametrize("model", ["gpt-4o", "tiny-llama"])
def test_an_error_in_mid_stream(client: openai.OpenAI, served: Callable[[str], Entry], model: str) -> None:
    stream = client.chat.completions.create(
        model=model, messages=say("[[sim: tokens=9 error_after=3]]"), stream=True
    )
    first = next(stream)
    with pytest.raises(openai.APIError):
        list(stream)
    truth = served(first.id)
    assert (truth.outcome, truth.completion_tokens) == ("error", 3)


def test_the_right_key_and_the_wrong_one() -> None:
    with start_simulator(api_key="right") as simulator:
        for key in ("right", "wrong"):
            with openai.OpenAI(base_url=f"{simulator.url}/v1", api_key=key, max_retries=0) as client:
                if key == "right":
                    assert client.chat.completions.create(model="gpt-4o", messages=say("Hi")).choices
                    continue
                with pytest.raises(openai.AuthenticationError):
                    client.chat.completions.create(model="tiny-llama", messages=say("Hi"))
