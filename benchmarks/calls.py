"""Calls as a day of work brings them: seeded, varied, some of them odd."""

import random

import msgspec

from collector.call import Call, Usage

TEAMS = ["search", "support", "research", "billing", "growth", "ünïcode-團隊", ""]
MODELS = [  # upstream, api, provider, operation, model, served model
    ("openai", "openai", "openai", "chat", "gpt-4o", "gpt-4o-2024-08-06"),
    ("openai", "openai", "openai", "chat", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("openai", "openai", "openai", "responses", "gpt-5", "gpt-5"),
    ("openai", "openai", "openai", "embeddings", "text-embedding-3-small", "text-embedding-3-small"),
    ("anthropic", "anthropic", "anthropic", "messages", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    ("anthropic", "anthropic", "anthropic", "messages", "claude-opus-4-1", "claude-opus-4-1-20250805"),
    ("vllm-8b", "openai", "", "chat", "llama-3.1-8b", "llama-3.1-8b"),
    ("openai", "openai", "openai", "chat", "gpt-new-unlisted", "gpt-new-unlisted"),
]
CLIENTS = ["openai-python/2.1.0", "anthropic-sdk/0.71", "curl/8.5.0", "langchain/1.0 (linux; x86_64)"]
FAILURES = [
    ("error", 429, "rate_limit_exceeded"),
    ("error", 500, "server_error"),
    ("client_left", 200, ""),
    ("upstream_cut", 200, ""),
    ("upstream_unreachable", 0, "connect_timeout"),
    ("interrupted", 0, ""),
    ("refused", 404, "no_route"),
]
DAY_NS = 86_400 * 1_000_000_000


def make_calls(count: int, rng: random.Random, *, now_ns: int, days: float = 0.1) -> list[Call]:
    """In the order in which they ended, spread evenly over the days before `now_ns`."""
    step = int(days * DAY_NS / max(count, 1))
    return [make_call(rng, now_ns - (count - number) * step) for number in range(count)]


def make_call(rng: random.Random, started_at_ns: int) -> Call:
    upstream, api, provider, operation, model, served = rng.choices(MODELS, [9, 20, 6, 8, 12, 3, 10, 1])[0]
    stream = operation != "embeddings" and rng.random() < 0.6
    first_us = int(rng.lognormvariate(12.2, 0.6))
    duration_us = first_us + int(rng.lognormvariate(14, 0.9))
    key = int(rng.triangular(0, 60, 0))  # which binds team, project and environment
    team = TEAMS[key % len(TEAMS)]
    whole = Call(
        call_id=call_id(rng, started_at_ns),
        started_at_ns=started_at_ns,
        upstream=upstream,
        api=api,
        provider=provider,
        operation=operation,
        path="/v1/chat/completions",
        team=team,
        project=f"{team}-{key % 4}" if team else "",
        route=f"{model.split('-')[0]}-*",
        environment=["prod", "prod", "staging"][key % 3],
        key_id=f"key_{key:04d}",
        end_user=f"user-{rng.randrange(5000)}" if rng.random() < 0.5 else "",
        trace_id=rng.randbytes(16) if rng.random() < 0.3 else b"",
        request_id=rng.randbytes(12).hex(),
        client=rng.choice(CLIENTS),
        model=model,
        served_model=served,
        service_tier=rng.choices(["default", "priority", ""], [80, 2, 18])[0]
        if api == "openai"
        else "standard",
        fingerprint=f"fp_{rng.randrange(6)}" if provider == "openai" else "",
        response_id=f"chatcmpl-{rng.randbytes(12).hex()}",
        finish_reason=rng.choices(["stop", "length", "tool_calls"], [8, 1, 1])[0],
        stream=stream,
        status=200,
        usage=make_usage(rng, operation, api),
        usage_source="reported",
        request_bytes=rng.randrange(200, 60_000),
        response_bytes=rng.randrange(300, 80_000),
        content_events=rng.randrange(5, 900) if stream else 0,
        first_byte_us=first_us,
        first_content_us=first_us + 90 if stream else None,
        duration_us=duration_us,
        relay_us=rng.randrange(30, 120),
        gap_p50_us=rng.randrange(5_000, 30_000) if stream else None,
        gap_p99_us=rng.randrange(30_000, 90_000) if stream else None,
    )
    return spoil(whole, rng) if rng.random() < 0.05 else whole


def call_id(rng: random.Random, started_at_ns: int) -> bytes:
    value = bytearray((started_at_ns // 1_000_000).to_bytes(6, "big") + rng.randbytes(10))
    value[6], value[8] = 0x70 | value[6] & 0x0F, 0x80 | value[8] & 0x3F
    return bytes(value)


def make_usage(rng: random.Random, operation: str, api: str) -> Usage:
    input_tokens = int(rng.lognormvariate(7, 1.2)) + 1
    if operation == "embeddings":
        return Usage(input_tokens=input_tokens)
    output_tokens = int(rng.lognormvariate(5.5, 1)) + 1
    cached = input_tokens * 3 // 4 if rng.random() < 0.4 else 0
    if api == "anthropic":
        written = rng.randrange(input_tokens - cached) if rng.random() < 0.3 else 0
        hour = written if rng.random() < 0.2 else 0
        return Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=hour,
        )
    reasoning = output_tokens // 2 if rng.random() < 0.2 else 0
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cached,
        reasoning_tokens=reasoning,
    )


def spoil(call: Call, rng: random.Random) -> Call:
    outcome, status, error_type = rng.choice(FAILURES)
    return msgspec.structs.replace(
        call,
        outcome=outcome,
        status=status,
        error_type=error_type,
        usage=None,
        usage_source="unknown",
        usage_problem="no usage came",
        finish_reason="",
        response_id="",
        first_content_us=None,
    )
