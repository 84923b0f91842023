"""One table model: typed columns, cells that know their uncertainty, seeds, runs and state, and notes.

Every renderer reads this model and nothing else, so a number is the same in LaTeX, Markdown, CSV and HTML.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

Kind = Literal["text", "percent", "points", "effect", "seconds", "bytes", "flops", "joules", "count", "number"]
Better = Literal["higher", "lower", "neither"]
Spread = Literal["none", "std", "interval"]


class CellState(StrEnum):
    """What a cell says in place of a number: what became of a run, or of all the runs behind the cell."""

    DONE = "done"
    FAILED = "failed"
    NOT_CONVERGED = "not converged"
    STALE = "stale"
    RUNNING = "running"
    MISSING = "missing"
    NOT_APPLICABLE = "not applicable"
    ABSENT = "absent"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: the name in CSV files; columns with a spread add ``<key>_std`` or ``<key>_low`` and ``<key>_high``.
        label: the heading for people.
        kind: what the values are. Percentages, points (signed differences of percentages) and effects (their sizes)
            are on the 0-100 scale, times in seconds, memory in bytes, energy in joules; renderers choose the unit.
        better: the direction of improvement, for ranking and sorting.
        spread: the form of uncertainty that the cells carry.
        constant: the column describes the setting; text renderers move it into the caption if all rows agree.
        machine: for CSV and HTML only.
        echoes: key of a column; text renderers leave this one out if it says the same in all rows.
    """

    key: str
    label: str
    kind: Kind = "text"
    better: Better = "neither"
    spread: Spread = "none"
    constant: bool = False
    machine: bool = False
    echoes: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        value: a number in the column's base unit, a text, or None where there is no value.
        std: sample standard deviation (n - 1) over seeds; None with fewer than two seeds.
        low, high: an interval around ``value``; None where it does not exist.
        n: seeds that the value rests on; 0 for cells that describe a setting.
        runs: ids of the runs that the value rests on, or that should have given it.
        state: anything but ``DONE`` is printed in words where there is no value.
        marks: symbols of notes of the table.
        bold: one of the best of its column, as far as the data can tell.
    """

    value: float | str | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    runs: tuple[str, ...] = ()
    state: CellState = CellState.DONE
    marks: tuple[str, ...] = ()
    bold: bool = False

    @property
    def number(self) -> float | None:
        """The value where it is a number, else None."""
        return self.value if isinstance(self.value, (int, float)) else None


@dataclass(frozen=True)
class TableRow:
    """One row.

    Attributes:
        cells: by column key.
        ranked: whether it takes part in rankings; methods that use labels and published rows do not.
        group: rows of one group stand together.
        published: whether it was copied from a paper instead of measured.
    """

    cells: dict[str, Cell]
    ranked: bool = True
    group: str = ""
    published: bool = False

    def cell(self, column: Column) -> Cell:
        """The cell of a column; an empty one where the row has none."""
        return self.cells.get(column.key, Cell())


@dataclass(frozen=True)
class Note:
    """A footnote. An empty symbol makes it a remark on the whole table."""

    symbol: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table as data.

    Attributes:
        name: a short identifier, used for file names and LaTeX labels.
        caption: what is shown, in sentences, without the constant columns.
        columns, rows: in print order.
        notes: footnotes and remarks.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[Note, ...] = field(default=())

    def column(self, key: str) -> Column:
        """The column of this key.

        Raises:
            KeyError: there is none.
        """
        for column in self.columns:
            if column.key == key:
                return column
        raise KeyError(key)

    def folded(self) -> Table:
        """The table for people: constant columns are told in the caption.

        Columns that are empty, for machines, or the echo of another one are left out.
        """
        shown = [column for column in self.columns if not column.machine and not self._is_echo(column)]
        constant = [column for column in shown if column.constant and len(self._values(column)) <= 1]
        empty = [column for column in shown if column not in constant and self._is_empty(column)]
        facts = [f"{column.label}: {value}" for column in constant for value in self._values(column) if value != ""]
        told = "; ".join(facts)
        caption = f"{self.caption} {told[0].upper()}{told[1:]}." if facts else self.caption
        kept = tuple(column for column in shown if column not in constant and column not in empty)
        return replace(self, caption=caption.strip(), columns=kept)

    def _values(self, column: Column) -> list[float | str]:
        """The different values of a column, rows without one left out."""
        cells = (row.cell(column) for row in self.rows)
        return list(dict.fromkeys(cell.value for cell in cells if cell.value is not None))

    def _is_echo(self, column: Column) -> bool:
        others = (row.cells.get(column.echoes, Cell()) for row in self.rows)
        return bool(column.echoes) and all(
            row.cell(column).value == other.value for row, other in zip(self.rows, others, strict=True)
        )

    def _is_empty(self, column: Column) -> bool:
        return all(row.cell(column).value is None and row.cell(column).state is CellState.DONE for row in self.rows)


class NoteBook:
    """Collects footnotes and hands out their symbols: the same text has the same symbol."""

    def __init__(self) -> None:
        self._notes: dict[str, Note] = {}
        self._letters = 0

    def mark(self, text: str, symbol: str | None = None) -> str:
        """The symbol of a footnote, which is added if it is new: ``symbol``, or the next of a, b, ..., z, aa, ..."""
        if text not in self._notes:
            if symbol is None:
                symbol, self._letters = _letters(self._letters), self._letters + 1
            self._notes[text] = Note(symbol, text)
        return self._notes[text].symbol

    def remark(self, text: str) -> None:
        """Add a remark on the whole table."""
        self._notes.setdefault(text, Note("", text))

    def notes(self) -> tuple[Note, ...]:
        """Footnotes in the order of their first use, those of one symbol as one, then remarks."""
        found: dict[str, Note] = {}
        for note in (note for note in self._notes.values() if note.symbol):
            first = found.get(note.symbol)
            head, _, rest = note.text.partition(": ")
            again = rest if first is not None and rest and first.text.startswith(f"{head}: ") else note.text
            found[note.symbol] = note if first is None else Note(note.symbol, f"{first.text} Or: {again}")
        return (*found.values(), *(note for note in self._notes.values() if not note.symbol))


def all_runs(cells: Iterable[Cell]) -> tuple[str, ...]:
    """The run ids behind some cells, each once, in order."""
    return tuple(dict.fromkeys(run for cell in cells for run in cell.runs))


def _letters(index: int) -> str:
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
