"""The real client libraries, with nothing but their base_url changed, and what the ledger makes of it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anthropic
import genai_prices
import openai
import pytest

from benchmarks.harness.product import Product, wait_until

Find = Callable[[str], dict[str, Any]]
SAY: Any = [{"role": "user", "content": "Say something about tides."}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"where": {"type": "string"}}},
    },
}
SPENT = ("calls", "errors", "input_tokens", "output_tokens")


@pytest.fixture(scope="module")
def openai_client(product: Product) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{product.relay_url}/v1", api_key="sk-x", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(product: Product) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=product.relay_url, api_key="sk-ant-x", max_retries=0) as client:
        yield client


def price(provider: str, model: str, **tokens: int) -> Decimal:
    """By the public list's own arithmetic."""
    usage = genai_prices.Usage(**tokens)
    return genai_prices.calc_price(usage, model, provider_id=provider).total_price


def wish(text: str) -> Any:
    return [{"role": "user", "content": f"Say something. [[sim: {text}]]"}]


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o"])
def test_a_chat(openai_client: openai.OpenAI, told: Find, model: str) -> None:
    reply = openai_client.chat.completions.create(
        model=model, messages=wish("tokens=30 cached=5 reasoning=4")
    )
    usage, call = reply.usage, told(reply.id)
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert (call["input_tokens"], call["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
    assert call["cache_read_tokens"] == usage.prompt_tokens_details.cached_tokens == 5
    assert call["reasoning_tokens"] == 4
    assert (call["model"], call["served_model"]) == (model, reply.model)
    assert (call["outcome"], call["usage_source"], call["stream"]) == ("ok", "reported", False)
    assert Decimal(call["cost_usd"]) == price(
        "openai",
        reply.model,
        input_tokens=usage.prompt_tokens,
        cache_read_tokens=5,
        output_tokens=usage.completion_tokens,
    )


def test_a_stream_whose_client_asks_for_usage(openai_client: openai.OpenAI, told: Find) -> None:
    stream = openai_client.chat.completions.create(
        model="gpt-4o", messages=SAY, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    usage, call = chunks[-1].usage, told(chunks[0].id)
    assert usage is not None
    assert (call["input_tokens"], call["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
    assert Decimal(call["cost_usd"]) == price(
        "openai", chunks[0].model, input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens
    )


def test_a_stream_whose_client_asks_for_nothing(
    openai_client: openai.OpenAI, told: Find, served: Find
) -> None:
    chunks = list(openai_client.chat.completions.create(model="gpt-4o-mini", messages=SAY, stream=True))
    assert all(chunk.choices for chunk in chunks), "a client that asked for no usage event must not see one"
    call, truth = told(chunks[0].id), served(chunks[0].id)
    assert (call["input_tokens"], call["output_tokens"]) == (
        truth["prompt_tokens"],
        truth["completion_tokens"],
    )
    assert call["stream"]
    assert call["first_content_ms"] >= call["first_byte_ms"] > 0
    assert Decimal(call["cost_usd"]) > 0


@pytest.mark.parametrize("stream", [False, True])
def test_tools(openai_client: openai.OpenAI, told: Find, served: Find, stream: bool) -> None:
    asked: Any = {"model": "gpt-4o-mini", "messages": SAY, "tools": [TOOL], "tool_choice": "required"}
    if stream:
        with openai_client.chat.completions.stream(**asked) as events:
            reply: Any = events.get_final_completion()
    else:
        reply = openai_client.chat.completions.create(**asked)
    (used,) = reply.choices[0].message.tool_calls
    assert used.function.name == "look"
    json.loads(used.function.arguments)
    call = told(reply.id)
    assert call["finish_reason"] == "tool_calls"
    assert call["output_tokens"] == served(reply.id)["completion_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_responses(openai_client: openai.OpenAI, told: Find, stream: bool) -> None:
    if stream:
        with openai_client.responses.stream(model="gpt-4o", input="Hello") as events:
            reply: Any = events.get_final_response()
    else:
        reply = openai_client.responses.create(model="gpt-4o", input="Hello")
    call = told(reply.id)
    assert reply.output_text
    assert (call["input_tokens"], call["output_tokens"]) == (
        reply.usage.input_tokens,
        reply.usage.output_tokens,
    )
    assert call["operation"] == "responses"
    assert Decimal(call["cost_usd"]) == price(
        "openai", reply.model, input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens
    )


def test_embeddings(openai_client: openai.OpenAI, product: Product) -> None:
    """They have no id; nobody else in this session embeds anything."""
    reply = openai_client.embeddings.create(model="text-embedding-3-small", input=["one", "and two"])
    assert len(reply.data) == 2
    path = "/api/v1/calls?model=text-embedding-3-small"
    (call,) = wait_until("it is in the ledger", lambda: product.get(path)["calls"], 10)
    assert (call["input_tokens"], call["output_tokens"]) == (reply.usage.prompt_tokens, None)
    tokens = reply.usage.prompt_tokens
    assert Decimal(call["cost_usd"]) == price("openai", reply.model, input_tokens=tokens) > 0


@pytest.mark.parametrize("stream", [False, True])
def test_messages(anthropic_client: anthropic.Anthropic, told: Find, stream: bool) -> None:
    asked: Any = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 99,
        "messages": wish("tokens=20 cached=3 cache_write=4 cache_write_1h=2"),
    }
    if stream:
        with anthropic_client.messages.stream(**asked) as events:
            reply: Any = events.get_final_message()
    else:
        reply = anthropic_client.messages.create(**asked)
    usage, call = reply.usage, told(reply.id)
    read, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    assert (read, written) == (3, 6)
    assert call["input_tokens"] == usage.input_tokens + read + written
    assert (call["cache_read_tokens"], call["cache_write_tokens"]) == (read, written)
    assert call["output_tokens"] == usage.output_tokens == 20
    hour = price("anthropic", reply.model, input_tokens=2, cache_write_tokens=2, cache_write_1h_tokens=2)
    short = price(
        "anthropic",
        reply.model,
        input_tokens=call["input_tokens"] - 2,
        cache_read_tokens=3,
        cache_write_tokens=4,
        output_tokens=20,
    )
    assert Decimal(call["cost_usd"]) == hour + short


def test_errors_reach_the_client_as_they_are(openai_client: openai.OpenAI, product: Product) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        openai_client.chat.completions.create(
            model="gpt-error-429", messages=wish("status=429 retry_after=7")
        )
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.APIError):
        list(
            openai_client.chat.completions.create(
                model="gpt-error-late", messages=wish("tokens=9 error_after=3"), stream=True
            )
        )
    for model, status in (("gpt-error-429", 429), ("gpt-error-late", 200)):
        path = f"/api/v1/calls?model={model}"
        (call,) = wait_until(f"{model} is in the ledger", lambda path=path: product.get(path)["calls"], 10)
        assert (call["outcome"], call["status"]) == ("error", status)
        assert call["error_type"]
        assert not call["cost_usd"] or Decimal(call["cost_usd"]) == 0


def test_errors_of_messages(anthropic_client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.InternalServerError) as failed:
        anthropic_client.messages.create(model="claude-x", max_tokens=9, messages=wish("status=529"))
    body: Any = failed.value.body
    assert body["type"] == "error"


def test_the_report_is_the_sum_of_the_calls(
    openai_client: openai.OpenAI, product: Product, told: Find
) -> None:
    """What the command prints, the API answers and the ledger's rows sum up to is one and the same."""
    told(openai_client.chat.completions.create(model="gpt-4o", messages=SAY).id)
    month = f"{datetime.now(UTC):%Y-%m}"
    ran = product.run("report", "--format", "json", "--by", "model", "--month", month)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    calls: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next_url": "/api/v1/calls?limit=50"}
    while page["next_url"]:
        page = product.get(page["next_url"])
        calls += page["calls"]
    spent = {
        "calls": len(calls),
        "errors": sum(call["outcome"] not in ("ok", "client_left", "interrupted") for call in calls),
        "input_tokens": sum(call["input_tokens"] or 0 for call in calls),
        "output_tokens": sum(call["output_tokens"] or 0 for call in calls),
    }
    assert {name: report["total"][name] for name in SPENT} == spent
    assert Decimal(report["total"]["cost_usd"]) == sum(Decimal(call["cost_usd"] or 0) for call in calls)
    assert report["rows"] == product.get(f"/api/v1/spend?by=model&month={month}")["rows"]
