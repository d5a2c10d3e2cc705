"""Which calls stand behind what was seen: each once, whoever saw it, in whatever order it was told.

Enter: sightings that belong together, and what relays recorded of them. Leave: the calls that only spans tell
of. Pure, and the same for any order of what enters; so every order of arrival ends in the same ledger.

Two views are of one call when one is an ancestor of the other in the trace, or when both name the same reply
at about the same time. Of several views
1. the relay's record is the best: it measured, and knows for whom;
2. then the application's innermost span (a framework's around a library's is the same call);
3. then the model server's, which knows its tokens, but neither the model nor for whom. Its sequences (n > 1)
   have one id and each counts the whole prompt; attempts within one application's span are calls each.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from collector.call import Call, Usage
from collector.ledger.sightings import Sighting, make_call_id

Key = tuple[bytes, bytes]  # trace, span

SLACK_NS = 120 * 1_000_000_000  # how far two machines' clocks may be apart
SAME_START_NS = 1_000_000_000  # sequences of one request start together
SHORTEST_ID = 16  # some servers draw the ids of their replies from a thousand


class Relayed(NamedTuple):
    """A call that a relay recorded."""

    trace_id: bytes  # b"" where the client sent none
    span_id: bytes
    parent_id: bytes
    response_id: str
    started_at_ns: int
    ended_at_ns: int


class Found(NamedTuple):
    """Clients that count, and what each came to be: itself, a view of another, or recorded by a relay."""

    clients: dict[Key, Sighting]
    stands_for: dict[Key, Key | None]  # None: a relay's record does


def settle(sightings: Sequence[Sighting], relayed: Sequence[Relayed]) -> list[Call]:
    seen = sorted(sightings, key=lambda one: (one.started_at_ns, one.key))
    parents = {one.key: one.parent_id for one in seen}
    parents |= {(one.trace_id, one.span_id): one.parent_id for one in relayed if one.trace_id}
    recorded = find_recorded(seen, relayed, parents)
    found = sort_out([one for one in seen if one.kind == "client"], recorded, parents)
    attempts: dict[Key, list[Call]] = {key: [] for key in found.clients}
    calls = []
    for sequences in group([one for one in seen if one.kind == "server"]):
        owner = find_owner(sequences, recorded, found, parents)
        if owner == UNOWNED:
            calls.append(merge(sequences))
        elif owner in attempts:
            attempts[owner].append(merge(sequences))
    for key, served in attempts.items():
        calls += tell(found.clients[key].call, served)
    return sorted(calls, key=lambda call: call.call_id)


def ancestors(key: Key, parents: dict[Key, bytes]) -> Iterator[Key]:
    """Beginning with the parent; a trace with a loop in it ends, too."""
    trace_id, passed = key[0], {key}
    while parent := parents.get(key, b""):
        key = trace_id, parent
        if key in passed:
            return
        passed.add(key)
        yield key


def find_recorded(
    seen: Sequence[Sighting], relayed: Sequence[Relayed], parents: dict[Key, bytes]
) -> set[Key]:
    """The spans whose call a relay recorded: its own, what is above them, and views of the same reply."""
    recorded: set[Key] = set()
    for one in relayed:
        if one.trace_id:
            key = one.trace_id, one.span_id
            recorded.update((key, *ancestors(key, parents)))
    by_reply: dict[str, list[Relayed]] = {}
    for one in relayed:
        by_reply.setdefault(one.response_id, []).append(one)
    for sighting in seen:
        same = by_reply.get(sighting.response_id, []) if is_telling(sighting.response_id) else []
        if sighting.kind == "relayed" or any(near(sighting, one) for one in same):
            recorded.update((sighting.key, *ancestors(sighting.key, parents)))
    return recorded


def sort_out(clients: Sequence[Sighting], recorded: set[Key], parents: dict[Key, bytes]) -> Found:
    stands_for: dict[Key, Key | None] = {one.key: None if one.key in recorded else one.key for one in clients}
    for one in clients:
        for key in ancestors(one.key, parents):
            if key in stands_for and stands_for[key] is not None:
                stands_for[key] = one.key
    kept: dict[str, list[Sighting]] = {}
    for one in clients:
        if stands_for[one.key] == one.key and is_telling(one.response_id):
            same = kept.setdefault(one.response_id, [])
            other = next((other for other in same if near(one, other)), None)
            if other is None:
                same.append(one)
            else:
                stands_for[one.key] = other.key  # two libraries that watch the same client
    live = {one.key: one for one in clients if stands_for[one.key] == one.key}
    return Found(live, stands_for)


UNOWNED: Key = (b"", b"")


def find_owner(
    sequences: Sequence[Sighting], recorded: set[Key], found: Found, parents: dict[Key, bytes]
) -> Key | None:
    """The client whose call it is; None where that is counted already; UNOWNED where there is no client."""
    if any(one.key in recorded for one in sequences):
        return None
    by_reply = [
        client.key
        for one in sequences
        for client in found.clients.values()
        if is_telling(one.response_id) and client.response_id == one.response_id and near(client, one)
    ]
    if by_reply:
        return min(by_reply)
    for one in sequences:
        for key in ancestors(one.key, parents):
            if key in found.stands_for:
                stands = found.stands_for[key]
                return key if stands == key else None if stands is None else stands
            if key in recorded:
                return None
    return UNOWNED


def group(servers: Sequence[Sighting]) -> list[list[Sighting]]:
    """The sequences of each request; `servers` are sorted by their start."""
    groups: list[list[Sighting]] = []
    open_groups: dict[str, list[Sighting]] = {}
    for one in servers:
        together = open_groups.get(one.response_id) if one.response_id else None
        if together is not None and one.started_at_ns - together[0].started_at_ns < SAME_START_NS:
            together.append(one)
            continue
        open_groups[one.response_id] = [one]
        groups.append(open_groups[one.response_id])
    return groups


def merge(sequences: Sequence[Sighting]) -> Call:
    """One call: the prompt once, the outputs of all."""
    first = sequences[0]
    assert first.call is not None
    if len(sequences) == 1:
        return first.call
    usages = [one.call.usage for one in sequences if one.call is not None and one.call.usage is not None]
    ended_at_ns = max(one.ended_at_ns for one in sequences)
    return msgspec.structs.replace(
        first.call,
        usage=Usage(
            input_tokens=known(max, [usage.input_tokens for usage in usages]),
            output_tokens=known(sum, [usage.output_tokens for usage in usages]),
        ),
        duration_us=(ended_at_ns - first.started_at_ns) // 1000,
    )


def known(add: Callable[[list[int]], int], counts: Sequence[int | None]) -> int | None:
    there = [count for count in counts if count is not None]
    return add(there) if there else None


def tell(call: Call | None, served: Sequence[Call]) -> Iterator[Call]:
    """An application's call, with what the server adds to it; or each of its attempts."""
    assert call is not None
    if not served:
        yield call
    elif len(served) == 1:
        yield with_server(call, served[0])
    else:
        for attempt in served:
            own = msgspec.structs.replace(
                call,
                call_id=make_call_id(attempt.trace_id, attempt.call_id[8:], attempt.started_at_ns),
                started_at_ns=attempt.started_at_ns,
                duration_us=attempt.duration_us,
                trace_id=attempt.trace_id,
                parent_span_id=attempt.parent_span_id,
                response_id=attempt.response_id,
                usage=None,
            )
            yield with_server(own, attempt)


def with_server(call: Call, served: Call) -> Call:
    more = msgspec.structs.replace(call, queue_us=served.queue_us, engine_us=served.engine_us)
    if call.usage is not None or served.usage is None:
        return more
    return msgspec.structs.replace(more, usage=served.usage, usage_source="reported", usage_problem="")


def is_telling(response_id: str) -> bool:
    return len(response_id) >= SHORTEST_ID


def near(one: Sighting | Relayed, other: Sighting | Relayed) -> bool:
    return (
        one.started_at_ns - SLACK_NS <= other.ended_at_ns
        and other.started_at_ns - SLACK_NS <= one.ended_at_ns
    )
