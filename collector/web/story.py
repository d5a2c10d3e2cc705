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

LITTLE_MS, LITTLE_SHARE = 1.0, 0.05
STALL_MS, STALL_TIMES = 500.0, 10


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
    """The call's time from end to end, cut where something happened; what isn't known is not cut.

    connect_ms is how long connecting took, the others are instants. A large body may have come in before it:
    connecting is shown first all the same, so that each phase has its true length and all sum to the call.
    """
    whole = row["duration_ms"]
    if not whole or whole <= 0:
        return []
    content = row["first_content_ms"] if row["stream"] else None
    marks = [
        ("connect", "Connecting to the upstream", row["connect_ms"]),
        ("wait", "Passing the request on, waiting for the first byte", row["first_byte_ms"]),
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
    """Is it the sidecar? Said with its own measured share, or not at all; then who says what of the rest."""
    relay, whole = row["relay_ms"], row["duration_ms"]
    if row["outcome"] == "refused":
        return "Sizewise answered this call itself, so all of its time is ours."
    if relay is None or not whole:
        return "The sidecar's own share of the time was not measured for this call."
    share = percent(round(relay * 1000), round(whole * 1000))
    blamed = relay > max(LITTLE_MS, whole * LITTLE_SHARE)
    took = (
        f"{'Partly' if blamed else 'No'}. The sidecar took {duration(relay)} of {duration(whole)} ({share})"
    )
    return " ".join([f"{took}; {rest(row)}.", *stall(row)])


def rest(row: Mapping[str, Any]) -> str:
    """What is not the sidecar's. The server's own times are its word, and are told as such.

    They are taken off only if they fit into the call: a server may count several answers at once.
    """
    server = row["queue_ms"], row["engine_ms"]
    if server == (None, None):
        return "the rest is the upstream, the network and the client"
    titles = ("queued for", "computed for")
    said = [f"{title} {duration(ms)}" for title, ms in zip(titles, server, strict=True) if ms is not None]
    left = row["duration_ms"] - row["relay_ms"] - sum(ms for ms in server if ms is not None)
    text = f"the server says that it {' and '.join(said)}"
    return (
        f"{text}, the other {duration(left)} are the network, the client and the server's door"
        if left > 0
        else text
    )


def stall(row: Mapping[str, Any]) -> list[str]:
    """A stream that stood still. The relay waits for nobody but the two on its sides."""
    usual, longest = row["gap_p50_ms"], row["gap_p99_ms"]
    if usual is None or longest is None or longest < max(STALL_MS, usual * STALL_TIMES):
        return []
    return [
        f"Its pieces came {duration(usual)} apart, but the slowest after {duration(longest)}: "
        "the upstream paused, or the client read no faster; each piece was passed on as it came."
    ]
