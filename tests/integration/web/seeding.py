"""A ledger to look at: made-up calls of one and a half months, priced as the recorder prices them.

Seeded, so that every run sees the same. Among them are what real ledgers have: unpriced models, replies
without usage, errors, clients that left, and names that try to be formulas, markup or right-to-left.
"""

import math
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from collector.call import Call, Usage
from collector.ledger.prices import PriceList

SOURCE_ID = uuid.UUID("018f0000-0000-7000-8000-000000000001")
OTHER_SOURCE_ID = uuid.UUID("018f0000-0000-7000-8000-000000000002")
TEAMS = ("search", "support", "research", "growth", "צוות נתונים", "", '=HYPERLINK("x")', "<b>ops</b>")
TEAM_WEIGHTS = (34, 26, 14, 12, 5, 4, 3, 2)
MODELS = (  # upstream, api, provider, operation, model, weight, tokens in, tokens out
    ("openai", "openai", "openai", "chat", "gpt-4o-mini", 34, 1400, 260),
    ("openai", "openai", "openai", "chat", "gpt-4o", 12, 2200, 420),
    ("anthropic", "anthropic", "anthropic", "messages", "claude-haiku-4-5", 22, 5200, 310),
    ("anthropic", "anthropic", "anthropic", "messages", "claude-sonnet-4-5", 9, 8800, 640),
    ("openai", "openai", "openai", "embeddings", "text-embedding-3-small", 12, 600, 0),
    ("vllm-8b", "openai", "", "chat", "meta-llama/Llama-3.1-8B-Instruct", 9, 1800, 350),
    ("openai", "openai", "openai", "chat", "gpt-next-preview", 2, 1500, 300),
)
FIELDS = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"]


def make_calls(count: int, start: datetime, end: datetime, *, seed: int = 7) -> list[Call]:
    chance = random.Random(seed)
    calls = []
    for _ in range(count):
        at = start + (end - start) * chance.random()
        # Weekends are quiet and afternoons are busy: what falls into a quiet hour is often drawn again.
        while chance.random() > (0.25 if at.weekday() >= 5 else 1) * (
            0.35 + 0.65 * math.sin(math.pi * at.hour / 24)
        ):
            at = start + (end - start) * chance.random()
        calls.append(make_call(chance, at))
    return sorted(calls, key=lambda call: call.started_at_ns)


