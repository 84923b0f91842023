"""Tables for a terminal, by rich: columns that do not fit beside each other follow below, under the same row names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from spectral_bench.reports.formatting import cell_text, heading, number_format
from spectral_bench.reports.table import Column, Table

_NAMES = ("configuration", "change", "class")
"""Keys of the columns that say what a row is, which not every table has as its first."""

_BETWEEN = 2
"""Blanks between columns."""

_NAME_SHARE = 0.4
"""Of the width, at most, for what rows are called where other columns need the rest."""

_LONGEST_TEXT = 24
"""Letters of a line of a column of words, where the terminal is too narrow for more."""


@dataclass(frozen=True)
class _Shown:
    """A column as text.

    Attributes:
        words: whether it holds words, else numbers.
        heading: may be broken into lines.
        cells: numbers are not broken.
    """

    words: bool
    heading: str
    cells: tuple[Text, ...]

    @property
    def wide(self) -> int:
        """Its width with nothing broken into lines."""
        return max(cell_len(self.heading), *(cell.cell_len for cell in self.cells), 1)

    @property
    def narrow(self) -> int:
        """Its width with its heading, and words, broken into lines."""
        longest = max((cell.cell_len for cell in self.cells), default=1)
        of_heading = max((cell_len(word) for word in self.heading.split()), default=1)
        return max(of_heading, min(longest, _LONGEST_TEXT) if self.words else longest)


def for_terminal(table: Table, width: int) -> Iterator[RenderableType]:
    """The caption, the rows, and the notes of a table, to print one after the other.

    Args:
        table: as other renderers take it.
        width: of the terminal.
    """
    table = table.folded()
    if table.caption:
        yield Text(table.caption + "\n")
    if table.columns:
        first = next((column for column in table.columns if column.key in _NAMES), table.columns[0])
        name = _shown(table, first)
        others = [_shown(table, column) for column in table.columns if column is not first]
        for fitting in _blocks(name, others, width):
            yield _block(name, fitting, width)
            yield Text()
    for note in table.notes:
        yield Text(f"[{note.symbol}] {note.text}" if note.symbol else note.text)


def _shown(table: Table, column: Column) -> _Shown:
    style = number_format(table, column)
    cells = []
    for row in table.rows:
        cell = row.cell(column)
        marks = "".join(f" [{mark}]" for mark in cell.marks)
        cells.append(Text(cell_text(column, cell, style) + marks, style="bold" if cell.bold else ""))
    return _Shown(column.kind == "text", heading(column, style), tuple(cells))


def _least(name: _Shown, width: int) -> int:
    """What the names of rows get at the least."""
    return min(name.wide, int(width * _NAME_SHARE))


def _blocks(name: _Shown, others: Sequence[_Shown], width: int) -> Iterator[list[_Shown]]:
    """The other columns in as few blocks as fit, at least one column each; one empty block where there is none."""
    block: list[_Shown] = []
    for column in others:
        taken = _least(name, width) + sum(_BETWEEN + one.narrow for one in [*block, column])
        if block and taken > width:
            yield block
            block = []
        block.append(column)
    yield block


def _block(name: _Shown, others: Sequence[_Shown], width: int) -> RichTable:
    """A table of some columns beside the names of rows."""
    room = width - _BETWEEN * len(others)
    widths = [one.wide for one in others]
    if name.wide + sum(widths) > room:
        widths = [one.narrow for one in others]
    of_names = min(name.wide, max(_least(name, width), room - sum(widths)))
    table = RichTable(box=None, pad_edge=False, padding=(0, _BETWEEN, 0, 0), header_style="bold")
    for column, taken in zip([name, *others], [of_names, *widths], strict=True):
        justify: Literal["left", "right"] = "left" if column.words else "right"
        table.add_column(Text(column.heading), justify=justify, overflow="fold", width=taken)
    for row in zip(*(column.cells for column in [name, *others]), strict=True):
        table.add_row(*row)
    return table
