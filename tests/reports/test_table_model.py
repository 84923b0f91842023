from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.reports.table import Cell, CellState, Column, Note, NoteBook, Table, TableRow, all_runs

SETTING = Column("protocol", "protocol", constant=True)
NUMBER = Column("mIoU", "mIoU", "percent", "higher", "std")


def table(*rows: TableRow, columns: tuple[Column, ...] = (SETTING, NUMBER)) -> Table:
    return Table("t", "Results.", columns, rows)


def row(protocol: str | None, value: float | None = 1.0) -> TableRow:
    return TableRow({"protocol": Cell(protocol), "mIoU": Cell(value)})


def test_a_column_that_all_rows_agree_on_is_told_in_the_caption():
    folded = table(row("whole"), row("whole")).folded()
    assert folded.columns == (NUMBER,)
    assert folded.caption == "Results. Protocol: whole."


def test_a_column_that_differs_stays():
    folded = table(row("whole"), row("sliding")).folded()
    assert folded.columns == (SETTING, NUMBER)
    assert folded.caption == "Results."


def test_a_row_that_does_not_know_its_setting_does_not_unfold_the_column():
    assert table(row("whole"), row(None)).folded().caption == "Results. Protocol: whole."


def test_machine_and_empty_columns_are_left_out_for_people():
    hidden = Column("settings", "settings", machine=True)
    folded = table(row("whole", None), row("whole", None), columns=(SETTING, NUMBER, hidden)).folded()
    assert folded.columns == ()


def test_a_column_of_states_is_not_empty():
    failed = TableRow({"protocol": Cell("whole"), "mIoU": Cell(state=CellState.FAILED)})
    assert table(failed).folded().columns == (NUMBER,)


def test_folding_a_table_without_rows_keeps_its_caption():
    assert table().folded().caption == "Results."


def test_column_by_key():
    assert table().column("mIoU") is NUMBER
    with pytest.raises(KeyError):
        table().column("loss")


def test_a_text_is_no_number():
    assert Cell("3").number is None
    assert Cell(3).number == 3


def test_notes_share_a_symbol_when_they_share_the_text():
    notes = NoteBook()
    assert [notes.mark("x"), notes.mark("y"), notes.mark("x"), notes.mark("labels", "†")] == ["a", "b", "a", "†"]
    notes.remark("last")
    assert notes.notes() == (Note("a", "x"), Note("b", "y"), Note("†", "labels"), Note("", "last"))


@given(st.integers(1, 800))
def test_symbols_never_repeat(count: int):
    notes = NoteBook()
    symbols = [notes.mark(str(index)) for index in range(count)]
    assert len(set(symbols)) == count
    assert all(symbol.isalpha() for symbol in symbols)


def test_symbols_go_on_after_z():
    notes = NoteBook()
    symbols = [notes.mark(str(index)) for index in range(28)]
    assert symbols[25:] == ["z", "aa", "ab"]


def test_runs_behind_cells_come_once_and_in_order():
    assert all_runs([Cell(runs=("b", "a")), Cell(runs=("a", "c"))]) == ("b", "a", "c")
