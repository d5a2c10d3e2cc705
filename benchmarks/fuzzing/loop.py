"""What the relay asks of its event loop, without time or sockets: callbacks, tasks that await connections."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Loop:
    """What the relay asks of its event loop."""

    def __init__(self) -> None:
        self.ready: deque[Callable[[], Any]] = deque()

    def call_soon(self, work: Callable[..., Any], *values: Any) -> None:
        self.ready.append(lambda: work(*values))

    def call_later(self, delay_s: float, work: Callable[..., Any], *values: Any) -> None:
        """Time passes when the stage says so."""

    def create_task(self, work: Coroutine[Any, Any, None]) -> "Task":
        return Task(work, self)


class Task:
    """A coroutine that waits for connections only."""

    def __init__(self, work: Coroutine[Any, Any, None], loop: Loop) -> None:
        self._work, self._loop = work, loop
        self.done = self._cancelled = False
        self._callbacks: list[Callable[[Task], Any]] = []
        loop.call_soon(self.go_on, None)

    def go_on(self, value: object) -> None:
        if self._cancelled:
            self._run(lambda: self._work.throw(asyncio.CancelledError()))
        else:
            self._run(lambda: self._work.send(value))

    def cancel(self) -> None:
        """As with asyncio's: whatever comes first then, the coroutine sees only that it was cancelled."""
        self._cancelled = True
        self._loop.call_soon(self.go_on, None)

    def _run(self, step: Callable[[], Any]) -> None:
        if self.done:
            return
        try:
            Waiting.current = self
            step()
        except (StopIteration, asyncio.CancelledError):
            self.done = True
            for callback in self._callbacks:
                callback(self)

    def add_done_callback(self, callback: "Callable[[Task], Any]") -> None:
        self._callbacks.append(callback)


class Waiting:
    """`await Waiting()` gives what the stage decides on."""

    current: Task | None = None

    def __await__(self) -> Generator[None, Any, Any]:
        return (yield)
