"""Plays one dialogue: a few clients with a few calls each over one worker, in an order that the dice choose.

Invariants judged: no exception escapes; everything comes to an end; no byte of one call reaches another;
every call of a model is recorded once, before its end is told; no connection and no slot is left behind. In a
clean dialogue (a third of them) besides: every client gets exactly what was sent to it, in order.
"""

import random
from collections.abc import Callable

from benchmarks.fuzzing import Violation
from benchmarks.fuzzing.dialogues import COUNTED, ask, read_replies
from benchmarks.fuzzing.mutations import TOKENS, cut, mutate
from benchmarks.fuzzing.stage import Stage
from benchmarks.fuzzing.transports import ClientTransport, UpstreamTransport
from collector.relay.worker import Worker

STEPS = 20_000


def play(worker: Worker, seed: str) -> int:
    """Returns how many calls it held. Raises Violation, or whatever the relay let escape."""
    rng = random.Random(seed)
    stage = Stage(worker, rng, clean=rng.random() < 0.33)
    clients = [open_client(stage) for _ in range(rng.randint(1, 3))]
    run(stage, rough=not stage.clean)
    if stage.clean:
        check_clean(stage, clients)
    leave(stage, clients)
    check_end(stage, clients)
    if stage.broken:
        raise Violation("; ".join(stage.broken[:3]))
    return len(stage.exchanges)


def open_client(stage: Stage) -> ClientTransport:
    rng, count = stage.rng, stage.rng.randint(1, 4)
    asked = [ask(rng, last=number == count - 1) for number in range(count)]
    stage.asked |= {one.tag: one for one in asked}
    client = ClientTransport(stage, asked)
    raw = b"".join(one.raw for one in asked)
    if not stage.clean and rng.random() < 0.5:
        raw = mutate(rng, raw)
    client.pieces.extend(cut(rng, raw))
    return client


def run(stage: Stage, *, rough: bool) -> None:
    """Until nothing more can happen by itself."""
    rng = stage.rng
    for _ in range(STEPS):
        if rng.random() < 0.02:
            rng.choice(stage.transports).toggle_full()
        if rough and rng.random() < 0.02:
            be_rough(stage)
        acts = find_acts(stage)
        if acts:
            rng.choice(acts)()
        elif not relieve(stage):
            return
    raise Violation(f"no end after {STEPS} steps")


def find_acts(stage: Stage) -> list[Callable[[], object]]:
    acts: list[Callable[[], object]] = [one.deliver for one in stage.transports if one.can_deliver]
    if stage.loop.ready:
        acts += [stage.run_ready] * 2
    if stage.connecting:
        acts.append(lambda: connect(stage))
    return acts


def connect(stage: Stage) -> None:
    task = stage.connecting.pop(stage.rng.randrange(len(stage.connecting)))
    problem: Exception | None = None
    if not stage.clean and stage.rng.random() < 0.1:
        problem = stage.rng.choice((ConnectionRefusedError("refused"), TimeoutError(), UnicodeError("label")))
    task.go_on(problem)


def relieve(stage: Stage) -> bool:
    """Whoever was slow reads again. False: nobody was."""
    full = [one for one in stage.transports if one.full and not one.lost]
    for one in full:
        one.toggle_full()
    return bool(full)


def be_rough(stage: Stage) -> None:
    """Somebody leaves, dies or talks out of turn; or a long time passes."""
    rng = stage.rng
    alive = [one for one in stage.transports if not one.closing]
    if not alive:
        return
    one, kind = rng.choice(alive), rng.randrange(10)
    if kind < 4:
        one.lose(rng.choice((None, ConnectionResetError("reset"))))
    elif kind < 6 and isinstance(one, UpstreamTransport):
        one.protocol.eof_received()
        one.lose(None)
    elif kind < 9:
        one.pieces.append(rng.choice(TOKENS))
    else:
        stage.pass_time()


def leave(stage: Stage, clients: list[ClientTransport]) -> None:
    for client in clients:
        client.lose(None)
    run(stage, rough=False)
    stage.pass_time()
    run(stage, rough=False)


def check_clean(stage: Stage, clients: list[ClientTransport]) -> None:
    for client in clients:
        if client.pieces:
            stage.note("a client's bytes were never read")
        expected = [one.served[-1] if one.served else None for one in client.asked]
        try:
            got = read_replies(bytes(client.got), client.asked)
        except ValueError as problem:
            raise Violation(f"a client got what can't be read ({problem}): {bytes(client.got)!r}") from None
        for one, body, wanted in zip(client.asked, got, expected, strict=True):
            if body != wanted:
                stage.note(f"{one.raw!r} got {body!r} instead of {wanted!r}")
    recorded = {call.response_id: call for call in stage.journal.calls.values()}
    for one in stage.asked.values():
        call = recorded.get(one.tag.decode())
        if one.kind in COUNTED and one.told and b"x" * 2000 not in one.body:
            if call is None:
                stage.note(f"no record tells the id of {one.raw!r}")
            elif call.outcome != "ok" or call.usage is None or call.usage.input_tokens != one.tokens:
                stage.note(f"{one.raw!r} was recorded as {call}")


def check_end(stage: Stage, clients: list[ClientTransport]) -> None:
    for client in clients:
        client.check_tags()
    for exchange in stage.exchanges:
        counted = exchange.head.endpoint is not None
        if counted != (exchange.call_id in stage.journal.calls):
            stage.note(f"{exchange.head.path!r} is{'' if not counted else ' not'} in the journal")
        if exchange.connection is not None:
            stage.note("an ended exchange holds a connection")
    if len(stage.journal.calls) > len(stage.exchanges):
        stage.note("more calls in the journal than there were")
    if stage.worker.clients or stage.worker._draining:
        stage.note("a client is left")
    if len(stage.worker.open_calls):
        stage.note("a slot of the open calls is left")
    if left := stage.close_pools():
        stage.note(f"{left} upstream connections are left")
