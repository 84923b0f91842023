"""Markdown for people: a pipe table whose columns line up in a terminal too."""

from __future__ import annotations

import re
import unicodedata

from spectral_bench.reports.formatting import NumberFormat, cell_text, heading, number_format
from spectral_bench.reports.table import Cell, Column, Table


def render_markdown(table: Table) -> str:
    """The table as GitHub-flavoured Markdown: caption, pipe table, notes; ends with a line feed."""
    table = table.folded()
    formats = {column.key: number_format(table, column) for column in table.columns}
    header = [escape(heading(column, formats[column.key])) for column in table.columns]
    body = [[_cell(column, row.cell(column), formats[column.key]) for column in table.columns] for row in table.rows]
    parts = [escape(table.caption)] if table.caption else []
    if table.columns:
        parts.append(_pipe_table(header, body, [column.kind == "text" for column in table.columns]))
    notes = [_note(note.symbol, note.text) for note in table.notes]
    return "\n\n".join([*parts, *notes]) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is: pipes, stars, backticks, ``<`` and underscores at word ends are escaped."""
    text = " ".join(text.split())
    text = re.sub(r"([\\|*`<])", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def display_width(text: str) -> int:
    """Columns that a text takes in a terminal: wide characters count twice, combining ones not at all."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _cell(column: Column, cell: Cell, style: NumberFormat) -> str:
    text = escape(cell_text(column, cell, style))
    text = f"**{text}**" if cell.bold else text
    return " ".join([text, *(f"[{mark}]" for mark in cell.marks)])


def _note(symbol: str, text: str) -> str:
    return f"[{symbol}] {escape(text)}" if symbol else escape(text)


def _pipe_table(header: list[str], body: list[list[str]], left: list[bool]) -> str:
    widths = [max(3, *(display_width(line[index]) for line in [header, *body])) for index in range(len(header))]
    rule = [("-" * width if is_left else "-" * (width - 1) + ":") for width, is_left in zip(widths, left, strict=True)]
    return "\n".join(_line(cells, widths, left) for cells in [header, rule, *body])


def _line(cells: list[str], widths: list[int], left: list[bool]) -> str:
    padded = [
        cell + " " * (width - display_width(cell)) if is_left else " " * (width - display_width(cell)) + cell
        for cell, width, is_left in zip(cells, widths, left, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"
