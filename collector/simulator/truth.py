"""The truth: what the simulator really served, one Entry per model request, to hold against a ledger.

Entries are kept in memory for `GET /sim/log` and appended to a file when one is named, flushed one by one, so
that they outlive a kill. An entry is written in the same breath as the last byte, before anything else is
served: who saw a reply end finds its entry.
"""

from collections import deque
from pathlib import Path

import msgspec

from collector.simulator.reply import encode

_KEPT = 200_000


class Entry(msgspec.Struct, kw_only=True):
    seq: int = 0
    id: str  # as in the reply's body; for errors req_...
    request_id: str = ""  # the client's X-Request-Id, or ours
    path: str
    operation: str = ""
    flavour: str = ""
    model: str = ""
    served_model: str = ""
    stream: bool = False
    status: int
    outcome: str = ""  # finished, refused, error, aborted (client gone), cut, reset, stalled
    finish: str = ""
    prompt_tokens: int = 0  # as asked; /metrics counts them when the first token comes
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    completion_tokens: int = 0  # really generated, hidden ones too
    usage_told: bool = False  # the reply, were it served to the end, tells its usage
    service_tier: str = ""
    reply_bytes: int = 0  # of the body, without framing, before compression
    request_bytes: int = 0
    reply_sha256: str = ""  # of those bytes
    request_sha256: str = ""
    header_names: list[str] = []  # of the request, sorted: what reached the upstream
    traceparent: str = ""
    started_at: float = 0.0
    first_token_ms: float | None = None
    duration_ms: float = 0.0


class TruthLog:
    def __init__(self, path: str = ""):
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._file = Path(path).open("ab", buffering=0) if path else None  # noqa: SIM115 - open while we serve
        self._seq = 0

    def append(self, entry: Entry) -> None:
        self._seq += 1
        entry.seq = self._seq
        self._entries.append(entry)
        if self._file:
            self._file.write(encode(entry) + b"\n")

    def read(self, after: int = 0) -> bytes:
        """JSON lines of the entries with a greater seq."""
        return b"".join(encode(entry) + b"\n" for entry in self._entries if entry.seq > after)

    def clear(self) -> None:
        self._entries.clear()

    def close(self) -> None:
        if self._file:
            self._file.close()
