import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from collector.spend.actual import SpendRow, total
from collector.spend.period import Period
from collector.spend.render import (
    FORMULA_STARTS,
    places_for,
    render_csv,
    render_json,
    render_table,
    safe_cell,
)
from collector.spend.report import Report, gaps

OCTOBER = Period(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), "2026-10")


def make_report(rows: list[SpendRow], dimensions: tuple[str, ...] = ("team", "model")) -> Report:
    by_model = [SpendRow(("openai", row.names[-1]), unpriced=row.unpriced) for row in rows if row.names]
    return Report(OCTOBER, "UTC", dimensions, rows, total(rows, len(dimensions)), gaps(by_model))


ROWS = [
    SpendRow(
        ("search", "gpt-4o"), calls=3, input_tokens=3_000, output_tokens=40, cost_usd=Decimal("12.345678901")
    ),
    SpendRow(("", "llama"), calls=2, unpriced=2, input_tokens=10, output_tokens=20),
]


def test_a_table_lines_up_and_names_what_is_missing() -> None:
    assert render_table(make_report(ROWS)) == (
        "Spend 2026-10 (UTC)\n"
        "\n"
        "team    model   calls  errors  tokens in  cached  tokens out  cost USD\n"
        "------  ------  -----  ------  ---------  ------  ----------  --------\n"
        "search  gpt-4o      3       0      3,000       0          40     12.35\n"
        "(none)  llama       2       0         10       0          20   unknown\n"
        "------  ------  -----  ------  ---------  ------  ----------  --------\n"
        "TOTAL               5       0      3,010       0          60     12.35\n"
        "\n"
        "Not in the total (so it is the least that was spent):\n"
        "  openai llama: 2 unpriced (no price is known for it)\n"
    )


def test_a_table_without_dimensions_is_the_total_alone() -> None:
    text = render_table(Report(OCTOBER, "UTC", (), [], SpendRow((), calls=1, cost_usd=Decimal(20)), []))
    assert text.splitlines()[-1].split() == ["TOTAL", "1", "0", "0", "0", "0", "20.00"]


def test_an_empty_month_says_so() -> None:
    assert "No calls in this period." in render_table(make_report([]))


def test_csv_keeps_every_digit_and_leaves_unknown_cost_empty() -> None:
    lines = list(csv.DictReader(io.StringIO(render_csv(make_report(ROWS)))))
    assert [line["cost_usd"] for line in lines] == ["12.345678901", "", "12.345678901"]
    assert [line["team"] for line in lines] == ["search", "", "TOTAL"]


@given(st.text(), st.sampled_from(FORMULA_STARTS))
def test_no_csv_cell_begins_a_formula(text: str, start: str) -> None:
    for cell in (safe_cell(start + text), safe_cell(" " + start + text)):
        assert cell == "'" + cell[1:]


@given(st.text().filter(lambda text: not text.lstrip(" ").startswith(FORMULA_STARTS)))
def test_other_csv_cells_stay_as_they_are(text: str) -> None:
    assert safe_cell(text) == text


def test_json_carries_money_as_text_and_unknown_as_null() -> None:
    found = json.loads(render_json(make_report(ROWS)))
    assert [row["cost_usd"] for row in found["rows"]] == ["12.345678901", None]
    assert found["total"]["cost_usd"] == "12.345678901"
    assert found["start"] == "2026-10-01T00:00:00Z"
    assert found["without_cost"][0]["model"] == "llama"


def test_names_move_no_cursor_and_wide_ones_line_up() -> None:
    rows = [SpendRow(("\x1b[2Jx\u202e",), calls=1, cost_usd=Decimal(20)), SpendRow(("検索",), calls=1)]
    text = render_table(make_report(rows, ("team",)))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "検索" in text


@given(st.lists(st.decimals(-1000, 1000, places=9, allow_nan=False), max_size=30))
def test_a_total_is_the_exact_sum(costs: list[Decimal]) -> None:
    rows = [SpendRow((str(place),), calls=1, cost_usd=cost) for place, cost in enumerate(costs)]
    assert total(rows, 1).cost_usd == sum(costs, Decimal(0))


def test_small_sums_show_more_places() -> None:
    assert [places_for(Decimal(text)) for text in ("0", "1234", "10", "9.99", "0.1", "0.09")] == [
        2,
        2,
        2,
        4,
        4,
        6,
    ]
