"""For machines: CSV, or a mapping a row for JSON; full precision, no units in the numbers, every column."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

from spectral_bench.reports.formatting import EFFECT_DIGITS, rounded
from spectral_bench.reports.table import Cell, CellState, Column, Table, TableRow, all_runs


def render_csv(table: Table, digits: int | None = None) -> str:
    """The table as CSV (commas, quotes where needed, line feed), a header line first.

    A column of numbers gives its key, and ``<key>_std`` or ``<key>_low`` and ``<key>_high`` where it has a spread.
    Percentages are on the 0-100 scale, times in seconds, memory in bytes. A value that does not exist is empty. Three
    columns close each row: ``state`` (of its cells without a value), ``notes`` and ``runs`` (run ids, spaces between).

    Args:
        table: any table.
        digits: significant digits of numbers that are no integers, for effects at most 4; None: all that they have.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_names(table))
    for row in table.rows:
        writer.writerow([_text(value) for value in _values(table, row, digits)])
    return stream.getvalue()


def table_records(table: Table) -> list[dict[str, Any]]:
    """The rows by the column names of ``render_csv``, as JSON values: numbers, settings and yes or no as what they are.

    None is what does not exist, or is no finite number, which JSON has no word for.
    """
    names = _names(table)
    return [
        {name: _json_value(name, value) for name, value in zip(names, _values(table, row), strict=True)}
        for row in table.rows
    ]


def _names(table: Table) -> list[str]:
    return [name for column in table.columns for name in column_names(column)] + ["state", "notes", "runs"]


def _values(table: Table, row: TableRow, digits: int | None = None) -> list[float | str | None]:
    """What stands in a row, by ``_names``."""
    values = [
        _rounded(value, column, digits) for column in table.columns for value in _fields(column, row.cell(column))
    ]
    return [*values, row_state(table, row), row_notes(table, row), " ".join(all_runs(row.cells.values()))]


def _rounded(value: float | str | None, column: Column, digits: int | None) -> float | str | None:
    if digits is None or not isinstance(value, float) or not math.isfinite(value):
        return value
    return rounded(value, min(digits, EFFECT_DIGITS) if column.kind == "effect" else digits)


def _text(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)


def _json_value(name: str, value: float | str | None) -> Any:
    """What a text stands for, where the columns of text renderers hold texts only."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, str):
        return value
    if name in ("images", "k") and value.isdecimal():
        return int(value)
    if name == "uses_labels":
        return {"yes": True, "no": False}.get(value, value)
    return json.loads(value) if name == "settings" and value else value


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


def _fields(column: Column, cell: Cell) -> Iterator[float | str | None]:
    yield cell.value
    if column.spread == "std":
        yield cell.std
    elif column.spread == "interval":
        yield cell.low
        yield cell.high
