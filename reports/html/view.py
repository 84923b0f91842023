"""Tables as the template wants them: text, sorting key, runs and looks of every cell."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spectral_bench.reports.formatting import NumberFormat, cell_text, heading, number_format
from spectral_bench.reports.html.runs import RunBook
from spectral_bench.reports.renderers.tex_escape import label
from spectral_bench.reports.table import Cell, CellState, Column, Note, Table, TableRow


@dataclass(frozen=True)
class HeadView:
    """A heading and what stands below it in small (form of the spread, unit).

    ``extra`` columns are hidden until all columns are asked for; ``better`` says where sorting starts.
    """

    key: str
    text: str
    small: str
    numeric: bool
    better: str
    extra: bool


@dataclass(frozen=True)
class CellView:
    """A cell. ``sort`` is empty where there is nothing to sort by; ``runs`` are numbers of the page's runs."""

    text: str
    sort: str
    runs: str
    marks: tuple[str, ...]
    bold: bool
    state: str
    numeric: bool
    extra: bool = False


@dataclass(frozen=True)
class RowView:
    """A row: whether it takes part in rankings, and whether it was copied from a paper."""

    cells: tuple[CellView, ...]
    ranked: bool
    published: bool


@dataclass(frozen=True)
class TableView:
    """A table of the page."""

    id: str
    caption: str
    heads: tuple[HeadView, ...]
    rows: tuple[RowView, ...]
    notes: tuple[Note, ...]


def table_view(table: Table, book: RunBook) -> TableView:
    """A table for the template. All columns are there; those that text renderers leave out are ``extra``."""
    shown = table.folded()
    columns = [column for column in table.columns if column in shown.columns or _has_content(table, column)]
    extra = {column.key for column in columns if column not in shown.columns}
    heads = tuple(_head(table, column, column.key in extra) for column in columns)
    formats = {column.key: number_format(table, column) for column in columns}

    def row_view(row: TableRow) -> RowView:
        cells = (_cell(column, row.cell(column), formats[column.key], book) for column in columns)
        shown = (replace(cell, extra=head.extra) for cell, head in zip(cells, heads, strict=True))
        return RowView(tuple(shown), row.ranked, row.published)

    rows = tuple(row_view(row) for row in table.rows)
    return TableView(f"table-{label(table.name)}", shown.caption, heads, rows, table.notes)


def _has_content(table: Table, column: Column) -> bool:
    return any(row.cell(column).value not in (None, "", "{}") for row in table.rows)


def _head(table: Table, column: Column, extra: bool) -> HeadView:
    small = heading(column, number_format(table, column)).removeprefix(column.label).strip()
    return HeadView(column.key, column.label, small, column.kind != "text", column.better, extra)


def _cell(column: Column, cell: Cell, style: NumberFormat, book: RunBook) -> CellView:
    text = cell_text(column, cell, style)
    state = "" if cell.state is CellState.DONE or cell.value is not None else cell.state.value
    sort = "" if cell.value is None else text if cell.number is None else repr(cell.number)
    runs = " ".join(map(str, book.numbers(cell.runs)))
    return CellView(text, sort, runs, cell.marks, cell.bold, state, column.kind != "text")
