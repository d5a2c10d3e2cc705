"""Starting and stopping a simulator: in a thread of this process, for tests, or as a process of its own.

with start_simulator(seed=7, api_key="k") as simulator:
    client = openai.OpenAI(base_url=simulator.url + "/v1", api_key="k")
    ...
    simulator.entries()   # the truth log
"""

import asyncio
import threading
from types import TracebackType
from typing import Any

import msgspec
import uvloop

from collector.simulator.behaviour import Behaviour
from collector.simulator.server import Connection, serve
from collector.simulator.service import Service
from collector.simulator.truth import Entry


class Simulator:
    """A running simulator in a thread; `stop` breaks off what is under way and joins the thread."""

    def __init__(self, behaviour: Behaviour, host: str = "127.0.0.1", port: int = 0):
        self.host, self.port = host, port
        self._behaviour = behaviour
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def entries(self) -> list[Entry]:
        """What was served so far, in the order in which it ended."""
        future = asyncio.run_coroutine_threadsafe(self._read_log(), self._loop)
        return [msgspec.json.decode(line, type=Entry) for line in future.result(10).splitlines()]

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)

    def __enter__(self) -> "Simulator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as failure:  # told to whoever starts us
            self._failure = failure
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._service = Service(self._behaviour)
        server, connections = await serve(self._service, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        await stop_serving(server, connections)
        self._service.truth.close()

    async def _read_log(self) -> bytes:
        return self._service.truth.read()


async def stop_serving(server: asyncio.Server, connections: set[Connection]) -> None:
    server.close()
    for connection in tuple(connections):
        connection.close()
    await server.wait_closed()
    # What was broken off is written to the truth log by the callbacks of this turn.
    await asyncio.sleep(0)


def start_simulator(*, host: str = "127.0.0.1", port: int = 0, **behaviour: Any) -> Simulator:
    """Ready when it returns. `behaviour`: the fields of Behaviour."""
    return Simulator(Behaviour(**behaviour), host, port)
