"""The table of calls under way, in a file mapped into memory, so that a killed worker leaves a trace of them.

A slot is written when a call's request goes upstream and cleared after its frame stands in the journal. What
a killed worker left standing, its successor writes to the journal as *interrupted*.

Invariants
- A slot's state is its first byte, written last when opening and first when closing: a torn slot is not open.
- A worker is one thread and closes a call's slot right after its frame: at most ONE call can be both in the
  journal and open, and it is the journal's last frame (`last_call_id`); the successor leaves that one out.
- The file survives the process because the page cache does. A full table counts the calls it can't hold.
"""

import mmap
import struct
from pathlib import Path

from collector.call import Call
from collector.relay.mapped import map_file

_SLOT = struct.Struct(
    "<B16sq?16s8sH"
)  # state, call id, start, stream, trace, parent span, length of the label
_SLOT_BYTES = 320
_LABEL_BYTES = _SLOT_BYTES - _SLOT.size
_OPEN = 1
LABEL_FIELDS = ("upstream", "api", "operation", "team", "project", "route", "environment", "key_id", "model")


def make_label(*fields: str) -> bytes:
    """The texts of a slot, in the order of LABEL_FIELDS; the model, which varies most, comes last."""
    return "\0".join(fields).encode("utf-8", "replace")


class OpenCalls:
    def __init__(self, path: Path, slots: int) -> None:
        """A fresh table: whoever needs what an earlier worker left reads it before (`read_left_open`)."""
        self.untracked = 0  # calls that found the table full
        table = map_file(path, slots * _SLOT_BYTES)
        self._slots = slots if table is not None else 0  # a full disk: nothing can be tracked, calls go on
        self._map = mmap.mmap(-1, _SLOT_BYTES) if table is None else table
        self._free = list(range(self._slots - 1, -1, -1))  # the lowest on top: few pages are ever touched

    def open(
        self, call_id: bytes, started_at_ns: int, stream: bool, trace_id: bytes, parent: bytes, label: bytes
    ) -> int:
        """Returns the slot, or -1 when the table is full."""
        if not self._free:
            self.untracked += 1
            return -1
        slot = self._free.pop()
        at = slot * _SLOT_BYTES
        label = label[:_LABEL_BYTES]
        _SLOT.pack_into(self._map, at, 0, call_id, started_at_ns, stream, trace_id, parent, len(label))
        at_label = at + _SLOT.size
        self._map[at_label : at_label + len(label)] = label
        self._map[at] = _OPEN
        return slot

    def close(self, slot: int) -> None:
        if slot >= 0:
            self._map[slot * _SLOT_BYTES] = 0
            self._free.append(slot)

    def __len__(self) -> int:
        return self._slots - len(self._free)


def read_left_open(path: Path, tenant: str) -> list[Call]:
    """The calls that a killed worker had under way, oldest first, as interrupted ones."""
    try:
        table = path.read_bytes()
    except FileNotFoundError:
        return []
    starts = range(0, len(table) - _SLOT_BYTES + 1, _SLOT_BYTES)
    calls = [_read_slot(table, at, tenant) for at in starts if table[at] == _OPEN]
    return sorted(calls, key=lambda call: call.started_at_ns)


def _read_slot(table: bytes, at: int, tenant: str) -> Call:
    _, call_id, started_at_ns, stream, trace_id, parent, length = _SLOT.unpack_from(table, at)
    label = table[at + _SLOT.size :][: min(length, _LABEL_BYTES)]
    texts = dict(zip(LABEL_FIELDS, label.decode("utf-8", "ignore").split("\0"), strict=False))
    return Call(
        call_id=call_id,
        started_at_ns=started_at_ns,
        tenant=tenant,
        stream=stream,
        trace_id=trace_id.strip(b"\0") and trace_id,
        parent_span_id=parent.strip(b"\0") and parent,
        outcome="interrupted",
        usage_problem="the relay was killed while this call was under way",
        **texts,  # type: ignore[arg-type]
    )
