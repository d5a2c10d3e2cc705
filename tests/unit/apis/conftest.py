"""Transcripts of a real vLLM, and the two ways to read a stream."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from collector.apis import Reading, StreamReader

CAPTURES = Path(__file__).parents[2] / "captures" / "vllm-0.32"


@pytest.fixture(scope="session")
def capture() -> Callable[[str], bytes]:
    """The body of a recorded reply, by its folder and name."""
    return lambda name: (CAPTURES / f"{name}.resp").read_bytes()


@pytest.fixture(scope="session")
def read_stream() -> Callable[..., Reading]:
    def read(kind: type[StreamReader], pieces: Iterable[bytes]) -> Reading:
        reader = kind()
        for piece in pieces:
            reader.feed(piece)
        return reader.finish()

    return read


@pytest.fixture(scope="session")
def hide_stream() -> Callable[..., tuple[Reading, bytes]]:
    def hide(kind: type[StreamReader], pieces: Iterable[bytes]) -> tuple[Reading, bytes]:
        reader = kind()
        shown = b"".join([reader.hide(piece) for piece in pieces])
        return reader.finish(), shown + reader.flush()

    return hide
