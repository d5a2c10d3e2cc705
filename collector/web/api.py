"""`/api/v1`: the ledger for scripts. Reads only; every error is {"error": {code, message, allowed}}."""

from datetime import date
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

import collector
from collector.errors import SizewiseError
from collector.ledger.shelf import shelf_of
from collector.spend.arithmetic import arithmetic
from collector.spend.bill import bill_values, month_bill
from collector.spend.calls import last_calls, one_call
from collector.spend.estimates import estimates
from collector.spend.invoices import coverage_values, find_coverage
from collector.spend.period import month_of, read_month, shift_month
from collector.spend.render import report_values
from collector.spend.report import report
from collector.spend.unpriced import unpriced_models, unpriced_values
from collector.web.answers import call_values, instant
from collector.web.health import journal_states, ledger_state, readiness
from collector.web.parameters import (
    BadRequest,
    NotFound,
    calls_question,
    read_call_id,
    single_values,
    spend_question,
)
from collector.web.state import Here

router = APIRouter(prefix="/api/v1")


@router.get("/calls")
def calls(request: Request, state: Here) -> dict[str, Any]:
    with state.database.snapshot() as connection:
        question = calls_question(request.query_params.multi_items(), state.zone(connection))
        rows, following = last_calls(
            connection,
            tenant=state.tenant,
            limit=question.limit,
            before=question.before,
            filters=question.filters,
        )
    return {
        "calls": [call_values(row) for row in rows],
        "next": str(following) if following else None,
        "next_url": next_url(request, str(following)) if following else None,
    }


def next_url(request: Request, cursor: str) -> str:
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name != "before"]
    return f"{request.url.path}?{urlencode([*pairs, ('before', cursor)])}"


@router.get("/calls/{call_id}")
def call(call_id: str, state: Here) -> dict[str, Any]:
    wanted = read_call_id(call_id)
    with state.database.snapshot() as connection:
        row = one_call(connection, tenant=state.tenant, call_id=wanted)
    if row is None:
        raise NotFound("no_such_call", f"the ledger has no call {wanted}")
    explained = arithmetic(row)
    parts = [
        {"part": line.title, "quantity": f"{line.quantity:f}", "per": line.unit}
        | {"rate_usd": f"{line.rate_usd:f}", "cost_usd": f"{line.cost_usd:f}"}
        for line in (explained.lines if explained else [])
    ]
    return call_values(row) | {"cost_parts": parts}


@router.get("/spend")
def spend(request: Request, state: Here) -> dict[str, Any]:
    with state.database.snapshot() as connection:
        zone = state.zone(connection)
        question = spend_question(request.query_params.multi_items(), zone, month_of(state.clock(), zone))
        found = report(
            connection,
            tenant=state.tenant,
            period=question.period,
            dimensions=question.dimensions,
            zone=zone,
        )
    return report_values(found)


@router.get("/bill")
def bill(request: Request, state: Here) -> dict[str, Any]:
    """A month with what contracts add to it: unused commitments, credits, chargeback."""
    values = single_values(request.query_params.multi_items(), ("month",))
    book = shelf_of(state.config).read()
    with state.database.snapshot() as connection:
        zone, now = state.zone(connection), state.clock()
        month = values.get("month", month_of(now, zone))
        try:
            made = month_bill(connection, book, tenant=state.tenant, month=month, zone=zone, now=now)
        except SizewiseError as problem:
            raise BadRequest("bad_value", str(problem)) from None
    return bill_values(made)


@router.get("/coverage")
def coverage(request: Request, state: Here) -> dict[str, Any]:
    """How much of a month's invoices the ledger explains, by UTC day and model, and why not the rest."""
    values = single_values(request.query_params.multi_items(), ("month",))
    month = values.get("month", month_of(state.clock(), "UTC"))
    try:
        first, last = (date(*read_month(text), 1) for text in (month, shift_month(month, 1)))
    except SizewiseError as problem:
        raise BadRequest("bad_value", str(problem)) from None
    with state.database.snapshot() as connection:
        found = find_coverage(connection, tenant=state.tenant, first=first, last=last)
    return {"month": month, **coverage_values(found)}


@router.get("/unpriced")
def unpriced(request: Request, state: Here) -> dict[str, Any]:
    """Models that had calls with usage and no price, in a month or between two days; how to price them."""
    with state.database.snapshot() as connection:
        zone = state.zone(connection)
        question = spend_question(request.query_params.multi_items(), zone, month_of(state.clock(), zone))
        start, end = question.period.start, question.period.end
        found = unpriced_models(connection, tenant=state.tenant, start=start, end=end)
    return {"from": instant(start), "to": instant(end), "models": list(map(unpriced_values, found))}


@router.get("/estimates")
def estimated(request: Request, state: Here) -> dict[str, Any]:
    """What rests on estimated tokens in a month or between two days, and how far off estimates are."""
    with state.database.snapshot() as connection:
        zone = state.zone(connection)
        question = spend_question(request.query_params.multi_items(), zone, month_of(state.clock(), zone))
        start, end = question.period.start, question.period.end
        found = estimates(connection, tenant=state.tenant, start=start, end=end)
    return {"from": instant(start), "to": instant(end), "models": found}


@router.get("/status")
def status(state: Here) -> JSONResponse:
    checks = readiness(state)
    body: dict[str, Any] = {
        "version": collector.__version__,
        "now": instant(state.clock()),
        "ready": all(check.ok for check in checks),
        "checks": {check.name: {"ok": check.ok, "reason": check.reason} for check in checks},
        "ledger": None,
        "journals": None,
    }
    if checks[0].ok:
        with state.database.snapshot() as connection:
            body["ledger"] = ledger_state(connection, state.tenant)
            body["journals"] = [one.values() for one in journal_states(connection, state.config.journal.dir)]
    return JSONResponse(body)
