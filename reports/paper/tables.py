"""Tables of a paper against facts: a row is found by its title, a column by its heading, then cells are compared.

A row or a column of another name is found by what is in it: where at least half of its numbers are those of one row or
column of the store, the others are held against that too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from spectral_bench.reports.paper.facts import (
    NUMBER,
    UNIT,
    UNITS,
    ColumnId,
    Fact,
    Facts,
    Part,
    RowId,
    Written,
    key,
    written,
)
from spectral_bench.reports.paper.tex import TexCell, TexTable

_SPREAD = re.compile(r"^[\s]*[±\[(]")
_CELL = re.compile(
    rf"(?P<value>{NUMBER})(?P<brief>\(\d+\))?\s*(?P<unit>(?:{UNIT})(?![A-Za-z]))?"
    rf"(?:\s*±\s*(?P<std>{NUMBER})|\s*\(\s*±?\s*(?P<within>{NUMBER})\s*\))?"
    rf"(?:\s*\[\s*(?P<low>{NUMBER})\s*,\s*(?P<high>{NUMBER})\s*\])?\s*%?\s*[*†‡§¶‖a-z,]{{0,4}}"
)
_UNIT_OF_HEAD = re.compile(rf"[(\[]\s*({UNIT})\s*[)\]]")
_FORM = re.compile(r"\([^)]*\)|\[[^\]]*\]|±\s*(?:std|sd|σ)?|[↑↓]")


@dataclass
class Number:
    """A number in a cell of a paper's table.

    Attributes:
        written: as it stands.
        part: which number of the cell.
        offset: where the cell is.
        row, column: of the table.
    """

    written: Written
    part: Part
    offset: int
    row: int
    column: int


@dataclass
class _Laid:
    """A table with its numbers, and what its rows and columns are called."""

    numbers: list[Number] = field(default_factory=list)
    rows: dict[int, list[str]] = field(default_factory=dict)
    columns: dict[int, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Matched:
    """A number with the facts that it may state; none where row or column are not of the store."""

    number: Number
    facts: tuple[Fact, ...]


def matched_numbers(table: TexTable, caption: str, facts: Facts) -> Iterator[Matched]:
    """Every number of a table of a paper with the facts that it may state.

    Args:
        table: of the paper.
        caption: of it.
        facts: of the store.
    """
    laid = _laid(table)
    upright, turned = (_Match(laid, caption, facts, turned=turned) for turned in (False, True))
    best = max(upright, turned, key=lambda match: (match.named, match.known))
    yield from best.matched()


def _laid(table: TexTable) -> _Laid:
    laid, covered = _Laid(), dict[int, tuple[int, str]]()
    for cell in chain.from_iterable(table.heads):
        for column in range(cell.column, cell.column + cell.span):
            if cell.text:
                laid.columns.setdefault(column, []).append(cell.text)
    for index, cells in enumerate(table.body):
        for cell in cells:
            left, text = covered.get(cell.column, (0, ""))
            if left and not cell.text:
                covered[cell.column] = left - 1, text
                laid.rows.setdefault(index, []).append(text)
            if cell.rows > 1:
                covered[cell.column] = cell.rows - 1, cell.text
        for cell in _joined(cells):
            found = _CELL.fullmatch(cell.text)
            unit = _unit(laid.columns.get(cell.column, []))
            if found is None:
                laid.rows.setdefault(index, []).append(cell.text)
            else:
                laid.numbers += _numbers(found, unit, cell, index)
    return laid


def _joined(cells: Sequence[TexCell]) -> list[TexCell]:
    """The cells; a spread in a column of its own is put behind the number before it."""
    joined: list[TexCell] = []
    for cell in cells:
        if not cell.text:
            continue
        if joined and _SPREAD.match(cell.text) and _CELL.fullmatch(f"{joined[-1].text} {cell.text}"):
            last = joined.pop()
            cell = TexCell(f"{last.text} {cell.text}", last.offset, last.column, last.span, last.rows)
        joined.append(cell)
    return joined


def _numbers(found: re.Match[str], unit: str, cell: TexCell, row: int) -> Iterator[Number]:
    unit = found["unit"] or unit
    value = written(found["value"], unit)
    yield Number(value, "", cell.offset, row, cell.column)
    if found["brief"]:  # 42.4(3): the uncertainty in units of the last digit
        digits = float(found["brief"].strip("()")) * 10.0**-value.decimals
        text = f"{digits:.{max(value.decimals, 0)}f}"
        yield Number(written(text, unit), "std", cell.offset, row, cell.column)
    parts: tuple[tuple[str, Part], ...] = (("std", "std"), ("within", "std"), ("low", "low"), ("high", "high"))
    for group, part in parts:
        if found[group]:
            yield Number(written(found[group], unit), part, cell.offset, row, cell.column)


def _unit(heads: Sequence[str]) -> str:
    found = (one[1] for text in heads for one in _UNIT_OF_HEAD.finditer(text))
    return next((unit for unit in found if unit in UNITS), "")


class _Match:
    """Which rows and columns of the store those of a table are.

    Args:
        laid: the table.
        caption: of it.
        facts: of the store.
        turned: rows of the paper are columns of the store.
    """

    def __init__(self, laid: _Laid, caption: str, facts: Facts, *, turned: bool) -> None:
        self._laid, self._facts, self._turned = laid, facts, turned
        self._context = key(caption)
        self._row_words, self._column_words = (laid.columns, laid.rows) if turned else (laid.rows, laid.columns)
        self._rows = {index: self._rows_called(words) for index, words in self._row_words.items()}
        self._columns = {index: self._columns_called(words) for index, words in self._column_words.items()}
        self.named = sum(bool(self._candidates(number)) for number in laid.numbers)
        self._vote()
        self.known = sum(bool(self._candidates(number)) for number in laid.numbers)

    def _place(self, number: Number) -> tuple[int, int]:
        return (number.column, number.row) if self._turned else (number.row, number.column)

    def _rows_called(self, words: Sequence[str]) -> set[RowId]:
        return {row for text in words for row in self._facts.titles.get(key(text), ())}

    def _columns_called(self, words: Sequence[str]) -> set[ColumnId]:
        called = {key(_FORM.sub(" ", text)) for text in (*words, " ".join(words))}
        return {column for name in called for column in self._facts.headings.get(name, ())}

    def _vote(self) -> None:
        """Find rows, then columns, of other names by the numbers in them."""
        numbers = self._laid.numbers
        for index in sorted({self._place(number)[0] for number in numbers}):
            if not self._rows.get(index):
                own = [number for number in numbers if self._place(number)[0] == index]
                pools = [(one, self._columns.get(self._place(one)[1], set())) for one in own]
                self._rows[index] = _elected(
                    (one, (fact for column in pool for fact in self._facts.of_column[column])) for one, pool in pools
                )
        for index in sorted({self._place(number)[1] for number in numbers}):
            if not self._columns.get(index):
                own = [number for number in numbers if self._place(number)[1] == index]
                rows = [(one, self._rows.get(self._place(one)[0], set())) for one in own]
                self._columns[index] = _elected_columns(
                    (one, (fact for row in pool for fact in self._facts.of_row[row])) for one, pool in rows
                )

    def _candidates(self, number: Number) -> list[Fact]:
        row, column = self._place(number)
        found = (
            fact
            for one in self._rows.get(row, ())
            for table, store, name in self._columns.get(column, ())
            if one[:2] == (table, store)
            for fact in self._facts.cells.get((one, name), ())
        )
        return sorted((fact for fact in found if fact.part == number.part), key=lambda fact: fact.order)

    def matched(self) -> Iterator[Matched]:
        """The numbers with their facts; of rows of one name those that other words point to, or that agree most."""
        by_row: dict[int, list[tuple[Number, list[Fact]]]] = {}
        for number in self._laid.numbers:
            by_row.setdefault(self._place(number)[0], []).append((number, self._candidates(number)))
        for row, pairs in by_row.items():
            agreeing = Counter(
                fact.row for number, facts in pairs for fact in facts if fact.is_stated_by(number.written)
            )
            for number, facts in pairs:
                words = [*self._row_words.get(row, ()), *self._column_words.get(self._place(number)[1], ())]
                yield Matched(number, tuple(_narrowed(facts, words, self._context, agreeing)))


Ballot = tuple[Number, Iterable[Fact]]


def _votes(ballots: Iterable[Ballot]) -> tuple[list[list[Fact]], int]:
    """The facts that each number states, and how many numbers at least one row or column must have."""
    stated = [
        [fact for fact in facts if fact.part == one.part and not fact.published and fact.is_stated_by(one.written)]
        for one, facts in ballots
    ]
    return stated, max(2, -(-len(stated) // 2))


def _elected(ballots: Iterable[Ballot]) -> set[RowId]:
    """The rows that state most of some numbers, and at least half of them and two."""
    stated, least = _votes(ballots)
    votes = Counter(row for facts in stated for row in {fact.row for fact in facts})
    most = max(votes.values(), default=0)
    return {row for row, count in votes.items() if count == most >= least}


def _elected_columns(ballots: Iterable[Ballot]) -> set[ColumnId]:
    """The columns that state most of some numbers, and at least half of them and two."""
    stated, least = _votes(ballots)
    votes = Counter(column for facts in stated for column in {fact.column_id for fact in facts})
    most = max(votes.values(), default=0)
    return {column for column, count in votes.items() if count == most >= least}


def _narrowed(facts: list[Fact], words: Sequence[str], caption: str, agreeing: Counter[RowId]) -> list[Fact]:
    """Of facts of rows of one name those whose further texts are in the table, in the caption, or that agree most."""
    called = {key(text) for text in words}
    tests: tuple[Callable[[str], bool], ...] = (
        lambda text: key(text) in called,
        lambda text: len(key(text)) > 3 and key(text) in caption,
    )
    for test in tests:
        counts = {fact.row: sum(map(test, fact.texts[1:])) for fact in facts}
        facts = _best(facts, counts)
    return _best(facts, agreeing)


def _best(facts: Iterable[Fact], counts: dict[RowId, int] | Counter[RowId]) -> list[Fact]:
    """The facts of the rows with the highest count in each table."""
    most: dict[tuple[str, int], int] = {}
    found = list(facts)
    for fact in found:
        most[fact.row[:2]] = max(most.get(fact.row[:2], 0), counts.get(fact.row, 0))
    return [fact for fact in found if counts.get(fact.row, 0) == most[fact.row[:2]]]
