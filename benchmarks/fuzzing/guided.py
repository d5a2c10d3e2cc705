"""`python -m benchmarks.fuzzing.guided RUNS`: the parsers under atheris, which looks for new branches.

Its bytes are the dice: what it changes changes what is made of them, so that it can find its way.
"""

import random
import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports():
    from benchmarks.fuzzing import parsers


class Dice(random.Random):
    """Falls as the given bytes say; then always the same way."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data, self._at = data, 0

    def random(self) -> float:
        return self.getrandbits(24) / (1 << 24)

    def getrandbits(self, count: int) -> int:
        begin = self._at
        self._at = begin + (count + 7) // 8
        return int.from_bytes(self._data[begin : self._at], "little") & ((1 << count) - 1)


def feed(data: bytes) -> None:
    parsers.feed_with(Dice(data))


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], f"-runs={sys.argv[1]}", "-max_len=4096"], feed)
    atheris.Fuzz()
