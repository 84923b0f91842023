from __future__ import annotations

import csv
import io
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.reports import render
from spectral_bench.reports.renderers.csv import column_names
from spectral_bench.reports.table import Cell, CellState, Column, Note, Table, TableRow

COLUMNS = (
    Column("configuration", "configuration"),
    Column("mIoU", "mIoU", "percent", "higher", "std"),
    Column("difference", "Δ", "points", "higher", "interval"),
    Column("hidden", "hidden", "count", machine=True),
)


def read(*rows: TableRow, notes: tuple[Note, ...] = ()) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(Table("t", "c", COLUMNS, rows, notes), "csv"))))


def cells(**values: Any) -> TableRow:
    return TableRow({key: value if isinstance(value, Cell) else Cell(value) for key, value in values.items()})


def test_spreads_have_columns_of_their_own():
    names = [name for column in COLUMNS for name in column_names(column)]
    expected = ["configuration", "mIoU", "mIoU_std", "difference", "difference_low", "difference_high", "hidden"]
    assert names == expected
    assert list(read(cells(configuration="x"))[0]) == [*expected, "state", "notes", "runs"]


@given(st.floats(allow_nan=False), st.floats(0, 1e9))
def test_numbers_keep_full_precision(value: float, std: float):
    (row,) = read(cells(mIoU=Cell(value, std=std)))
    assert float(row["mIoU"]) == value
    assert float(row["mIoU_std"]) == std


@given(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])))
def test_any_text_survives(text: str):
    (row,) = read(cells(configuration=text))
    assert row["configuration"] == text


def test_what_does_not_exist_is_empty_and_its_state_is_told():
    (row,) = read(cells(configuration="x", mIoU=Cell(state=CellState.FAILED), difference=Cell(state=CellState.MISSING)))
    assert (row["mIoU"], row["mIoU_std"], row["difference_low"]) == ("", "", "")
    assert row["state"] == "failed; missing"
    assert read(cells(configuration="x", mIoU=3.0))[0]["state"] == "done"


def test_one_seed_has_an_empty_standard_deviation_not_zero():
    assert read(cells(mIoU=Cell(3.0, n=1)))[0]["mIoU_std"] == ""


def test_runs_and_notes_stand_in_the_row():
    notes = (Note("a", "first"), Note("b", "second"), Note("", "remark"))
    row = cells(configuration=Cell("x", marks=("b",)), mIoU=Cell(1.0, runs=("r1", "r2"), marks=("a",)))
    (read_row,) = read(row, notes=notes)
    assert read_row["runs"] == "r1 r2"
    assert read_row["notes"] == "first | second"


def test_pandas_reads_numbers_as_numbers():
    text = render(Table("t", "c", COLUMNS, (cells(mIoU=Cell(1.5, std=0.5)), cells(mIoU=Cell(2.5)))), "csv")
    frame = pd.read_csv(io.StringIO(text))
    assert frame["mIoU"].tolist() == [1.5, 2.5]
    assert frame["mIoU_std"].isna().tolist() == [False, True]
