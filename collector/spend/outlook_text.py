"""A Forecast as text: a sentence, a table for people, values for programs. Pure.

What was spent is exact; what is expected is an estimate and is shown in whole cents at the finest.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from collector.spend.forecast.month import Past
from collector.spend.outlook import Forecast, Outlook
from collector.spend.render import CURRENCY, line, places_for, shown, width

TOO_FEW = "Too few days are known to say where the month will end."


def dollars(value: float, places: int = 6) -> Decimal:
    return Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)


def forecast_values(made: Forecast) -> dict[str, Any]:
    return {
        "month": f"{made.today:%Y-%m}",
        "timezone": made.zone,
        "as_of": f"{made.as_of:%Y-%m-%dT%H:%M:%SZ}",
        "currency": CURRENCY,
        "missing_hours": made.missing_hours,
        "total": outlook_values(made.total),
        "teams": [{"team": one.name} | outlook_values(one) for one in made.teams],
        "record": [past_values(past) for past in made.total.record],
    }


def outlook_values(one: Outlook) -> dict[str, Any]:
    """What can't be said is null, not zero."""
    found = one.projection
    return {
        "spent_usd": f"{one.spent_usd:f}",
        "filled_usd": f"{dollars(float(one.filled_usd)):f}",
        "expected_usd": f"{dollars(found.expected_usd):f}" if found else None,
        "bands": {
            str(level): {"low_usd": f"{dollars(low):f}", "high_usd": f"{dollars(high):f}"}
            for level, (low, high) in found.bands.items()
        }
        if found
        else None,
        "days_known": found.days_known if found else None,
    }


def past_values(past: Past) -> dict[str, str]:
    money = {
        "expected_usd": past.expected_usd,
        "low80_usd": past.low_usd,
        "high80_usd": past.high_usd,
        "actual_usd": past.actual_usd,
    }
    return {"day": past.day.isoformat()} | {name: f"{dollars(value):f}" for name, value in money.items()}


def record_sentence(record: list[Past]) -> str:
    """How the same method did in the months before; nothing where it could not be tried."""
    if not record:
        return ""
    off = sum(abs(past.expected_usd / past.actual_usd - 1) for past in record) / len(record)
    held = sum(past.low_usd <= past.actual_usd <= past.high_usd for past in record)
    return (
        f"Tried on {len(record)} days of earlier months with only what was known then, it was "
        f"{off * 100:.1f} % off on average; {held} of {len(record)} times the month ended within its range."
    )


def filled_sentence(made: Forecast) -> str:
    cost = dollars(float(made.total.filled_usd), 2)
    return (
        f"{made.missing_hours:,} hours of the last eight weeks have no record. Those of this month probably "
        f"cost about {cost:,f}: that is in what is expected, not in what was spent."
    )


def render_forecast(made: Forecast) -> str:
    head = ["team", "spent", "expected", "80 % from", "to", "95 % from", "to"]
    places = places_for(made.total.spent_usd)
    body = [cells(one, one.name, places) for one in made.teams]
    last = cells(made.total, "TOTAL", places)
    widths = [max(map(width, column)) for column in zip(head, *body, last, strict=True)]
    rule = "  ".join("-" * size for size in widths)
    month_end = f"{made.last:%Y-%m-%d}"
    lines = [f"Spend until {month_end} ({made.zone}), {CURRENCY}", "", line(head, widths, 1), rule]
    lines += [line(one, widths, 1) for one in body] + [rule] * bool(body) + [line(last, widths, 1)]
    return "\n".join(text.rstrip() for text in [*lines, *notes(made)]) + "\n"


def cells(one: Outlook, name: str, places: int) -> list[str]:
    found = one.projection
    figures = [found.expected_usd, *found.bands[80], *found.bands[95]] if found else []
    named = [f"{dollars(value, places):,f}" for value in figures] or ["unknown", *["-"] * 4]
    return [shown(name) or "(none)", f"{one.spent_usd:,.{places}f}", *named]


def notes(made: Forecast) -> list[str]:
    texts = [] if made.total.projection else [TOO_FEW]
    if made.total.filled_usd:
        texts.append(filled_sentence(made))
    if made.teams:
        texts.append("Each team is foreseen by itself: they need not add up to the total.")
    texts += [record_sentence(list(made.total.record))] * bool(made.total.record)
    return ["", *texts] if texts else []
