"""The real anthropic library against the simulator."""

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from collector.simulator import Entry, Simulator
from collector.simulator.tokens import count_tokens

# A name that the library does not warn about.
MODEL = "claude-simulated"


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=simulator.url, api_key="k", max_retries=0) as made:
        yield made


def say(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("model", [MODEL, "tiny-llama"])
@pytest.mark.parametrize("limit", [500, 6])
def test_streamed_equals_whole(
    client: anthropic.Anthropic, served: Callable[[str], Entry], model: str, limit: int
) -> None:
    wish = say("Hello [[sim: tokens=20 cached=3 cache_write=4 cache_write_1h=2]]")
    whole = client.messages.create(model=model, max_tokens=limit, messages=wish)
    with client.messages.stream(model=model, max_tokens=limit, messages=wish) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].to_dict() == whole.content[0].to_dict()
    assert streamed.usage == whole.usage
    assert whole.stop_reason == ("end_turn" if limit == 500 else "max_tokens")
    said: Any = whole.content[0]
    assert whole.usage.output_tokens == count_tokens(said.text) == min(20, limit)
    for reply in (whole, streamed):
        truth = served(reply.id)
        usage = reply.usage
        outside = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        assert truth.prompt_tokens == usage.input_tokens + outside
        assert truth.completion_tokens == usage.output_tokens
    if model == MODEL:
        assert (whole.usage.cache_read_input_tokens, whole.usage.cache_creation_input_tokens) == (3, 6)
        assert whole.usage.cache_creation is not None
        assert whole.usage.cache_creation.ephemeral_1h_input_tokens == 2


def test_tools_are_used(client: anthropic.Anthropic) -> None:
    tools: Any = [
        {"name": "look", "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}}}
    ]
    asked: Any = {"model": MODEL, "max_tokens": 99, "messages": say("Look"), "tools": tools}
    whole = client.messages.create(**asked, tool_choice={"type": "any"})
    with client.messages.stream(**asked, tool_choice={"type": "any"}) as stream:
        streamed = stream.get_final_message()
    assert whole.stop_reason == streamed.stop_reason == "tool_use"
    one, other = whole.content[0], streamed.content[0]
    assert one.type == other.type == "tool_use"
    assert one.input == other.input
    assert list(one.input) == ["where"]


def test_counted_tokens_are_those_of_the_message(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model=MODEL, messages=say("One two three"), system="Four")
    message = client.messages.create(model=MODEL, max_tokens=1, messages=say("One two three"), system="Four")
    assert counted.input_tokens == message.usage.input_tokens == 3 + 4 + 1 + 4 + 3


@pytest.mark.parametrize(
    ("model", "text", "kind", "name"),
    [
        (MODEL, "[[sim: status=529]]", anthropic.InternalServerError, "overloaded_error"),
        (MODEL, "[[sim: status=429 retry_after=7]]", anthropic.RateLimitError, "rate_limit_error"),
        ("sim-missing", "Hi", anthropic.NotFoundError, "not_found_error"),
        (MODEL, "[[sim: nonsense=1]]", anthropic.BadRequestError, "invalid_request_error"),
    ],
)
def test_errors(
    client: anthropic.Anthropic, model: str, text: str, kind: type[anthropic.APIStatusError], name: str
) -> None:
    with pytest.raises(kind) as caught:
        client.messages.create(model=model, max_tokens=5, messages=say(text))
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == name
    if kind is anthropic.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "7"


def test_an_error_in_mid_stream(client: anthropic.Anthropic) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="overloaded_error"),
        client.messages.stream(
            model=MODEL, max_tokens=50, messages=say("[[sim: tokens=9 error_after=3]]")
        ) as stream,
    ):
        stream.get_final_message()
