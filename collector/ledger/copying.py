"""Rows as the bytes of a binary COPY. Enters: a Row. Leaves: its bytes, or `RefusedRow` with the reason.

Written by hand, because most of a row repeats: the columns that say for whom, and those that say to whom,
what and how it ended, come in few combinations, and are kept encoded. That is three times as quick as
encoding value by value, and a row that no table could hold is found before anything is sent.

Invariants
- COLUMNS is the order of the bytes, each field is length and data, a length of -1 is NULL.
- Postgres knows no NUL in a text: U+FFFD stands in its place, so that the rest of the call is kept.
"""

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from psycopg.adapt import PyFormat, Transformer

from collector.ledger.rows import Row

COLUMNS = tuple(
    "started_at" if field == "started_at_us" else field[:-3] + "_ms" if field.endswith("_us") else field
    for field in Row._fields
)

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
EPOCH_US = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000  # Postgres counts from 2000

# How many combinations are kept encoded: clients choose some of these texts.
MOST_KEPT = 20_000

pack_length = struct.Struct(">i").pack
LENGTHS = [pack_length(length) for length in range(256)]
EMPTY = LENGTHS[0]
pack_small = struct.Struct(">ih").pack
pack_flag = struct.Struct(">i?").pack
pack_big = struct.Struct(">iq").pack
pack_double = struct.Struct(">id").pack
pack_key = struct.Struct(">hi16siqi16s").pack
pack_sizes = struct.Struct(">iqiqiiid").pack

WHOM = slice(Row._fields.index("tenant_id"), Row._fields.index("route"))
WHAT = slice(Row._fields.index("route"), Row._fields.index("end_user"))
PRICE_ID_AT = Row._fields.index("price_id") - WHAT.start
OWN = slice(Row._fields.index("end_user"), Row._fields.index("request_bytes"))
COUNTS = slice(Row._fields.index("input_tokens"), Row._fields.index("connect_us"))
TIMES = slice(Row._fields.index("connect_us"), None)


class RefusedRow(ValueError):  # noqa: N818 - it names the thing that is put aside
    """A row that the table can't hold; the text says why."""


class RowEncoder:
    """Encodes rows for COPY calls (COLUMNS) FROM STDIN (FORMAT BINARY)."""

    def __init__(self) -> None:
        self._whom: dict[tuple[Any, ...], bytes] = {}
        self._what: dict[tuple[Any, ...], bytes] = {}
        self._dump_number = Transformer().get_dumper(Decimal(1), PyFormat.BINARY).dump

    def encode(self, row: Row) -> bytes:
        values: tuple[Any, ...] = row
        whom, what = values[WHOM], values[WHAT]
        try:
            return b"".join(
                (
                    pack_key(len(COLUMNS), 16, values[0], 8, values[1] - EPOCH_US, 16, values[2]),
                    self._whom.get(whom) or self._keep(self._whom, whom),
                    self._what.get(what) or self._keep(self._what, what),
                    *[encode_own(value) for value in values[OWN]],
                    pack_sizes(8, values[37], 8, values[38], 4, values[39], 8, values[40] / 1000),
                    self._encode_number(values[41]),
                    NULL if values[42] is None else pack_length(len(values[42]) + 1) + b"\1" + values[42],
                    *[NULL if value is None else pack_big(8, value) for value in values[COUNTS]],
                    *[NULL if value is None else pack_double(8, value / 1000) for value in values[TIMES]],
                )
            )
        except (struct.error, ValueError, TypeError, OverflowError) as problem:
            raise RefusedRow(f"the table can't hold it: {problem}") from None

    def _encode_number(self, number: Decimal | None) -> bytes:
        if number is None:
            return NULL
        data = self._dump_number(number) or b""
        return pack_length(len(data)) + data

    def _keep(self, kept: dict[tuple[Any, ...], bytes], values: tuple[Any, ...]) -> bytes:
        encoded = b"".join(encode_value(value) for value in values)
        if kept is self._what and not values[PRICE_ID_AT]:
            before, after = values[:PRICE_ID_AT], values[PRICE_ID_AT + 1 :]
            encoded = b"".join(map(encode_value, before)) + NULL + b"".join(map(encode_value, after))
        if len(kept) >= MOST_KEPT:
            kept.clear()
        kept[values] = encoded
        return encoded


def encode_value(value: Any) -> bytes:
    if value.__class__ is bool:
        return pack_flag(1, value)
    if value.__class__ is int:
        return pack_small(2, value)
    return encode_own(value)


def encode_own(value: str | bytes | None) -> bytes:
    """A text, an id of bytes, or nothing."""
    if not value:
        return NULL if value is None else EMPTY
    if value.__class__ is str:
        if "\0" in value:
            value = value.replace("\0", "\ufffd")
        value = value.encode("utf-8", "replace")
    length = len(value)
    return (LENGTHS[length] if length < 256 else pack_length(length)) + value  # type: ignore[operator]
