"""The outbox: a lone write goes out at once, a crowd together, and nobody's bytes out of order."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.relay.outbox import BUSY_S, Outbox


class Loop:
    def __init__(self) -> None:
        self.ready: list[Callable[[], Any]] = []

    def call_soon(self, work: Callable[[], Any]) -> None:
        self.ready.append(work)

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for work in ready:
            work()


class Transport:
    def __init__(self) -> None:
        self.got = b""
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.got += data


@pytest.fixture
def loop() -> Loop:
    return Loop()


def make(loop: Loop) -> Outbox:
    return Outbox(loop)  # type: ignore[arg-type]


def test_a_lone_write_is_not_held(loop: Loop) -> None:
    outbox, transport = make(loop), Transport()
    outbox.write(transport, b"a", 1.0)  # type: ignore[arg-type]
    outbox.write(transport, b"b", 1.0 + 2 * BUSY_S)  # type: ignore[arg-type]
    assert transport.got == b"ab"
    assert not loop.ready


def test_a_crowd_goes_out_together_at_the_end_of_the_turn(loop: Loop) -> None:
    outbox, one, other = make(loop), Transport(), Transport()
    outbox.write(one, b"a", 1.0)  # type: ignore[arg-type]
    outbox.write(other, b"b", 1.0 + BUSY_S / 2)  # type: ignore[arg-type]
    outbox.write(one, b"c", 1.0 + 9 * BUSY_S)  # type: ignore[arg-type]
    assert (one.got, other.got) == (b"a", b"")
    assert len(loop.ready) == 1
    loop.turn()
    assert (one.got, other.got) == (b"ac", b"b")


def test_what_was_closed_meanwhile_is_left_out(loop: Loop) -> None:
    outbox, gone, there = make(loop), Transport(), Transport()
    outbox.write(there, b"a", 1.0)  # type: ignore[arg-type]
    outbox.write(gone, b"b", 1.0)  # type: ignore[arg-type]
    outbox.write(there, b"c", 1.0)  # type: ignore[arg-type]
    gone.closing = True
    outbox.flush()
    assert (gone.got, there.got) == (b"", b"ac")
    loop.turn()  # the flush that was due finds nothing
    assert there.got == b"ac"


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 4 * BUSY_S), st.booleans()), max_size=60))
def test_no_byte_is_lost_or_out_of_order(steps: list[tuple[int, float, bool]]) -> None:
    loop = Loop()
    outbox, transports = make(loop), [Transport() for _ in range(3)]
    expected, now = [b""] * 3, 1.0
    for number, (which, pause, turns) in enumerate(steps):
        now += pause
        data = b"%d," % number
        expected[which] += data
        outbox.write(transports[which], data, now)  # type: ignore[arg-type]
        if turns:
            loop.turn()
    outbox.flush()
    assert [transport.got for transport in transports] == expected
