"""A book that is imported while record runs prices the next calls; those before keep their price."""

from decimal import Decimal

import psycopg
import pytest

from collector.call import Call, Usage, new_call_id, now_ns
from collector.ledger import shelf
from collector.ledger.journals import Journals
from collector.ledger.metrics import RecordMetrics
from collector.ledger.recorder import Recorder
from collector.ledger.shelf import BookWatch, Shelf


@pytest.fixture
def append(journal):
    def call():
        at = now_ns()
        usage = Usage(input_tokens=1_000_000, output_tokens=0)
        given = {"model": "llama-8b", "operation": "chat", "status": 200, "usage_source": "reported"}
        journal.append(Call(call_id=new_call_id(at), started_at_ns=at, usage=usage, **given))

    return call


def test_new_prices_need_no_restart_and_old_calls_keep_theirs(
    append, tmp_path, exporter, prices, database_url, monkeypatch
):
    monkeypatch.setattr(shelf, "LOOK_S", 0.0)
    books = Shelf([], tmp_path / "prices")
    watch = BookWatch(books, prices)
    recorder = Recorder(Journals(tmp_path), exporter, prices, RecordMetrics(), look_at_books=watch.look)
    for rates in ("", "input: 2, output: 3", "input: 4"):
        if rates:
            (tmp_path / "own.yaml").write_text(f"prices: [{{model: llama-*, {rates}}}]")
            books.import_book(tmp_path / "own.yaml")
        append()
        while recorder.record_once():
            pass
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT price_state, cost_usd, origin, rates FROM calls LEFT JOIN price_versions USING (price_id)"
            " ORDER BY started_at"
        ).fetchall()
    assert rows[0] == ("unpriced", None, None, None)
    assert rows[1] == ("priced", Decimal(2), "own.yaml", {"input_mtok": "2", "output_mtok": "3"})
    assert rows[2] == ("priced", Decimal(4), "own.yaml", {"input_mtok": "4"})
