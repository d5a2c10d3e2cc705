"""Price books from files. Enters: the path of a YAML or CSV file. Leaves: a `Book` that is right in every
key, or one BookError that lists every problem with its key, value, what is allowed, file and line.
"""

import csv
import io
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from genai_prices.types import Tier, TieredPrices

from collector.config.sources import (
    Key,
    Origin,
    Problem,
    Source,
    dotted,
    find_origin,
    read_yaml,
)
from collector.errors import SizewiseError
from collector.ledger import book
from collector.ledger.book_check import check, check_across
from collector.ledger.book_form import BookForm, EntryForm
from collector.ledger.rates import Prices

KINDS = (".yaml", ".yml", ".csv")
MOST_BYTES = 16 * 1024 * 1024


class BookError(SizewiseError):
    """A price book is refused."""


def read_book(path: Path) -> book.Book:
    source = read_source(path)
    form, problems = None, list(source.problems)
    if not problems:
        form, problems = check(source, path)
    if form is not None:
        problems += check_across(form, source)
    if problems or form is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise BookError(
            "\n".join([f"The price book {path} is refused: {count}.", *(f"  {one}" for one in problems)])
        )
    return make_book(form, source, path)


def read_source(path: Path) -> Source:
    if path.suffix.lower() not in KINDS:
        raise BookError(f"{path}: a price book is a file named *.yaml, *.yml or *.csv.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BookError(f"{path}: larger than {MOST_BYTES // 2**20} MiB, which no price book is.")
        return read_csv(path) if path.suffix.lower() == ".csv" else read_yaml(path, {})
    except OSError as problem:
        raise BookError(f"The price book {path} can't be read: {problem.strerror}.") from None


def read_csv(path: Path) -> Source:
    """Its rows as the `prices` of a book. An empty cell is a key that isn't there."""
    source = Source()
    try:
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)
        names = [name.strip() for name in rows.fieldnames or ()]
        source.origins[()] = Origin(path, 1)
        source.origins[("prices",)] = Origin(path, 1)
        rows.fieldnames = names
        prices: list[dict[str, Any]] = []
        for row in rows:
            at = Origin(path, rows.line_num)
            key: Key = ("prices", len(prices))
            if None in row or None in row.values():
                what = f"has not the {len(names)} cells that the first line names"
                source.problems.append(Problem(dotted(key), "", what, at))
            cells = {
                name: (cell or "").strip() for name, cell in row.items() if isinstance(cell, str) and name
            }
            source.origins[key] = at
            prices.append({name: cell for name, cell in cells.items() if cell})
        source.values = {"prices": [without_quotes(row) for row in prices]}
    except (csv.Error, UnicodeDecodeError) as problem:
        source.problems.append(Problem(path.name, "", f"not CSV: {problem}", Origin(path, 1)))
    return source


def without_quotes(row: dict[str, Any]) -> dict[str, Any]:
    """`""` in a cell says the empty text, which an empty cell does not."""
    return {name: "" if cell == '""' else cell for name, cell in row.items()}


def make_book(form: BookForm, source: Source, path: Path) -> book.Book:
    name = form.name or path.name
    currency = book.Currency(form.currency, tuple((one.start, one.usd) for one in form.exchange))

    def places(section: str, forms: Sequence[Any]) -> list[tuple[book.Place, Any]]:
        lines = [find_origin(source.origins, (section, at)).line for at in range(len(forms))]
        return [(book.Place(name, str(path), line), one) for line, one in zip(lines, forms, strict=True)]

    return book.Book(
        entries=tuple(make_entry(place, one, currency) for place, one in places("prices", form.prices)),
        discounts=tuple(
            book.Discount(place, one.provider, one.model, one.team, one.span, one.percent)
            for place, one in places("discounts", form.discounts)
        ),
        commitments=tuple(
            book.Commitment(
                place, one.name, one.kind, one.provider, one.model, one.span, one.per_month, currency
            )
            for place, one in places("commitments", form.commitments)
        ),
        credits=tuple(
            book.Credit(place, one.name, one.provider, one.span, one.amount, currency)
            for place, one in places("credits", form.credits)
        ),
        markups=tuple(
            book.Markup(place, one.team, one.span, one.percent)
            for place, one in places("chargeback", form.chargeback)
        ),
    )


def make_entry(place: book.Place, form: EntryForm, currency: book.Currency) -> book.Entry:
    return book.Entry(
        place=place,
        provider=form.provider,
        model=form.model,
        span=form.span,
        service_tier=form.service_tier,
        region=form.region,
        team=form.team,
        prices=FREE if form.free else tiered(form),
        currency=book.Currency() if form.free else currency,
        free=form.free,
        net=form.net,
    )


FREE: Prices = {"input_mtok": Decimal(0), "output_mtok": Decimal(0)}


def tiered(form: EntryForm) -> Prices:
    """A unit that a tier doesn't name keeps there what it costs below."""
    prices: Prices = {}
    for unit, base in form.by_unit().items():
        tiers = [
            Tier(tier.above_input_tokens, tier.by_unit()[unit])
            for tier in form.tiers
            if unit in tier.by_unit()
        ]
        prices[unit] = TieredPrices(base, tiers) if tiers else base
    return prices
