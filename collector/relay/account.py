"""What an exchange comes to: its facts enter, the varying part of its Call leaves.

`Varying` holds the fields of Call that differ from call to call; the others come from the course. A test
keeps the two apart and together whole.
"""

from operator import sub
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from collector.apis.reading import Reading
from collector.call import Outcome, Usage, UsageSource

if TYPE_CHECKING:
    from collector.relay.exchange import Exchange
    from collector.relay.reply import Reply

_NOTHING = Reading()


class Varying(msgspec.Struct, omit_defaults=True):
    """Fields of Call, with its names, types and defaults."""

    call_id: bytes
    started_at_ns: int
    end_user: str = ""
    request_id: str = ""
    served_model: str = ""
    service_tier: str = ""
    fingerprint: str = ""
    response_id: str = ""
    finish_reason: str = ""
    stream: bool = False
    usage_hidden: bool = False
    status: int = 0
    outcome: Outcome = "ok"
    error_type: str = ""
    attempts: int = 1
    usage: Usage | None = None
    usage_source: UsageSource = "unknown"
    usage_problem: str = ""
    reported_cost_usd: str = ""
    request_bytes: int = 0
    response_bytes: int = 0
    content_events: int = 0
    content_chars: int = 0
    connect_us: int | None = None
    first_byte_us: int | None = None
    first_content_us: int | None = None
    duration_us: int = 0
    relay_us: int | None = None
    gap_p50_us: int | None = None
    gap_p99_us: int | None = None
    queue_us: int | None = None
    engine_us: int | None = None


def settle(exchange: "Exchange", outcome: Outcome | None, error_type: str, status: int) -> Varying:
    """`outcome` None: what the reply itself says. `status`: of an answer of our own."""
    now = perf_counter()
    reply, head = exchange.reply, exchange.head
    started = exchange.started
    reading = reply.read() if reply is not None else _NOTHING
    first_byte_at = exchange.first_byte_at
    varying = Varying(
        exchange.call_id,
        exchange.started_at_ns,
        head.user or exchange.facts.end_user,
        head.request_id,
        reading.model,
        reading.service_tier,
        reading.fingerprint,
        reading.response_id,
        reading.finish_reason,
        exchange.facts.stream,
        False,
        status,
        outcome or _read_outcome(exchange, reading),
        error_type or reading.error_type,
        exchange.tries,
        reading.usage,
        "unknown" if reading.usage is None else "reported",
        reading.usage_problem,
        "",
        exchange.request_bytes,
        exchange.reply_bytes,
        reading.content_events,
        reading.content_chars,
        exchange.connect_us,
        int((first_byte_at - started) * 1e6) if first_byte_at else None,
        None,
        int((now - started) * 1e6),
        int((exchange.relay_s + now - exchange.entered) * 1e6),
    )
    if reply is not None:
        _add_reply(varying, reply, reading, started)
    return varying


def _add_reply(varying: Varying, reply: "Reply", reading: Reading, started: float) -> None:
    head = reply.head
    varying.status = head.status
    varying.usage_hidden = reply.hides
    if not varying.request_id:
        varying.request_id = head.request_id
    if reply.streams:
        varying.stream = True
        times = reply.content_times
        if times:
            varying.first_content_us = int((times[0] - started) * 1e6)
            varying.gap_p50_us, varying.gap_p99_us = measure_gaps(times)
    if reading.reported_cost_usd is not None:
        varying.reported_cost_usd = f"{reading.reported_cost_usd:f}"
    if reading.queue_ms is not None:
        varying.queue_us = int(reading.queue_ms * 1000)
    if reading.engine_ms is not None:
        varying.engine_us = int(reading.engine_ms * 1000)


def _read_outcome(exchange: "Exchange", reading: Reading) -> Outcome:
    reply = exchange.reply
    if exchange.client_gone:
        return "client_left"
    if reply is None or reply.head.status >= 400 or reading.error_type:
        return "error"
    if reply.streams and reply.tap is not None and not reply.tap.terminal:
        return "ok" if reading.usage is not None or reading.finish_reason else "upstream_cut"
    return "ok"


def measure_gaps(times: list[float]) -> tuple[int | None, int | None]:
    """Median and p99 of the time between two pieces with content."""
    if len(times) < 2:
        return None, None
    ordered = sorted(map(sub, times[1:], times))
    last = len(ordered) - 1
    return int(ordered[last // 2] * 1e6), int(ordered[int(last * 0.99)] * 1e6)
