from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collector.web.story import phases, verdict

ROW: dict[str, Any] = {
    "stream": True,
    "outcome": "ok",
    "duration_ms": 1000.0,
    "connect_ms": 20.0,
    "first_byte_ms": 300.0,
    "first_content_ms": 310.0,
    "relay_ms": 0.2,
    "queue_ms": None,
    "engine_ms": None,
    "gap_p50_ms": None,
    "gap_p99_ms": None,
}
times = st.none() | st.floats(0, 5000)


def test_the_time_is_cut_where_something_happened() -> None:
    assert [(phase.name, phase.ms) for phase in phases(ROW)] == [
        ("connect", 20),
        ("wait", 280),
        ("content", 10),
        ("rest", 690),
    ]


@given(times, times, times, st.floats(0.001, 5000))
def test_phases_cover_the_call_and_no_more(
    connect: float | None, byte: float | None, content: float | None, whole: float
) -> None:
    marks = {"connect_ms": connect, "first_byte_ms": byte, "first_content_ms": content, "duration_ms": whole}
    found = phases(ROW | marks)
    assert abs(sum(phase.ms for phase in found) - whole) < 1e-6
    assert all(phase.x >= 0 and phase.x + phase.width <= 100.01 for phase in found)


def test_the_sidecar_is_blamed_when_it_was_slow_and_only_then() -> None:
    assert verdict(ROW).startswith("No. The sidecar took 0.20 ms of 1.00 s (< 0.1 %)")
    assert verdict(ROW | {"relay_ms": 400.0}).startswith("Partly.")
    assert "not measured" in verdict(ROW | {"relay_ms": None})
    assert "ours" in verdict(ROW | {"outcome": "refused"})


def test_what_the_server_says_of_itself_is_told_as_its_word() -> None:
    said = verdict(ROW | {"queue_ms": 120.0, "engine_ms": 800.0})
    assert "the server says that it queued for 120 ms and computed for 800 ms" in said
    assert "the other 80 ms are the network, the client" in said
    assert "queued" not in verdict(ROW | {"engine_ms": 800.0})


def test_times_that_do_not_fit_into_the_call_are_not_taken_off() -> None:
    said = verdict(ROW | {"queue_ms": 0.0, "engine_ms": 1600.0})
    assert "computed for 1.60 s" in said
    assert "the other" not in said


def test_a_pause_in_a_stream_is_the_upstreams() -> None:
    assert "the slowest after 2.00 s: the upstream paused" in verdict(
        ROW | {"gap_p50_ms": 11.0, "gap_p99_ms": 2000.0}
    )
    assert "paused" not in verdict(ROW | {"gap_p50_ms": 11.0, "gap_p99_ms": 48.0})
