"""What the client and the upstreams saw, held against the ledger.

Enters: the client's log, the upstreams' truth log, a connection to the ledger. Leaves: a Verdict.

The rule, for every call: one that the client saw end is in the ledger exactly once, with the id that stood in
the reply and the tokens that the upstream counted; one that an upstream saw is there exactly once, whatever
became of it; none is there twice; and the rollups and cursors count exactly the rows.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.harness.product import Product, wait_until
from collector.journal import Position
from collector.journal import status as journal_status

SETTLE_S = 30.0
ROWS = """
    SELECT replace(trace_id::text, '-', ''), response_id, outcome, input_tokens, output_tokens, cost_usd
    FROM calls
"""
COUNTS = """
    SELECT (SELECT count(*) FROM calls), (SELECT coalesce(sum(calls), 0) FROM rollup_hours),
           (SELECT coalesce(sum(calls), 0) FROM rollup_days), (SELECT coalesce(sum(calls), 0) FROM cursors),
           (SELECT count(*) FROM quarantine)
"""


@dataclass
class Verdict:
    begun: int = 0
    ended: int = 0  # calls whose end the client saw
    failed: list[str] = field(default_factory=list)  # what the client saw break
    refused: int = 0  # connections refused
    rows: int = 0
    interrupted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # there, but not as it was

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.refused)

    def __str__(self) -> str:
        return (
            f"{self.begun} calls begun, {self.ended} seen to end, {len(self.failed)} broken, "
            f"{self.refused} connections refused; {self.rows} rows, {self.interrupted} interrupted; "
            f"{len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.wrong)} wrong"
        )


def read_log(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: the last may still be being written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1] if line]


def judge(product: Product, client_log: Path, truth_log: Path) -> Verdict:
    """Waits until everything in the journals is in the ledger, at most SETTLE_S."""
    late = ""
    try:
        wait_until("the ledger has all that the journals hold", lambda: is_settled(product), SETTLE_S, 0.1)
    except TimeoutError as problem:
        late = str(problem)
    with psycopg.connect(product.database_url) as connection:
        verdict = compare(read_log(client_log), read_log(truth_log), connection)
    if late:
        verdict.wrong.append(late)
    return verdict


def compare(
    seen: list[dict[str, Any]], served: list[dict[str, Any]], connection: "psycopg.Connection[Any]"
) -> Verdict:
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for row in connection.execute(ROWS):
        rows.setdefault(row[0] or "", []).append(row)
    found: dict[str, list[dict[str, Any]]] = {}
    for one in seen:
        found.setdefault(one["event"], []).append(one)
    verdict = Verdict(
        begun=len(found.get("begun", ())),
        ended=len(found.get("ended", ())),
        failed=[one["problem"] for one in found.get("failed", ())],
        refused=len(found.get("refused", ())),
        rows=sum(map(len, rows.values())),
        interrupted=sum(row[2] == "interrupted" for same in rows.values() for row in same),
    )
    truth = {one["id"]: one for one in served}
    for one in found.get("ended", ()):
        check_ended(one, rows.get(one["trace"], []), truth.get(one["id"]), verdict)
    for trace in {one["traceparent"][3:35] for one in served if one["traceparent"]} - rows.keys():
        verdict.lost.append(f"{trace}, which an upstream saw")
    begun = {one["trace"] for one in found.get("begun", ())}
    for trace, same in rows.items():
        if len(same) > 1:
            verdict.doubled.append(f"{trace}: {same}")
        if trace not in begun:
            verdict.wrong.append(f"{trace}: nobody made this call: {same}")
    check_sums(connection, rows, verdict)
    return verdict


def check_ended(
    one: dict[str, Any], rows: list[tuple[Any, ...]], served: dict[str, Any] | None, verdict: Verdict
) -> None:
    if not rows:
        verdict.lost.append(f"{one['trace']} ({one['id']}), which the client saw end")
        return
    _, response_id, outcome, input_tokens, output_tokens, cost_usd = rows[0]
    if response_id != one["id"] or outcome != "ok":
        verdict.wrong.append(f"{one['trace']}: {response_id} {outcome}, the client saw {one['id']} end")
    if served is None:
        return  # by an upstream without a truth log
    if (input_tokens, output_tokens) != (served["prompt_tokens"], served["completion_tokens"]):
        verdict.wrong.append(f"{one['trace']}: {input_tokens}+{output_tokens} tokens, served {served}")
    if not cost_usd:
        verdict.wrong.append(f"{one['trace']}: without a price")


def check_sums(
    connection: "psycopg.Connection[Any]", rows: dict[str, list[tuple[Any, ...]]], verdict: Verdict
) -> None:
    ids = Counter(row[1] for same in rows.values() for row in same if row[1])
    verdict.doubled += [f"{name} has {count} rows" for name, count in ids.items() if count > 1]
    counts = connection.execute(COUNTS).fetchone()
    assert counts is not None
    calls, hours, days, cursors, quarantined = map(int, counts)
    if not calls == hours == days == cursors:
        verdict.wrong.append(f"{calls} calls, {hours} in hours, {days} in days, {cursors} by the cursors")
    if quarantined:
        verdict.wrong.append(f"{quarantined} frames in quarantine")


def is_settled(product: Product) -> bool:
    """Whether the cursors stand at the very end of every journal."""
    try:
        rows = product.query("SELECT source_id, segment, byte_offset FROM cursors")
    except psycopg.Error:
        return False
    cursors = {row[0]: Position(*row[1:]) for row in rows}
    journals = journal_status(Path(product.status()["journal_dir"]), cursors)
    return not any(journal.lag_bytes for journal in journals)
