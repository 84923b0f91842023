from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.reports import render
from spectral_bench.reports.renderers.markdown import display_width, escape
from spectral_bench.reports.table import Cell, CellState, Column, Note, Table, TableRow

COLUMNS = (Column("name", "name"), Column("mIoU", "mIoU", "percent", "higher", "std"))


def table(*rows: TableRow, notes: tuple[Note, ...] = ()) -> Table:
    return Table("t", "A caption.", COLUMNS, rows, notes)


def row(name: str, cell: Cell) -> TableRow:
    return TableRow({"name": Cell(name), "mIoU": cell})


def test_a_table_as_people_read_it():
    rows = (
        row("k_means", Cell(42.44, std=0.31)),
        row("other", Cell(state=CellState.FAILED, marks=("a",))),
        row("best", Cell(50.0, bold=True)),
    )
    notes = (Note("a", "seed 1 failed."), Note("", "A remark."))
    assert render(table(*rows, notes=notes), "markdown") == (
        "A caption.\n\n"
        "| name    | mIoU ± std (%) |\n"
        "| ------- | -------------: |\n"
        "| k_means |     42.4 ± 0.3 |\n"
        "| other   |     failed [a] |\n"
        "| best    |       **50.0** |\n\n"
        "[a] seed 1 failed.\n\n"
        "A remark.\n"
    )


def test_a_table_without_rows_has_its_caption():
    assert render(Table("t", "Nothing yet.", (), ()), "markdown") == "Nothing yet.\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=1, max_size=5))
def test_every_line_has_as_many_cells_and_the_same_width(names: list[str]):
    text = render(table(*(row(name, Cell(1.0)) for name in names)), "markdown")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == len(names) + 2
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines} == {3}
    assert len({display_width(line) for line in lines}) == 1


def test_escaping():
    assert escape("a_b") == "a_b"
    assert escape("_a_ b_") == r"\_a\_ b\_"
    assert escape("a|b*c`d<e\\") == r"a\|b\*c\`d\<e\\"
    assert escape("two\nlines") == "two lines"


def test_wide_and_combining_characters_are_measured():
    assert display_width("方法") == 4
    assert display_width("o\u0308") == 1
