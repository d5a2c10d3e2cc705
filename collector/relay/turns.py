"""The calls inside one tunnel: what its messages say enters, Calls go to the journal.

A turn is one response: asked for by the client (or begun by the server, which hears when the user has
spoken), begun, streamed, ended. Several may be under way in one Realtime session.

Invariants
- A turn stands in the table of open calls from when it is asked for or begins until its call is journaled.
- `record` comes before the bytes that end the response are passed on, and once for each turn.
- However many a client asks for, at most _TURNS are kept apart; what ends beyond that is still a call.
"""

from collections import deque
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

import msgspec

from collector.apis.reading import Reading
from collector.apis.realtime import Kind, Said, read_received, read_sent
from collector.call import Call, Outcome, new_call_id
from collector.relay.account import measure_gaps

if TYPE_CHECKING:
    from collector.relay.worker import Worker

_TURNS = 64
_CONTENT_TIMES = 4096
_SWITCHED = 101


class Turn:
    __slots__ = (
        "asked_bytes", "began_us", "call_id", "chars", "content_times", "event_id", "events", "got_bytes",
        "model", "relay_s", "served", "slot", "started", "started_at_ns",
    )  # fmt: skip

    def __init__(self, said: Said, sent_bytes: int, received_bytes: int, relay_s: float) -> None:
        self.started_at_ns, self.started = time_ns(), perf_counter()
        self.call_id = new_call_id(self.started_at_ns)
        self.model, self.served, self.event_id = said.model, "", said.event_id
        self.asked_bytes, self.got_bytes, self.relay_s = sent_bytes, received_bytes, relay_s
        self.slot = -1
        self.began_us: int | None = None
        self.content_times: list[float] = []
        self.events = self.chars = 0

    def note_content(self, chars: int) -> None:
        if len(self.content_times) < _CONTENT_TIMES:
            self.content_times.append(perf_counter())
        self.events += 1
        self.chars += chars


class Turns:
    def __init__(self, worker: "Worker", call: Call, label: bytes) -> None:
        """`call`: what all calls of the tunnel have in common."""
        self._worker, self._call, self._label = worker, call, label
        self._asked: deque[Turn] = deque()
        self._active: dict[str, Turn] = {}
        self._model = call.model  # as asked for
        self._served = ""
        self._transcriber = ""
        self.sent_bytes = self.received_bytes = 0  # so far, counted by the tunnel
        self.relay_s = 0.0

    def __len__(self) -> int:
        return len(self._asked) + len(self._active)

    def take_sent(self, message: bytes, whole: bool) -> None:
        said = read_sent(message, whole)
        if said.kind is Kind.ASKED and len(self) < _TURNS:
            self._asked.append(self._open(said, len(message)))
        elif said.kind is Kind.SESSION:
            self._model = self._model or said.model

    def take_received(self, message: bytes, whole: bool) -> None:
        said = read_received(message, whole)
        if said.kind is Kind.CONTENT:
            turn = self._active.get(said.response_id) or self._only_one()
            if turn is not None:
                turn.note_content(said.chars)
        elif said.kind is Kind.BEGAN:
            self._begin(said)
        elif said.kind in (Kind.ENDED, Kind.ALONE):
            self._end(said)
        elif said.kind is Kind.REFUSED:
            self._refuse(said)
        elif said.kind is Kind.SESSION:
            self._served = said.model or self._served
            self._transcriber = said.transcriber or self._transcriber

    def _open(self, said: Said, message_bytes: int = 0) -> Turn:
        turn = Turn(said, self.sent_bytes - message_bytes, self.received_bytes, self.relay_s)
        if said.kind is not Kind.ASKED or not turn.model:
            turn.model = self._model
        call = self._call
        turn.slot = self._worker.open_calls.open(
            turn.call_id, turn.started_at_ns, True, call.trace_id, call.parent_span_id, self._label
        )
        return turn

    def _begin(self, said: Said) -> None:
        if said.response_id in self._active or len(self._active) >= _TURNS:
            return
        turn = self._asked.popleft() if self._asked else self._open(said)
        turn.began_us = int((perf_counter() - turn.started) * 1e6)
        turn.served = said.model
        self._active[said.response_id] = turn

    def _only_one(self) -> Turn | None:
        return next(iter(self._active.values())) if len(self._active) == 1 else None

    def _end(self, said: Said) -> None:
        reading = said.reading or Reading()
        if said.kind is Kind.ALONE:
            heard = self._open(said)
            heard.model = self._transcriber
            self._record(heard, reading, None, "")
            return
        turn = self._active.pop(said.response_id, None)
        if turn is None and self._active and not said.response_id:  # what ended doesn't say its name
            turn = self._active.pop(next(iter(self._active)))
        if turn is None:
            turn = self._asked.popleft() if self._asked else self._open(said)
        self._record(turn, reading, None, turn.served or self._served)

    def _refuse(self, said: Said) -> None:
        """An error may be about anything; it ends the response that was asked for by the event it names."""
        for turn in self._asked:
            if turn.event_id == said.event_id:
                self._asked.remove(turn)
                break
        else:
            if self._call.operation != "responses" or len(self._active) != 1 or self._asked:
                return
            _, turn = self._active.popitem()  # there, one response is under way at a time
        self._record(turn, said.reading or Reading(), "error", turn.served or self._served)

    def end(self, outcome: Outcome, error_type: str, problem: str) -> None:
        """The tunnel is no more: what was under way ended with it."""
        turns = [*self._active.values(), *self._asked]
        self._active.clear()
        self._asked.clear()
        for turn in turns:
            reading = Reading(error_type=error_type, usage_problem=problem)
            self._record(turn, reading, outcome, turn.served or self._served)

    def _record(self, turn: Turn, reading: Reading, outcome: Outcome | None, served: str) -> None:
        gap_p50_us, gap_p99_us = measure_gaps(turn.content_times)
        first_content_us = int((turn.content_times[0] - turn.started) * 1e6) if turn.content_times else None
        call = msgspec.structs.replace(
            self._call,
            call_id=turn.call_id,
            started_at_ns=turn.started_at_ns,
            model=turn.model,
            served_model=reading.model or served,
            service_tier=reading.service_tier,
            response_id=reading.response_id,
            finish_reason=reading.finish_reason,
            stream=True,
            status=_SWITCHED,
            outcome=outcome or ("error" if reading.error_type else "ok"),
            error_type=reading.error_type,
            usage=reading.usage,
            usage_source="unknown" if reading.usage is None else "reported",
            usage_problem=reading.usage_problem,
            request_bytes=max(self.sent_bytes - turn.asked_bytes, 0),
            response_bytes=self.received_bytes - turn.got_bytes,
            content_events=turn.events,
            content_chars=turn.chars,
            first_byte_us=turn.began_us,
            first_content_us=first_content_us,
            duration_us=int((perf_counter() - turn.started) * 1e6),
            relay_us=int((self.relay_s - turn.relay_s) * 1e6),
            gap_p50_us=gap_p50_us,
            gap_p99_us=gap_p99_us,
        )
        worker = self._worker
        worker.journal.append(call)
        worker.open_calls.close(turn.slot)
        worker.counters.calls += 1
