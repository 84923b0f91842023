"""CSV for machines: one line a row, full precision, no units in the numbers, every column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from spectral_bench.reports.table import Cell, CellState, Column, Table, TableRow, all_runs


def render_csv(table: Table) -> str:
    """The table as CSV (commas, quotes where needed, line feed), a header line first.

    A column of numbers gives its key, and ``<key>_std`` or ``<key>_low`` and ``<key>_high`` where it has a spread.
    Percentages are on the 0-100 scale, times in seconds, memory in bytes. A value that does not exist is empty. Three
    columns close each row: ``state`` (of its cells without a value), ``notes`` and ``runs`` (run ids, spaces between).
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([name for column in table.columns for name in column_names(column)] + ["state", "notes", "runs"])
    for row in table.rows:
        fields = [field for column in table.columns for field in _fields(column, row.cell(column))]
        writer.writerow([*fields, row_state(table, row), row_notes(table, row), " ".join(all_runs(row.cells.values()))])
    return stream.getvalue()


def column_names(column: Column) -> list[str]:
    """The CSV columns of a table column."""
    suffixes = {"none": (), "std": ("_std",), "interval": ("_low", "_high")}[column.spread]
    return [column.key, *(column.key + suffix for suffix in suffixes)]


def row_state(table: Table, row: TableRow) -> str:
    """``done``, or the states of the row's cells that are anything else, sorted, separated by a semicolon."""
    states = {row.cell(column).state for column in table.columns}
    return "; ".join(sorted(state.value for state in states - {CellState.DONE})) or CellState.DONE.value


def row_notes(table: Table, row: TableRow) -> str:
    """The texts of the footnotes that the row's cells carry, in the order of the table's notes."""
    marks = {mark for column in table.columns for mark in row.cell(column).marks}
    return " | ".join(note.text for note in table.notes if note.symbol in marks)


def _fields(column: Column, cell: Cell) -> Iterator[str]:
    yield _text(cell.value)
    if column.spread == "std":
        yield _text(cell.std)
    elif column.spread == "interval":
        yield _text(cell.low)
        yield _text(cell.high)


def _text(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)
