from __future__ import annotations

import re

from spectral_bench.reports.renderers.macros import number_names, render_macros
from spectral_bench.reports.table import Cell, CellState, Column, Table, TableRow

COLUMNS = (
    Column("configuration", "configuration"),
    Column("mIoU", "mIoU", "percent", "higher", "std"),
    Column("mIoU_difference", "Δ", "points", "higher", "interval"),
    Column("fit_s", "fit", "seconds"),
)
ROWS = (
    TableRow(
        {
            "configuration": Cell("k-means, α_1"),
            "mIoU": Cell(42.44, std=0.31, runs=("r1", "r2")),
            "mIoU_difference": Cell(1.26, low=-0.5, high=3.0),
            "fit_s": Cell(1200.0),
        }
    ),
    TableRow({"configuration": Cell("k-means, α_1"), "mIoU": Cell(state=CellState.FAILED)}),
    TableRow({"configuration": Cell("other"), "mIoU": Cell(1.0)}),
)
TABLE = Table("main", "", COLUMNS, ROWS)


def definitions(text: str) -> dict[str, str]:
    return dict(re.findall(r"\\csname bench:([^\\]*)\\endcsname\{((?:[^{}]|\{[^}]*\})*)\}", text.split("}\n", 1)[1]))


def test_rows_that_share_a_name_are_numbered():
    assert number_names(TABLE) == ["k-means-1", "k-means-1--2", "other"]


def test_rows_that_share_a_text_are_told_apart_by_the_next_ones_in_any_order() -> None:
    columns = (Column("grid", "grid"), Column("configuration", "row"), Column("protocol", "protocol"))
    texts = [("a", "k-means", "k64"), ("a", "k-means", "k11"), ("a", "SpIN", "k64"), ("b", "SpIN", "k64")]
    rows = [TableRow({column.key: Cell(text) for column, text in zip(columns, row, strict=True)}) for row in texts]
    names = ["a--k-means--k64", "a--k-means--k11", "a--spin", "b"]
    assert number_names(Table("main", "", columns, tuple(rows))) == names
    assert number_names(Table("main", "", columns, tuple(rows[::-1]))) == names[::-1]
    more = TableRow({"grid": Cell("a"), "configuration": Cell("new"), "protocol": Cell("k64")})
    assert number_names(Table("main", "", columns, (more, *rows))) == ["a--new", *names]


def test_rows_that_differ_in_signs_alone_are_told_apart_in_any_order() -> None:
    rows = [TableRow({"configuration": Cell(f"SpIN, level={level}")}) for level in (-1, 1)]
    rows.append(TableRow({"configuration": Cell("SpIN")}))
    names = number_names(Table("main", "", COLUMNS, tuple(rows)))
    assert len(set(names)) == 3
    assert [name[:-4] for name in names[:2]] == ["spin-level-1--", "spin-level-1--"]
    assert number_names(Table("main", "", COLUMNS, tuple(rows[::-1]))) == names[::-1]


def test_every_number_has_a_macro_with_unit_and_runs():
    text = render_macros([TABLE])
    assert definitions(text) == {
        "main/k-means-1/miou": "42.4",
        "main/k-means-1/miou-std": "0.3",
        "main/k-means-1/miou-difference": r"\ensuremath{+1.3}",
        "main/k-means-1/miou-difference-low": r"\ensuremath{-0.5}",
        "main/k-means-1/miou-difference-high": "3.0",
        "main/k-means-1/fit-s": "20",
        "main/other/miou": "1.0",
    }
    assert r"\endcsname{42.4} % per cent r1 r2" in text
    assert r"\endcsname{20} % min" in text
    assert text.isascii()
