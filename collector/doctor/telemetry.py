"""Telemetry names: does a call survive its way through a span, with the OpenTelemetry installed here.

Spans are written by our names (ledger/names.py) through the SDK's classes. A newer SDK might not fail
loudly but drop fields; so one made-up call with every field set is sent through and compared.
"""

import os
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from collector.call import Call, Usage
from collector.doctor.finding import Finding, ok, problem
from collector.ledger import names
from collector.ledger.prices import Priced
from collector.ledger.rows import Row, read_attributes, row_of
from collector.ledger.spans import call_span

SOURCE_ID = bytes(range(16))
PRICED = Priced(Decimal("0.000125"), "priced", "doctor")


class TelemetryFact(msgspec.Struct, frozen=True):
    sdk: str
    schema_url: str
    lost: list[str] = []  # columns that did not come back as they went
    failure: str = ""


def gather() -> TelemetryFact:
    try:
        sdk = version("opentelemetry-sdk")
    except PackageNotFoundError:
        sdk = "?"
    call = make_call()
    try:
        went = row_of(call, PRICED, SOURCE_ID)
        came = read_attributes(call_span(call, PRICED, SOURCE_ID))
    except Exception as failure:
        return TelemetryFact(sdk, names.SCHEMA_URL, failure=f"{type(failure).__name__}: {failure}")
    lost = [column for column in Row._fields if getattr(went, column) != getattr(came, column)]
    return TelemetryFact(sdk, names.SCHEMA_URL, lost)


def make_call() -> Call:
    """Every field has a value that is not its default."""
    counts: dict[str, Any] = {field: 10 - at % 7 for at, field in enumerate(Usage.__struct_fields__)}
    texts = {
        field.name: f"doctor-{field.name}" for field in msgspec.structs.fields(Call) if field.type is str
    }
    numbers = {field: 1000 + at for at, field in enumerate(names.TIMES)}
    plain: dict[str, Any] = texts | numbers
    return Call(
        **plain,
        call_id=os.urandom(16),
        started_at_ns=1_700_000_000_000_000_000,
        trace_id=bytes(range(1, 17)),
        parent_span_id=bytes(range(1, 9)),
        stream=True,
        status=200,
        outcome="error",
        attempts=2,
        usage=Usage(**counts),
        usage_source="reported",
        request_bytes=11,
        response_bytes=12,
        content_events=13,
        duration_us=1_000_000,
    )


def judge(fact: TelemetryFact) -> list[Finding]:
    if not fact.lost and not fact.failure:
        text = f"every field of a call survives its span (SDK {fact.sdk}, schema {fact.schema_url})"
        return [ok("telemetry.names", text, sdk=fact.sdk, schema_url=fact.schema_url)]
    said = fact.failure or f"these fields do not survive a span: {', '.join(fact.lost)}"
    why = "What goes to your collector, and what comes from it, would lack them in silence."
    remedy = "install the versions that Sizewise was tested with (pip install --force-reinstall sizewise)"
    text = f"OpenTelemetry SDK {fact.sdk}: {said}"
    return [problem("telemetry.names", text, why, remedy, lost=fact.lost)]
