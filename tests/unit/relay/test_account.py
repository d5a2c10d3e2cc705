"""The two parts of a Call, which must be the whole of it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from collector.call import Call, new_call_id
from collector.journal.record import HEADER_BYTES, decode, encode_about, encode_parts
from collector.plan import Plan, UpstreamPlan
from collector.relay.account import Varying, measure_gaps
from collector.relay.courses import describe
from collector.relay.request_head import parse_request_head
from collector.relay.routes import Target

OF_CALL = {field.name: field for field in msgspec.structs.fields(Call)}
UPSTREAM = UpstreamPlan(name="up", host="h", port=1, provider="openai", zone="eu", base_path="/base")
HEAD = parse_request_head(
    b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: ua\r\nx-sizewise-team: blue\r\n"
    b"x-sizewise-project: p\r\nx-sizewise-environment: e\r\nx-sizewise-unit: n\r\nx-sizewise-user: who\r\n"
    b"x-request-id: r\r\ntraceparent: 00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01\r\n\r\n"
)
CALL = describe(
    HEAD, "m", Target(UPSTREAM, HEAD.path, None), Plan(journal_dir="", upstreams=[], routes=[]), "k"
)


def test_what_varies_are_fields_of_a_call() -> None:
    for field in msgspec.structs.fields(Varying):
        of_call = OF_CALL[field.name]
        assert (field.name, field.type, field.default) == (of_call.name, of_call.type, of_call.default)


def test_the_parts_share_no_field_and_leave_none_out() -> None:
    varying = {field.name for field in msgspec.structs.fields(Varying)}
    described = {
        name
        for name, field in OF_CALL.items()
        if getattr(CALL, name) != field.default and name not in ("call_id", "started_at_ns")
    }
    assert not varying & described
    # Nobody fills these yet: no key is looked up, and the tenant of this plan is the default one.
    assert set(OF_CALL) - varying - described == {"key_id", "tenant"}


def test_the_parts_make_the_call() -> None:
    call_id = new_call_id(5)
    varying = Varying(call_id, 5, end_user="who", status=200, duration_us=7, outcome="client_left")
    frame = encode_parts(encode_about(CALL), varying)
    whole = msgspec.structs.replace(CALL, **msgspec.structs.asdict(varying))
    assert decode(frame[HEADER_BYTES:]) == whole
    assert (whole.team, whole.upstream, whole.path) == ("blue", "up", "/v1/chat/completions")


@given(st.lists(st.integers(0, 10_000_000), max_size=200))
def test_percentiles_are_gaps_that_were(gaps_us: list[int]) -> None:
    times, now = [1.0], 1.0
    for gap_us in gaps_us:
        times.append(now := now + gap_us / 1e6)
    median, p99 = measure_gaps(times)
    if not gaps_us:
        assert (median, p99) == (None, None)
    else:
        assert median is not None
        assert p99 is not None
        near = {gap_us + rounding for gap_us in gaps_us for rounding in (-1, 0, 1)}
        assert {median, p99} <= near
        assert sum(gap_us <= median + 1 for gap_us in gaps_us) * 2 >= len(gaps_us)
        assert sum(gap_us <= p99 + 1 for gap_us in gaps_us) >= 0.98 * len(gaps_us) - 1
