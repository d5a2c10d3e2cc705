"""The table of calls under way: what a kill leaves is found by the next worker, and nothing else."""

from pathlib import Path

import pytest

from collector.call import Call, new_call_id
from collector.relay.open_calls import LABEL_FIELDS, OpenCalls, make_label, read_left_open

LABEL = make_label("up", "openai", "chat", "blue", "p", "r", "e", "k", "model-ü")
NOW_NS = 1_800_000_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "open_calls"


def open_call(table: OpenCalls, number: int, label: bytes = LABEL) -> tuple[int, bytes]:
    call_id = new_call_id(NOW_NS + number)
    return table.open(call_id, NOW_NS + number, number % 2 == 1, b"t" * 16, b"", label), call_id


def test_a_call_left_open_is_interrupted(path: Path) -> None:
    table = OpenCalls(path, 4)
    _, call_id = open_call(table, 1)
    assert read_left_open(path, "tenant") == [
        Call(
            call_id=call_id, started_at_ns=NOW_NS + 1, tenant="tenant", upstream="up", api="openai",
            operation="chat", team="blue", project="p", route="r", environment="e", key_id="k",
            model="model-ü", stream=True, trace_id=b"t" * 16, outcome="interrupted",
            usage_problem="the relay was killed while this call was under way",
        )
    ]  # fmt: skip


def test_the_label_names_fields_of_a_call() -> None:
    assert set(LABEL_FIELDS) <= set(Call.__struct_fields__)


def test_a_closed_call_leaves_nothing(path: Path) -> None:
    table = OpenCalls(path, 4)
    slots = [open_call(table, number)[0] for number in range(3)]
    assert len(table) == 3
    table.close(slots[1])
    assert [call.started_at_ns - NOW_NS for call in read_left_open(path, "")] == [0, 2]
    assert open_call(table, 9)[0] == slots[1]
    assert [call.started_at_ns - NOW_NS for call in read_left_open(path, "")] == [0, 2, 9]


def test_a_full_table_counts_what_it_cant_hold(path: Path) -> None:
    table = OpenCalls(path, 2)
    assert [open_call(table, number)[0] for number in range(3)] == [0, 1, -1]
    table.close(-1)
    assert (table.untracked, len(table)) == (1, 2)


def test_a_slot_used_again_shows_nothing_of_its_former_call(path: Path) -> None:
    table = OpenCalls(path, 1)
    table.close(open_call(table, 1)[0])
    table.open(new_call_id(NOW_NS), NOW_NS, False, b"", b"s" * 8, make_label("u", *[""] * 8))
    (call,) = read_left_open(path, "")
    assert (call.upstream, call.model, call.team, call.stream) == ("u", "", "", False)
    assert (call.trace_id, call.parent_span_id) == (b"", b"s" * 8)


@pytest.mark.parametrize("text", ["m" * 1000, "ü" * 500, "a\0b", "\ud800", "\U0001f600" * 300])
def test_no_model_breaks_the_table(path: Path, text: str) -> None:
    table = OpenCalls(path, 2)
    open_call(table, 1, make_label("up", "openai", "chat", "blue", "p", "r", "e", "k", text))
    open_call(table, 2)
    first, second = read_left_open(path, "")
    assert (first.upstream, first.key_id, second.model) == ("up", "k", "model-ü")
    assert first.model[:1] in (text[:1], "?")


def test_a_torn_or_foreign_table_is_no_trouble(path: Path) -> None:
    assert read_left_open(path, "") == []
    table = OpenCalls(path, 2)
    open_call(table, 1)
    open_call(table, 2)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert len(read_left_open(path, "")) == size // (len(whole) // 2)
    for noise in (b"\1" * 1000, bytes(range(256)) * 4):
        path.write_bytes(noise)
        read_left_open(path, "")


def test_a_new_table_is_empty_and_private(path: Path) -> None:
    open_call(OpenCalls(path, 2), 1)
    OpenCalls(path, 2)
    assert read_left_open(path, "") == []
    assert path.stat().st_mode & 0o777 == 0o600
