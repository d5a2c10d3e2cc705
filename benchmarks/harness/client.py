"""A client in a process of its own: makes calls until SIGTERM and writes down each one that it saw end.

`python -m benchmarks.harness.client --relay HOST:PORT --log FILE --seed N --clients N`. It knows nothing of
the product but an address. Its log is one line of JSON per event, each one write to a file opened for
appending, so that what it says outlives a kill of anybody.

A call has ended for the client when its terminal event, or the last byte of a whole reply, was read. That is
the moment from which the ledger must know it. Each call carries a trace id of its own, by which it is found
again whatever became of it.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

FIND_ID = re.compile(rb'"id": ?"([^"]+)"')
TERMINALS = (b"data: [DONE]\n\n", b'data: {"type":"message_stop"}\n\n')
KINDS = ("chat", "chat_stream", "chat_stream_asking", "messages", "messages_stream")


class BrokenOffError(Exception):
    pass


class Log:
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, **event: Any) -> None:
        os.write(self._fd, json.dumps({"at": time.time(), **event}).encode() + b"\n")


class Client:
    """One connection, kept alive as long as it lives; one call after the other."""

    def __init__(self, arguments: argparse.Namespace, log: Log, number: int, stopping: asyncio.Event) -> None:
        self._host, _, self._port = arguments.relay.rpartition(":")
        self._rng = random.Random(f"{arguments.seed} {number}")
        self._arguments, self._log, self._stopping = arguments, log, stopping
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self) -> None:
        made = 0
        while not self._stopping.is_set() and made != self._arguments.calls:
            made += 1
            await self.call()
        self.hang_up()

    async def call(self) -> None:
        kind = self._rng.choice(self._arguments.kinds)
        trace = self._rng.randbytes(16).hex()
        self._log.write(event="begun", trace=trace, kind=kind)
        try:
            async with asyncio.timeout(self._arguments.timeout_s):
                await self._exchange(kind, trace)
        except ConnectionRefusedError:
            expected = self._arguments.may_be_refused
            told = {"event": "failed", "problem": "refused"} if expected else {"event": "refused"}
            self._log.write(trace=trace, **told)
            await asyncio.sleep(0.05)
        except (OSError, EOFError, BrokenOffError, TimeoutError) as problem:
            self._log.write(event="failed", trace=trace, problem=f"{type(problem).__name__}: {problem}")
            self.hang_up()

    def hang_up(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, kind: str, trace: str) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, int(self._port))
        reader, writer = self._streams
        writer.write(self._request(kind, trace))
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        stream = b"text/event-stream" in head
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if length:
            body = await reader.readexactly(int(length[1]))
        else:
            body = await self._read_chunks(reader, trace)
        if not stream or not body.endswith(TERMINALS):
            if stream or status != 200:
                raise BrokenOffError(f"status {status}, {body[-200:]!r}")
            self._ended(trace, body)
        if b"connection: close" in head:
            self.hang_up()

    async def _read_chunks(self, reader: asyncio.StreamReader, trace: str) -> bytes:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
            if body.endswith(TERMINALS):
                self._ended(trace, body)
        await reader.readexactly(2)
        return body

    def _ended(self, trace: str, body: bytes) -> None:
        found = FIND_ID.search(body)
        self._log.write(event="ended", trace=trace, id=found[1].decode() if found else "")
        if self._arguments.kill_at_end:
            kill_worker(Path(self._arguments.kill_at_end))

    def _request(self, kind: str, trace: str) -> bytes:
        api, _, stream = kind.partition("_")
        rng, body = self._rng, dict[str, Any](messages=[{"role": "user", "content": "word " * 40}])
        if api == "messages":
            path, body["max_tokens"] = "/v1/messages", 64
            model = "claude-sonnet-4-6"
        else:
            path, model = "/v1/chat/completions", rng.choice(["gpt-4o", "gpt-4o-mini"])
        body["model"] = self._arguments.model or model
        if stream:
            body["stream"] = True
        if stream == "stream_asking":
            body["stream_options"] = {"include_usage": True}
        raw = json.dumps(body).encode()
        wish = f"tokens={rng.randrange(1, 24)} first_ms={rng.randrange(8)} gap_ms={rng.choice([0, 1, 4])}"
        return (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Type: application/json\r\n"
            f"traceparent: 00-{trace}-{trace[:16]}-01\r\nx-sim: {wish}\r\nContent-Length: {len(raw)}\r\n\r\n"
        ).encode() + raw


def kill_worker(status_file: Path) -> None:
    """The worst moment: the end has just been read."""
    for process in json.loads(status_file.read_text())["processes"]:
        if process["kind"] == "relay" and process["pid"]:
            os.kill(process["pid"], signal.SIGKILL)


async def work(arguments: argparse.Namespace) -> None:
    stopping, log = asyncio.Event(), Log(arguments.log)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    clients = [Client(arguments, log, number, stopping) for number in range(arguments.clients)]
    await asyncio.gather(*(client.run() for client in clients))


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m benchmarks.harness.client")
    words.add_argument("--relay", required=True)
    words.add_argument("--log", type=Path, required=True)
    words.add_argument("--seed", default="0")
    words.add_argument("--clients", type=int, default=6)
    words.add_argument("--calls", type=int, default=-1, help="of each client; else until SIGTERM")
    words.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    words.add_argument("--model", default="", help="instead of one that the simulator knows")
    words.add_argument("--timeout-s", type=float, default=30.0)
    words.add_argument("--may-be-refused", action="store_true", help="the whole product will be away")
    words.add_argument("--kill-at-end", default="", metavar="STATUS", help="kill the worker at each end")
    asyncio.run(work(words.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
