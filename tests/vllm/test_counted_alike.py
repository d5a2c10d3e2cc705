"""After every step the ledger's tokens are vLLM's own: nothing is lost on the way to the books."""

from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from benchmarks.harness.product import Product, wait_until
from tests.vllm.conftest import MODEL

pytestmark = pytest.mark.vllm
HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]


def drain(stream: Any) -> None:
    with stream:
        for _ in stream:
            pass


def ask_chat(client: openai.OpenAI, **options: Any) -> None:
    client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=9, **options)


def stream_chat(client: openai.OpenAI, **options: Any) -> None:
    drain(client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=9, stream=True, **options))


def stream_messages(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model=MODEL, max_tokens=8, messages=HELLO) as stream:
        stream.get_final_message()


STEPS: dict[str, Callable[[openai.OpenAI, anthropic.Anthropic], object]] = {
    "chat": lambda o, a: ask_chat(o),
    "chat, JSON": lambda o, a: ask_chat(o, response_format={"type": "json_object"}),
    "chat streamed, usage hidden": lambda o, a: stream_chat(o),
    "chat streamed, usage asked for": lambda o, a: stream_chat(o, stream_options={"include_usage": True}),
    "completion": lambda o, a: o.completions.create(model=MODEL, prompt="One, two", max_tokens=5),
    "completion streamed": lambda o, a: drain(
        o.completions.create(model=MODEL, prompt="One, two", max_tokens=5, stream=True)
    ),
    "responses": lambda o, a: o.responses.create(model=MODEL, input="Hello", max_output_tokens=16),
    "responses streamed": lambda o, a: drain(
        o.responses.create(model=MODEL, input="Hello", max_output_tokens=16, stream=True)
    ),
    "messages": lambda o, a: a.messages.create(model=MODEL, max_tokens=8, messages=HELLO),
    "messages streamed": lambda o, a: stream_messages(a),
}


def ledger(product: Product) -> tuple[int, int, int]:
    """Calls, and the tokens that were reported."""
    (row,) = product.query(
        "SELECT count(*), coalesce(sum(input_tokens), 0)::bigint, coalesce(sum(output_tokens), 0)::bigint"
        " FROM calls WHERE usage_source IN ('reported', 'unknown')"
    )
    return row[0], row[1], row[2]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_counts_alike(product: Product, counted: Callable[[], tuple[int, int]], step: str) -> None:
    openai_client = openai.OpenAI(base_url=f"{product.relay_url}/v1", api_key="x", max_retries=0)
    anthropic_client = anthropic.Anthropic(base_url=product.relay_url, api_key="x", max_retries=0)
    before, told_before = ledger(product), counted()
    with openai_client, anthropic_client:
        STEPS[step](openai_client, anthropic_client)
    wait_until("the call is in the ledger", lambda: ledger(product)[0] == before[0] + 1, 10, 0.1)
    after, told = ledger(product), counted()
    used = after[1] - before[1], after[2] - before[2]
    assert used == (told[0] - told_before[0], told[1] - told_before[1])
    assert min(used) > 0


def test_a_refused_call_used_nothing(product: Product, counted: Callable[[], tuple[int, int]]) -> None:
    before, told_before = ledger(product), counted()
    with (
        openai.OpenAI(base_url=f"{product.relay_url}/v1", api_key="x", max_retries=0) as client,
        pytest.raises(openai.NotFoundError),
    ):
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    wait_until("the call is in the ledger", lambda: ledger(product)[0] == before[0] + 1, 10, 0.1)
    assert ledger(product)[1:] == before[1:]
    assert counted() == told_before
