"""Calls that can be told apart, and segments as bytes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.call import Call, Usage
from collector.journal import Journal, JournalReader, Position

MakeCall = Callable[[int], Call]


def numbered_call(number: int) -> Call:
    return Call(
        call_id=number.to_bytes(16, "big"),
        started_at_ns=1_700_000_000_000_000_000 + number,
        upstream="openai",
        model="gpt-4o-mini",
        client="x" * (number * 37 % 120),
        usage=Usage(input_tokens=number, output_tokens=7),
        usage_source="reported",
    )


@pytest.fixture
def make_call() -> MakeCall:
    return numbered_call


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Opens the journal of one folder, closing what a test left open."""
    opened: list[Journal] = []

    def open_it(directory: Path | None = None, segment_bytes: int = 1 << 20, fsync_ms: int = 1) -> Journal:
        journal = Journal(directory or tmp_path / "w0", segment_bytes=segment_bytes, fsync_ms=fsync_ms)
        opened.append(journal)
        return journal

    yield open_it
    for journal in opened:
        journal.close()


@pytest.fixture
def read_all() -> Callable[..., tuple[list[int], list[str], Position]]:
    """The numbers of all calls from a position on, the reasons of all bad records, and where it ended."""

    def read(
        directory: Path, position: Position | None = None, max_calls: int = 7
    ) -> tuple[list[int], list[str], Position]:
        reader = JournalReader(directory)
        numbers: list[int] = []
        reasons: list[str] = []
        while True:
            batch = reader.read(position, max_calls)
            numbers += [int.from_bytes(call.call_id, "big") for call in batch.calls]
            reasons += [bad.reason for bad in batch.bad]
            if not batch.calls and not batch.bad:
                return numbers, reasons, batch.end
            assert position is None or batch.end != position
            position = batch.end

    return read
