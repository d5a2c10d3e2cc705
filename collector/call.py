"""The datum: one call to a model, as the relay saw it and as the journal keeps it.

A Call is written once and never changed. Whatever is not known is None or "": absent is not zero.
Money is not in it: the price is found by `record`, so that the relay needs no price list.
"""

import os
import random
import time
import uuid
from typing import Literal

import msgspec

UsageSource = Literal["reported", "derived", "estimated", "unknown"]
Outcome = Literal[
    "ok",  # the terminal event or the last byte of a 2xx reply was passed on
    "error",  # the upstream answered with an error (status, or an error event in a stream)
    "client_left",  # the client went away before the end
    "upstream_cut",  # the upstream broke off in mid-reply
    "upstream_unreachable",  # no reply came (refused, timed out, TLS failed)
    "refused",  # Sizewise itself answered (no such route, a cap, a bad request)
    "interrupted",  # the relay was killed while the call was under way
]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an API says it used, in one convention for all of them.

    input_tokens INCLUDES cache reads and cache writes; output_tokens INCLUDES reasoning. APIs that count
    otherwise are converted by their reader. Every field may be absent (None), and absent is not zero.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None  # all cache writes, whatever their lifetime
    cache_write_1h_tokens: int | None = None  # those of cache_write_tokens kept for an hour
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    cache_audio_read_tokens: int | None = None
    input_image_tokens: int | None = None
    output_image_tokens: int | None = None
    web_searches: int | None = None
    tool_uses: int | None = None
    images: int | None = None
    audio_seconds: float | None = None
    search_units: int | None = None  # what a reranker bills: a query with its documents


class Call(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One billable attempt of one request to a model route."""

    call_id: bytes  # 16 bytes, UUIDv7
    started_at_ns: int  # wall clock, nanoseconds since 1970

    # to whom
    upstream: str = ""  # the name in the config
    api: str = ""  # openai, anthropic, ...: the family of the endpoint that was called
    provider: str = ""  # whose price list applies; "" for a server of one's own
    operation: str = ""  # chat, text_completion, embeddings, responses, messages, ...
    zone: str = ""
    path: str = ""  # without the query string

    # for whom
    tenant: str = "default"
    team: str = ""
    project: str = ""
    route: str = ""
    environment: str = ""
    key_id: str = ""
    end_user: str = ""
    unit: str = ""
    trace_id: bytes = b""  # 16 bytes when a traceparent came along
    parent_span_id: bytes = b""  # 8 bytes
    idempotency_key: str = ""  # a keyed hash, never the key
    request_id: str = ""  # the client's x-request-id
    client: str = ""  # user agent, cut to 120 characters

    # what
    model: str = ""  # as asked for
    served_model: str = ""  # as the reply says
    service_tier: str = ""  # as served
    fingerprint: str = ""
    response_id: str = ""
    finish_reason: str = ""
    stream: bool = False
    usage_hidden: bool = False  # we asked for the usage event and hid it from the client

    # how it went
    status: int = 0  # what the client got: the upstream's, or that of our own answer; 0 when it got none
    outcome: Outcome = "ok"
    error_type: str = ""
    attempts: int = 1  # connections tried for this one call (a stale pooled one is retried once)

    # how much
    usage: Usage | None = None
    usage_source: UsageSource = "unknown"
    usage_problem: str = ""  # why usage is unknown, derived or estimated
    reported_cost_usd: str = ""  # what the upstream itself says it charged, a decimal; for comparison
    request_bytes: int = 0
    response_bytes: int = 0
    content_events: int = 0  # events that carried content, in a stream
    content_chars: int = 0  # characters of content in those events, where they were counted

    # how long, in microseconds from started_at
    connect_us: int | None = None  # a new connection to the upstream; None when a pooled one was used
    first_byte_us: int | None = None
    first_content_us: int | None = None
    duration_us: int = 0
    relay_us: int | None = None  # the relay's own share of duration_us
    gap_p50_us: int | None = None  # between content events of a stream
    gap_p99_us: int | None = None
    queue_us: int | None = None  # as the server itself reports them
    engine_us: int | None = None


# Ids need to be unique, not secret, and must cost no system call each; a forked child gets a seed of its own.
_random = random.Random(os.urandom(32))  # noqa: S311
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def new_call_id(now_ns: int) -> bytes:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random; sorts by time, needs no coordination."""
    noise = _random.getrandbits(74)
    high = (now_ns // 1_000_000 & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | 0b10 << 62
    return (high | (noise >> 62) << 64 | noise & 0x3FFF_FFFF_FFFF_FFFF).to_bytes(16, "big")


def call_uuid(call_id: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=call_id)


def now_ns() -> int:
    return time.time_ns()
