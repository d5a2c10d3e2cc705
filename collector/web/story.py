"""What became of one call, said in words and as parts of its time. Pure: a row comes in, sentences leave."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collector.web.figures import duration, percent

OUTCOMES = {
    "ok": ("Answered", "The whole reply was passed on."),
    "error": ("Error", "The upstream answered with an error."),
    "client_left": ("Client left", "The client went away before the end of the reply."),
    "upstream_cut": ("Cut off", "The upstream broke off in the middle of its reply."),
    "upstream_unreachable": ("Unreachable", "No reply came from the upstream."),
    "refused": ("Refused", "Sizewise answered itself; nothing was sent to the upstream."),
    "interrupted": (
        "Interrupted",
        "The relay was stopped while the call was under way: its end is not known.",
    ),
}
PRICE_STATES = {
    "priced": "",
    "free": "free of charge",
    "unpriced": "unpriced",
    "unknown_usage": "unknown usage",
    "not_billed": "not billed",
}
PRICE_REASONS = {
    "free": "The price list says that this model is free.",
    "unpriced": "The tokens are known, but no price for this model. The call is in no total.",
    "unknown_usage": "The reply did not say how many tokens it used, so its cost is not known.",
    "not_billed": "No provider bills a call that came to nothing.",
}
USAGE_SOURCES = {
    "reported": "as the upstream reported them",
    "derived": "derived from what the upstream reported",
    "estimated": "an estimate",
    "unknown": "not known",
}


@dataclass(frozen=True, slots=True)
class Phase:
    name: str  # also the class that colours it
    title: str
    ms: float
    x: float  # in percent of the call's time
    width: float


def outcome_title(outcome: str) -> str:
    return OUTCOMES[outcome][0] if outcome in OUTCOMES else outcome


def phases(row: Mapping[str, Any]) -> list[Phase]:
    """The call's time from end to end, cut where something happened; what isn't known is not cut."""
    whole = row["duration_ms"]
    if not whole or whole <= 0:
        return []
    content = row["first_content_ms"] if row["stream"] else None
    marks = [
        ("connect", "Connecting to the upstream", row["connect_ms"]),
        ("wait", "Waiting for the first byte", row["first_byte_ms"]),
        ("content", "Until the first content", content),
        ("rest", "Content, to the end" if content is not None else "To the end", whole),
    ]
    found: list[Phase] = []
    began = 0.0
    for name, title, mark in marks:
        if mark is None or mark < began or mark > whole:
            continue
        ms = mark - began
        found.append(Phase(name, title, ms, round(began * 100 / whole, 3), round(ms * 100 / whole, 3)))
        began = mark
    return [phase for phase in found if phase.ms > 0]


def verdict(row: Mapping[str, Any]) -> str:
    """Is it the sidecar? Said with its own measured share, or not at all."""
    relay, whole = row["relay_ms"], row["duration_ms"]
    if row["outcome"] == "refused":
        return "Sizewise answered this call itself, so all of its time is ours."
    if relay is None or not whole:
        return "The sidecar's own share of the time was not measured for this call."
    share = percent(round(relay * 1000), round(whole * 1000))
    if relay <= max(1.0, whole * 0.05):
        rest = "the rest is the upstream and the network"
        return f"No. The sidecar took {duration(relay)} of {duration(whole)} ({share}); {rest}."
    return f"Partly. The sidecar took {duration(relay)} of {duration(whole)} ({share})."