def make_call(chance: random.Random, at: datetime) -> Call:
    upstream, api, provider, operation, model, _, size_in, size_out = chance.choices(
        MODELS, [one[5] for one in MODELS]
    )[0]
    at_ns = round(at.timestamp() * 1_000_000) * 1000
    outcome = chance.choices(
        ("ok", "error", "client_left", "interrupted", "upstream_cut"), (950, 25, 15, 4, 6)
    )[0]
    usage, problem = None, ""
    if outcome == "ok" and chance.random() > 0.006:
        tokens_in = max(8, round(chance.lognormvariate(math.log(size_in), 0.8)))
        cached = (
            chance.choice((None, 0, tokens_in // 2, tokens_in * 4 // 5))
            if operation != "embeddings"
            else None
        )
        usage = Usage(
            input_tokens=tokens_in,
            output_tokens=max(1, round(chance.lognormvariate(math.log(size_out), 0.7))) if size_out else None,
            cache_read_tokens=cached,
            cache_write_tokens=chance.choice((None, tokens_in // 10)) if api == "anthropic" else None,
        )
    elif outcome == "ok":
        problem = "the stream ended without a usage event"
    stream = operation != "embeddings" and chance.random() < 0.6
    first = round(chance.lognormvariate(math.log(350_000), 0.5))
    whole = first + (round(chance.lognormvariate(math.log(1_600_000), 0.7)) if size_out else 40_000)
    return Call(
        call_id=make_id(chance, at_ns),
        started_at_ns=at_ns,
        upstream=upstream,
        api=api,
        provider=provider,
        operation=operation,
        path="/v1/chat/completions",
        team=chance.choices(TEAMS, TEAM_WEIGHTS)[0],
        project=chance.choice(("answers", "tickets", "")),
        environment=chance.choice(("prod", "prod", "staging")),
        key_id=chance.choice(("k_7f3a", "k_11c0", "")),
        end_user=f"user-{chance.randrange(40)}",
        client="OpenAI/Python 1.99.0",
        model=model,
        served_model=f"{model}-2024-07-18"
        if model == "gpt-4o-mini" and outcome == "ok"
        else model
        if usage
        else "",
        stream=stream,
        finish_reason="stop" if usage else "",
        response_id=f"chatcmpl-{chance.randrange(16**12):012x}",
        status={"error": chance.choice((429, 500, 400)), "interrupted": 0}.get(outcome, 200),
        outcome=outcome,  # type: ignore[arg-type]
        error_type="rate_limit_error" if outcome == "error" else "",
        usage=usage,
        usage_source="reported" if usage else "unknown",
        usage_problem=problem,
        request_bytes=chance.randrange(400, 40_000),
        response_bytes=chance.randrange(300, 9_000),
        content_events=chance.randrange(20, 400) if stream else 0,
        connect_us=chance.choice((None, None, 21_000)),
        first_byte_us=first,
        first_content_us=first + 9_000 if stream else None,
        duration_us=whole,
        relay_us=chance.randrange(90, 420),
        gap_p50_us=11_000 if stream else None,
        gap_p99_us=48_000 if stream else None,
    )


def make_id(chance: random.Random, at_ns: int) -> bytes:
    value = (
        (at_ns // 1_000_000) << 80
        | 0x7 << 76
        | chance.getrandbits(12) << 64
        | 0b10 << 62
        | chance.getrandbits(62)
    )
    return value.to_bytes(16, "big")


def insert_calls(
    connection: psycopg.Connection[Any], calls: Sequence[Call], *, zone: str = "UTC", tenant: str = "default"
) -> None:
    """Rows of calls, price versions, rollups: as the recorder leaves them, by the plainest statements."""
    prices = PriceList()
    rows = [row_of(call, prices, tenant) for call in calls]
    if not rows:
        return
    make_partitions(connection, rows[0]["started_at"], rows[-1]["started_at"])
    names = list(rows[0])
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO calls ({', '.join(names)}) VALUES ({', '.join(f'%({name})s' for name in names)})",
            rows,
        )
        cursor.executemany(
            "INSERT INTO price_versions (price_id, provider, model, origin, rates)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(v.price_id, v.provider, v.model, v.origin, Jsonb(v.rates)) for v in prices.versions.values()],
        )
        cursor.execute(
            "INSERT INTO settings (name, value) VALUES ('reporting_zone', %s)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [zone],
        )
        for table, unit in (("rollup_hours", "hour"), ("rollup_days", "day")):
            cursor.execute(f"DELETE FROM {table}")
            cursor.execute(ROLLUP.format(table=table, unit=unit), {"zone": zone})
    connection.commit()


ROLLUP = """
    INSERT INTO {table}
    SELECT source_id, date_trunc('{unit}', started_at, %(zone)s), tenant_id, team, provider,
        coalesce(nullif(served_model, ''), model), count(*),
        count(*) FILTER (WHERE outcome IN ('error', 'upstream_cut', 'upstream_unreachable', 'refused')),
        count(*) FILTER (WHERE outcome = 'interrupted'),
        count(*) FILTER (WHERE price_state = 'unpriced'),
        count(*) FILTER (WHERE price_state = 'unknown_usage'),
        coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cache_read_tokens), 0),
        coalesce(sum(cache_write_tokens), 0), coalesce(sum(reasoning_tokens), 0), coalesce(sum(cost_usd), 0)
    FROM calls GROUP BY 1, 2, 3, 4, 5, 6"""


def make_partitions(connection: psycopg.Connection[Any], first: datetime, last: datetime) -> None:
    from collector.store.partitions import ensure_partitions

    ensure_partitions(connection, first.date(), last.date())


def row_of(call: Call, prices: PriceList, tenant: str) -> dict[str, Any]:
    priced = prices.price(call)
    usage = msgspec.structs.asdict(call.usage) if call.usage else {}
    rare = {name: value for name, value in usage.items() if name not in FIELDS and value is not None}
    same = [
        "upstream",
        "api",
        "provider",
        "operation",
        "zone",
        "team",
        "project",
        "route",
        "environment",
        "key_id",
        "end_user",
        "unit",
        "request_id",
        "client",
        "model",
        "served_model",
        "service_tier",
        "fingerprint",
        "response_id",
        "finish_reason",
        "stream",
        "status",
        "outcome",
        "error_type",
        "attempts",
        "usage_source",
        "usage_problem",
        "request_bytes",
        "response_bytes",
        "content_events",
    ]
    times = [
        "duration",
        "connect",
        "first_byte",
        "first_content",
        "relay",
        "gap_p50",
        "gap_p99",
        "queue",
        "engine",
    ]
    return {
        "source_id": SOURCE_ID if call.call_id[-1] % 2 else OTHER_SOURCE_ID,
        "started_at": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=call.started_at_ns // 1000),
        "call_id": uuid.UUID(bytes=call.call_id),
        "tenant_id": tenant,
        **{name: getattr(call, name) for name in same},
        **{name: usage.get(name) for name in FIELDS},
        "other_usage": Jsonb(rare) if rare else None,
        "cost_usd": priced.cost_usd,
        "price_state": priced.price_state,
        "price_id": priced.price_id or None,
        **{f"{name}_ms": milliseconds(getattr(call, f"{name}_us")) for name in times},
    }


def milliseconds(us: int | None) -> float | None:
    return None if us is None else us / 1000


def total_cost(calls: Sequence[Call]) -> Decimal:
    prices = PriceList()
    return sum((prices.price(call).cost_usd or Decimal(0) for call in calls), Decimal(0))
