"""Calls as anything may send them: every field by chance, within its type."""

import pytest
from hypothesis import strategies as st
from msgspec.structs import fields

from collector.call import Call, Usage

texts = st.text(max_size=12)
counts = st.none() | st.integers(0, 2**40)
USAGES = st.builds(
    Usage,
    **{name: counts for name in Usage.__struct_fields__ if name != "audio_seconds"},
    audio_seconds=st.none() | st.floats(0, 1e6),
)
FIXED = {
    "call_id": st.binary(min_size=16, max_size=16).filter(lambda value: any(value[8:])),
    "started_at_ns": st.integers(1_700_000_000 * 10**9, 1_900_000_000 * 10**9),
    "provider": st.sampled_from(["", "openai", "anthropic", "nobody"]),
    "model": st.sampled_from(["gpt-4o", "claude-sonnet-4-5", "x"]),
    "outcome": st.sampled_from(["ok", "error", "client_left", "upstream_cut", "refused", "interrupted"]),
    "status": st.sampled_from([0, 200, 404, 500]),
    "trace_id": st.just(b"") | st.binary(min_size=16, max_size=16).filter(any),
    "parent_span_id": st.just(b"") | st.binary(min_size=8, max_size=8).filter(any),
    "usage": st.none() | USAGES,
    "usage_source": st.sampled_from(["reported", "derived", "estimated", "unknown"]),
    "attempts": st.integers(1, 3),
}
BY_TYPE = {str: texts, bool: st.booleans(), int: st.integers(0, 2**30), int | None: counts}
CALLS = st.builds(
    Call, **{field.name: BY_TYPE[field.type] for field in fields(Call) if field.name not in FIXED}, **FIXED
)


@pytest.fixture
def whole_call():
    return Call(
        call_id=bytes(range(16)),
        started_at_ns=1_790_000_000_123_456_789,
        upstream="anthropic",
        api="anthropic",
        provider="anthropic",
        operation="messages",
        model="claude-sonnet-4-5",
        served_model="claude-sonnet-4-5-20250929",
        team="search",
        trace_id=b"t" * 16,
        parent_span_id=b"p" * 8,
        status=200,
        stream=True,
        finish_reason="end_turn",
        usage=Usage(input_tokens=10, output_tokens=0, cache_write_tokens=4, web_searches=1),
        usage_source="reported",
        first_content_us=250_000,
        duration_us=1_000_000,
    )
