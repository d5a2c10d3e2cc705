"""Books as people write them: what is refused, and that every problem is told with its line."""

import pytest

from collector.ledger.book_file import BookError, read_book
from collector.ledger.shelf import BookWatch, Shelf


def refusal(tmp_path, text, name="book.yaml"):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BookError) as refused:
        read_book(path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("prices:\n  - {model: m, inputt: 1}", 2, ["prices[0].inputt", "did you mean input?"]),
        ("prices:\n  - {model: m, input: lots}", 2, ["prices[0].input = 'lots'", "decimal"]),
        ("prices:\n  - {model: m, input: -1}", 2, ["prices[0].input = '-1'", "greater than or equal to 0"]),
        ("prices:\n  - {model: m, input: .nan}", 2, ["prices[0].input"]),
        ("prices:\n  - {input: 1}", 2, ["prices[0].model", "required"]),
        ("prices:\n  - {model: m}", 2, ["no price above 0", "free: true", "per_1k_images"]),
        ("prices:\n  - {model: m, input: 0}", 2, ["no price above 0"]),
        ("prices:\n  - {model: m, input: 1, free: true}", 2, ["keep one of them"]),
        ("prices:\n  - {model: m, input: 1, from: 2026-01-02, to: 2026-01-02}", 2, ["first day after"]),
        ("prices:\n  - {model: m, input: 1, from: 2026-13-01}", 2, ["prices[0].from"]),
        (
            "prices:\n  - {model: m, input: 1, to: 2026-05-02}\n  - {model: m, input: 2, from: 2026-05-01}",
            3,
            ["prices[1]", "same days as line 2"],
        ),
        (
            "prices:\n  - {model: m, input: 1, tiers: [{above_input_tokens: 5, output: 2}]}",
            2,
            ["tier prices output_mtok"],
        ),
        ("discounts:\n  - percent: 101", 2, ["discounts[0].percent = '101'", "less than or equal to 100"]),
        ("commitments:\n  - {name: a, kind: lease, per_month: 1}", 2, ["'ptu' or 'minimum'"]),
        ("credits:\n  - {name: a, amount: 5}", 2, ["`from` is required"]),
        ("currency: EUR\nprices:\n  - {model: m, input: 1}", 1, ["EUR need `exchange"]),
        (
            "currency: EUR\nexchange: [{from: 2026-02-01, usd: 1}]\nprices:\n  - {model: m, input: 1}",
            4,
            ["before `exchange` has a rate (2026-02-01)"],
        ),
        ("prices: {model: m}", 1, ["allowed is a list"]),
        ("rates: []", 1, ["rates", "no such key", "prices"]),
        ("prices: [", 1, ["not YAML"]),
    ],
)
def test_refusals_name_key_value_and_line(tmp_path, text, line, words):
    told = refusal(tmp_path, text)
    assert f"book.yaml:{line}" in told
    for word in words:
        assert word in told


def test_all_problems_are_told_at_once(tmp_path):
    told = refusal(tmp_path, "prices:\n  - {model: m, input: x}\n  - {model: n, output: y}\nfoo: 1")
    assert "3 problems" in told
    assert "book.yaml:3" in told


CSV = """provider,model,from,to,input,output,free,team
openai,gpt-4o*,2026-07-01,,2.25,9,,
,llama-8b,,,,,true,research
"""


def test_a_csv_is_a_book_of_prices(tmp_path):
    path = tmp_path / "book.csv"
    path.write_text(CSV)
    first, second = read_book(path).entries
    assert (first.provider, first.model, str(first.span.start), first.team) == (
        "openai",
        "gpt-4o*",
        "2026-07-01",
        "*",
    )
    assert str(first.place) == f"{path}:2"
    assert second.free
    assert (second.provider, second.place.line) == ("*", 3)


def test_a_csv_tells_its_lines(tmp_path):
    told = refusal(tmp_path, CSV + "x,y,,,abc,1,,\nx,y,1\n", "book.csv")
    assert "prices[2].input = 'abc'" in refusal(tmp_path, CSV + "x,y,,,abc,1,,\n", "book.csv")
    assert "book.csv:5" in told  # the short row


def test_no_other_file_is_a_book(tmp_path):
    assert "*.yaml, *.yml or *.csv" in refusal(tmp_path, "", "book.txt")
    with pytest.raises(BookError, match="can't be read"):
        read_book(tmp_path / "nowhere.yaml")


class Told:
    def __init__(self):
        self.books = []

    def use(self, book):
        self.books.append(book)


def test_a_shelf_asks_named_books_first_then_imported_ones(tmp_path):
    named, fresh = tmp_path / "z.yaml", tmp_path / "a.yaml"
    named.write_text("prices: [{model: m, input: 1}]")
    fresh.write_text("prices: [{model: m, input: 2}]")
    shelf = Shelf([named], tmp_path / "state" / "prices")
    assert shelf.import_book(fresh) == tmp_path / "state" / "prices" / "a.yaml"
    assert [entry.place.book for entry in shelf.read().entries] == ["z.yaml", "a.yaml"]


def test_a_broken_import_leaves_everything_as_it_was(tmp_path):
    shelf = Shelf([], tmp_path / "prices")
    broken = tmp_path / "b.yaml"
    broken.write_text("prices: 1")
    with pytest.raises(BookError):
        shelf.import_book(broken)
    assert shelf.paths() == []


def test_a_watch_takes_what_is_right_and_keeps_it_when_it_breaks(tmp_path, caplog):
    shelf, told = Shelf([], tmp_path), Told()
    watch = BookWatch(shelf, told)
    assert not watch.refresh()
    (tmp_path / "b.yaml").write_text("prices: [{model: m, input: 1}]")
    assert watch.refresh()
    (tmp_path / "b.yaml").write_text("prices: [{model: m, input: many}]")
    assert not watch.refresh()
    assert "many" in caplog.text
    assert [len(book.entries) for book in told.books] == [0, 1]
    (tmp_path / "b.yaml").unlink()
    assert watch.refresh()
    assert len(told.books[-1].entries) == 0
