"""Pages for people, rendered on the server: the state stands in the URL, nothing needs JavaScript."""

import hashlib
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from psycopg import Connection

import collector
from collector.errors import SizewiseError
from collector.spend.actual import SpendRow, spend_by, total
from collector.spend.arithmetic import arithmetic
from collector.spend.calls import last_calls, one_call
from collector.spend.period import Period, days_of, month_of, month_period, read_month, shift_month
from collector.spend.report import gaps
from collector.web import story
from collector.web.charts import DayChart, band, day_chart
from collector.web.figures import FILTERS, places_for
from collector.web.parameters import (
    CALLS_PARAMETERS,
    OUTCOMES,
    PRICE_STATES,
    BadRequest,
    NotFound,
    calls_question,
    read_call_id,
    single_values,
)
from collector.web.state import Here, State

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
STATIC = Path(__file__).parent / "static"


def digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def make_templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("collector.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= FILTERS | {"outcome_title": story.outcome_title}
    templates.globals |= {
        "version": collector.__version__,
        "style": f"/static/style.css?v={digest('style.css')}",
        "story": story,
        "read_month": read_month,
    }
    return templates


TEMPLATES = make_templates()


def page(name: str, http_status: int = 200, /, **values: Any) -> HTMLResponse:
    return HTMLResponse(TEMPLATES.get_template(name).render(values), http_status)


@router.get("/")
def month_page(request: Request, state: Here) -> HTMLResponse:
    values = single_values(request.query_params.multi_items(), ("month",))
    with state.database.snapshot() as connection:
        zone = state.zone(connection)
        this_month = month_of(state.clock(), zone)
        month = values.get("month") or this_month
        try:
            period = month_period(month, zone)
        except SizewiseError as problem:
            raise BadRequest("bad_value", str(problem)) from None
        shown = month_values(connection, state, period, zone)
        shown["outlook"] = outlook_values(connection, state, zone) if month == this_month else None
        filters = {"from": period.start, "to": period.end}
        calls, more = last_calls(connection, tenant=state.tenant, limit=12, filters=filters)
        newest, _ = (calls, None) if calls else last_calls(connection, tenant=state.tenant, limit=1)
    return page(
        "month.html",
        place="spend",
        month=month,
        this_month=this_month,
        previous=shift_month(month, -1),
        following=shift_month(month, 1) if month < this_month else None,
        zone=zone,
        now=state.clock(),
        calls=calls,
        more=more is not None,
        ever=bool(newest),
        span={"from": f"{month}-01", "to": f"{shift_month(month, 1)}-01"},
        relay=state.config.relay.listen,
        **shown,
    )


def month_values(connection: Connection[Any], state: State, period: Period, zone: str) -> dict[str, Any]:
    ask = partial(spend_by, connection, tenant=state.tenant, start=period.start, end=period.end, zone=zone)
    models, teams, days = (
        ask(dimensions=("provider", "model")),
        ask(dimensions=("team",)),
        ask(dimensions=("day",)),
    )
    whole = total(models)
    places = places_for(whole.cost_usd)
    return {
        "total": whole,
        "gaps": gaps(models),
        "models": models,
        "teams": teams,
        "days": days,
        "places": places,
        "charts": charts(days, period, zone, state.clock()),
        "largest_model": largest(models),
        "largest_team": largest(teams),
    }


def outlook_values(connection: Connection[Any], state: State, zone: str) -> dict[str, Any] | None:
    """Where this month will end; None where nobody can say."""
    made = state.outlooks.of(connection, state.tenant, zone, state.clock())
    if made is None or made.total.projection is None or not made.total.projection.expected_usd:
        return None
    # Heavy, and loaded by now: to make an outlook is what loads it.
    from collector.spend.outlook_text import dollars, filled_sentence, record_sentence

    found = made.total.projection
    expected = dollars(found.expected_usd)
    low, high = map(dollars, found.bands[80])
    return {
        "last": made.last,
        "expected": expected,
        "low": low,
        "high": high,
        "places": 0 if expected >= 1000 else 2 if expected >= 1 else places_for(expected),
        "band": band(made.total.spent_usd, low, expected, high),
        "record": record_sentence(list(made.total.record)),
        "filled": filled_sentence(made) if made.total.filled_usd else "",
        "as_of": made.as_of,
    }


def largest(rows: list[SpendRow]) -> Decimal:
    return max((row.cost_usd for row in rows), default=Decimal(0))


def charts(rows: list[SpendRow], period: Period, zone: str, now: datetime) -> list[DayChart]:
    days = days_of(period, zone)
    known = {day.isoformat(): day for day in days}
    costs = {known[row.names[0]]: row.cost_usd for row in rows if row.names[0] in known}
    today = now.astimezone(ZoneInfo(zone)).date()
    return [
        day_chart("wide", days, costs, today, width=1040, height=220),
        day_chart("narrow", days, costs, today, width=358, height=190),
    ]


@router.get("/calls")
def calls_page(request: Request, state: Here) -> HTMLResponse:
    # A form sends every field, the empty ones too: those are not filters.
    pairs = [(name, value) for name, value in request.query_params.multi_items() if value]
    with state.database.snapshot() as connection:
        zone = state.zone(connection)
        question = calls_question(pairs, zone)
        rows, following = last_calls(
            connection,
            tenant=state.tenant,
            limit=question.limit,
            before=question.before,
            filters=question.filters,
        )
    kept = [(name, value) for name, value in pairs if name != "before"]
    return page(
        "calls.html",
        place="calls",
        calls=rows,
        zone=zone,
        now=state.clock(),
        chosen={name: dict(kept).get(name, "") for name in CALLS_PARAMETERS},
        filtered=bool(question.filters),
        older=f"/calls?{urlencode([*kept, ('before', str(following))])}" if following else None,
        newest=f"/calls?{urlencode(kept)}" if question.before else None,
        outcomes=OUTCOMES,
        price_states=PRICE_STATES,
        relay=state.config.relay.listen,
    )


@router.get("/calls/{call_id}")
def call_page(call_id: str, state: Here) -> HTMLResponse:
    wanted = read_call_id(call_id)
    with state.database.snapshot() as connection:
        zone = state.zone(connection)
        row = one_call(connection, tenant=state.tenant, call_id=wanted)
    if row is None:
        raise NotFound("no_such_call", "The ledger has no such call. It may have been dropped with age.")
    return page(
        "call.html",
        place="calls",
        call=row,
        zone=zone,
        now=state.clock(),
        sums=arithmetic(row),
        phases=story.phases(row),
    )


def problem_page(request: Request, status: int, title: str, message: str, allowed: list[str]) -> HTMLResponse:
    again = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return page(
        "problem.html",
        status,
        place="",
        title=title,
        message=message[:1].upper() + message[1:].rstrip(".") + ".",
        allowed=allowed,
        status=status,
        again=again,
    )
