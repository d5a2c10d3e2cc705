"""Where price books stand: those that the configuration names, then those that were imported. Enters: paths.
Leaves: all of them as one Book, read again when a file changed.

Invariant: a book that breaks while record runs changes nothing: the last that was right stays in force.
"""

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from collector.config import Config
from collector.errors import SizewiseError
from collector.ledger.book import Book, merge
from collector.ledger.book_file import KINDS, BookError, read_book
from collector.ledger.prices import PriceList

log = logging.getLogger(__name__)

LOOK_S = 2.0
Marks = tuple[tuple[str, int, int, int], ...]


def imported_folder(state_dir: Path) -> Path:
    return state_dir / "prices"


class Shelf:
    def __init__(self, books: Sequence[Path], folder: Path) -> None:
        self.books, self.folder = list(books), folder

    def paths(self) -> list[Path]:
        """In the order in which they are asked: the configuration's own, then the imported by name."""
        try:
            imported = sorted(path for path in self.folder.iterdir() if is_book(path))
        except OSError:
            imported = []
        return [*self.books, *imported]

    def read(self) -> Book:
        """Raises one BookError with the problems of all files."""
        books, problems = [], []
        for path in self.paths():
            try:
                books.append(read_book(path))
            except BookError as problem:
                problems.append(str(problem))
        if problems:
            raise BookError("\n".join(problems))
        return merge(books)

    def marks(self) -> Marks:
        """Differ when a file came, went or changed."""
        return tuple(mark_of(path) for path in self.paths())

    def import_book(self, path: Path) -> Path:
        """Checked and copied whole, or not at all; one of the same name is replaced."""
        read_book(path)
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / path.name
        fresh = self.folder / f".{path.name}.{os.getpid()}"
        fresh.write_bytes(path.read_bytes())
        fresh.replace(target)
        return target


def is_book(path: Path) -> bool:
    return path.suffix.lower() in KINDS and not path.name.startswith(".") and path.is_file()


def mark_of(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns


def shelf_of(config: Config) -> Shelf:
    return Shelf(config.prices.books, imported_folder(config.state_dir))


def price_list(config: Config) -> PriceList:
    return PriceList(shelf_of(config).read(), config.prices.aliases)


class BookWatch:
    """Keeps a price list at what the files say. Asked often, it looks every few seconds."""

    def __init__(self, shelf: Shelf, prices: PriceList) -> None:
        self._shelf, self._prices = shelf, prices
        self._marks = shelf.marks()
        prices.use(shelf.read())
        self._next_look = time.monotonic() + LOOK_S

    def look(self) -> bool:
        """Whether other prices hold from now on."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_S
        return self.refresh()

    def refresh(self) -> bool:
        marks = self._shelf.marks()
        if marks == self._marks:
            return False
        self._marks = marks
        try:
            self._prices.use(self._shelf.read())
        except SizewiseError as problem:
            log.error(
                "the price books changed and are refused; the last right ones stay in force: %s", problem
            )
            return False
        log.info("the price books changed: new calls are priced by them")
        return True
