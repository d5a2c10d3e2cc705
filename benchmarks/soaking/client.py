"""The harness's client, made rude: one call in eight is left in the middle, one in ten asks for an upstream
that breaks. It is started and keeps its log like the other: `python -m benchmarks.soaking.client --help`.
"""

import asyncio
import re
import sys

from benchmarks.harness import client

FAULTS = ("cut_after=3", "reset_after=5", "cut_after=0", "status=500", "status=503")
LEAVES, BREAKS = 0.12, 0.1
_WISH = re.compile(rb"x-sim: [^\r\n]*")


class LeftError(client.BrokenOffError):
    """By the client itself."""


class RudeClient(client.Client):
    async def _exchange(self, kind: str, trace: str) -> None:
        if self._rng.random() >= LEAVES:
            await super()._exchange(kind, trace)
            return
        try:
            async with asyncio.timeout(self._rng.random() * 2):
                await super()._exchange(kind, trace)
        except TimeoutError:
            raise LeftError("the client left") from None

    def _request(self, kind: str, trace: str) -> bytes:
        """Streams of a few seconds, as people's are."""
        rng = self._rng
        wish = f"tokens={rng.randrange(10, 80)} first_ms={rng.randrange(200)} gap_ms={rng.randrange(10, 60)}"
        if rng.random() < BREAKS:
            wish = f"{wish} {rng.choice(FAULTS)}"
        return _WISH.sub(f"x-sim: {wish}".encode(), super()._request(kind, trace), count=1)


if __name__ == "__main__":
    client.Client = RudeClient  # type: ignore[misc]
    sys.exit(client.main())
