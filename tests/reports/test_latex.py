from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.reports import render
from spectral_bench.reports.renderers.tex_escape import comment, escape, label
from spectral_bench.reports.table import Cell, CellState, Column, Note, Table, TableRow

NASTY = r"""a_b & 50% of $x^2$ #1 {c} \d ~e <f> |g| "h" 'i' `j` [k] Nyström α→β ± 3° Łódź ő 方法 🙂"""
COLUMNS = (
    Column("name", "näme_1"),
    Column("mIoU", "mIoU", "percent", "higher", "std"),
    Column("difference", "Δ mIoU", "points", "higher", "interval"),
    Column("fit_s", "fit", "seconds", "lower"),
    Column("state_only", "state", "percent"),
)
ROWS = (
    TableRow(
        {
            "name": Cell("k_means", runs=("kmeans-s0-1", "kmeans-s1-2")),
            "mIoU": Cell(42.44, std=0.31, runs=("kmeans-s0-1",), bold=True),
            "difference": Cell(-1.3, low=-2.0, high=0.4),
            "fit_s": Cell(1.5),
            "state_only": Cell(state=CellState.FAILED),
        }
    ),
    TableRow(
        {
            "name": Cell("[bracket] first", marks=("†",)),
            "mIoU": Cell(state=CellState.NOT_CONVERGED, marks=("a",)),
            "difference": Cell(12.0),
            "fit_s": Cell(float("nan")),
        },
        group="other",
    ),
    TableRow(
        {"name": Cell(NASTY, bold=True), "mIoU": Cell(7.0, marks=("a", "†")), "fit_s": Cell(120.0)}, group="other"
    ),
)
TABLE = Table("a table_1", f"Caption with {NASTY}.", COLUMNS, ROWS, (Note("a", NASTY), Note("†", "x"), Note("", "y")))


def lines(table: Table = TABLE) -> list[str]:
    return [line.strip() for line in render(table, "latex").splitlines()]


def test_cells_carry_their_runs_as_comments():
    assert r"& \bfseries 42.4 & \,$\pm$\,0.3 % mIoU: kmeans-s0-1" in lines()
    assert "k\\_means % name: kmeans-s0-1 kmeans-s1-2" in lines()


def test_states_intervals_and_absent_values():
    found = lines()
    assert r"& \multicolumn{2}{c}{\textit{not converged}\textsuperscript{a}}" in found
    assert r"& -1.3 & \enspace[$-$2.0, 0.4]" in found
    assert "& +12.0 &" in found
    assert r"& {\textit{failed}}" in found
    assert "& {nan}" in found
    assert "& {--}" in found


def test_number_columns_are_as_wide_as_their_numbers():
    (specification,) = [line for line in lines() if line.startswith(r"\begin{tabular}")]
    assert specification == (
        r"\begin{tabular}{l S[table-format=2.1] @{}l S[table-format=+2.1] @{}l S[table-format=3.1] S[table-format=1.0]}"
    )


def test_groups_are_set_apart():
    assert lines().count(r"\addlinespace") == 1


def test_a_table_without_columns_still_has_its_caption():
    text = render(Table("t", "Nothing.", (), ()), "latex")
    assert r"\caption{Nothing.}" in text
    assert "tabular" not in text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_escaped_text_is_ascii_on_one_line_without_bare_specials(text: str):
    escaped = escape(text)
    assert escaped.isascii()
    assert "\n" not in escaped
    without_commands = re.sub(r"\\(?:[a-zA-Z]+|[^a-zA-Z])", "", escaped)
    assert not set(without_commands) & set("&%#_$^~\\")


def test_escaping_keeps_what_it_can():
    assert escape("Nyström") == r"Nystr\"{o}m"
    assert escape("o\u0308") == r"\"{o}"
    assert escape("α Ω λ") == r"\ensuremath{\alpha} \ensuremath{\Omega} \ensuremath{\lambda}"
    assert escape("方") == "{[}U+65B9]"
    assert escape("a_b^c") == r"a\_b\textasciicircum{}c"
    assert escape("\x07") == "{[}U+0007]"


def test_comments_and_labels_are_plain():
    assert comment("a\nb ö") == r"a b \xf6"
    assert label("Main — Tåble_1") == "main-ta-ble-1"
    assert label("方法") == "table"


def test_long_tables_go_on_in_the_next_float_under_one_number():
    rows = tuple(TableRow({"name": Cell(f"row {index}"), "mIoU": Cell(float(index))}) for index in range(65))
    text = render(Table("long", "Long.", COLUMNS[:2], rows, (Note("", "remark"),)), "latex")
    assert text.count(r"\begin{table}") == 3
    assert text.count(r"\addtocounter{table}{-1}") == text.count(r"\caption{(continued)}") == 2
    assert text.count(r"\label") == text.count("remark") == 1
    assert all(f"row {index}\n" in text for index in range(65))


def test_long_headings_of_wide_tables_stand_on_end():
    wide = tuple(Column(f"c{index}", f"a rather long heading {index}", "percent") for index in range(9))
    rows = (TableRow({column.key: Cell(1.0) for column in wide}),)
    assert render(Table("wide", "", wide, rows), "latex").count(r"\rotatebox{90}") == 9
    assert r"\rotatebox" not in render(Table("wide", "", wide[:3], rows), "latex")


_MANY = tuple(Column(f"c{index}", f"a rather long_heading {index}", "percent", spread="std") for index in range(14))
_CELLS = {column.key: Cell(12.3, std=0.4) for column in _MANY}
HUGE = Table(
    "huge", "Huge.", (COLUMNS[0], *_MANY), tuple(TableRow({"name": Cell("a_row"), **_CELLS}) for _ in range(65))
)
