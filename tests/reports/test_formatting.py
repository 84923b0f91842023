from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.reports.formatting import NumberFormat, cell_text, heading, number_format
from spectral_bench.reports.table import Cell, CellState, Column, Kind, Table, TableRow


def styled(kind: Kind, *values: float) -> tuple[NumberFormat, list[str]]:
    column = Column("x", "x", kind)
    table = Table("t", "", (column,), tuple(TableRow({"x": Cell(value)}) for value in values))
    style = number_format(table, column)
    return style, [style.text(value) for value in values]


@pytest.mark.parametrize(
    ("kind", "values", "unit", "texts"),
    [
        ("percent", (42.44, 0.0, 100.0), "%", ["42.4", "0.0", "100.0"]),
        ("points", (1.26, -0.04, 0.0, -3.0), "points", ["+1.3", "0.0", "0.0", "-3.0"]),
        ("count", (12345.0, 3.0), "", ["12345", "3"]),
        ("seconds", (1.25, 60.0), "s", ["1.2", "60.0"]),
        ("seconds", (0.012, 0.5), "s", ["0.012", "0.500"]),
        ("seconds", (1200.0, 660.0), "min", ["20", "11"]),
        ("seconds", (36000.0, 90.0), "h", ["10.000", "0.025"]),
        ("bytes", (3.5e9, 1.25e9), "GB", ["3.5", "1.2"]),
        ("bytes", (250e6,), "MB", ["250"]),
        ("bytes", (900.0,), "kB", ["0.90"]),
        ("number", (0.0123, 1.0), "", ["0.012", "1.000"]),
    ],
)
def test_unit_and_decimals_suit_the_column(kind: Kind, values: tuple[float, ...], unit: str, texts: list[str]):
    style, printed = styled(kind, *values)
    assert style.unit == unit
    assert printed == texts


def test_no_values_give_a_format_all_the_same():
    assert styled("seconds")[0].unit == "s"
    assert styled("number")[0].decimals == 0


@given(st.floats(-10, 10, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-300))
def test_only_zero_looks_like_zero(value: float):
    style = NumberFormat(decimals=3)
    text = style.suited(value).text(value)
    assert (float(text) == 0) == (value == 0)
    assert float(text) == pytest.approx(value, abs=0.051 * 10.0 ** (style.suited(value).power or -2))
    assert NumberFormat("%").suited(value) == NumberFormat("%")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_printed_as_such(value: float):
    assert styled("percent", value)[1] == [str(value)]
    assert cell_text(Column("x", "x", "count"), Cell(value), NumberFormat(decimals=None)) == str(value)


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_signed_numbers_show_their_sign_and_zero_has_none(value: float):
    text = NumberFormat(signed=True).text(value)
    assert float(text) == pytest.approx(value, abs=0.051)
    assert (text[0] in "+-") == (float(text) != 0)


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        (Column("x", "x", "percent", spread="std"), Cell(42.0, std=0.31), "42.0 ± 0.3"),
        (Column("x", "x", "percent", spread="std"), Cell(42.0), "42.0"),
        (Column("x", "x", "percent"), Cell(42.0, std=0.31), "42.0"),
        (Column("x", "x", "percent", spread="interval"), Cell(1.0, low=0.5, high=1.5), "1.0 [0.5, 1.5]"),
        (Column("x", "x", "percent", spread="interval"), Cell(1.0), "1.0"),
        (Column("x", "x"), Cell("name"), "name"),
        (Column("x", "x", "percent"), Cell(), "–"),
        (Column("x", "x", "percent"), Cell(state=CellState.NOT_CONVERGED), "not converged"),
        (Column("x", "x", "percent"), Cell("n/a"), "n/a"),
    ],
)
def test_cells_as_plain_text(column: Column, cell: Cell, expected: str):
    assert cell_text(column, cell, NumberFormat("%")) == expected


def test_counts_have_thousands_separators():
    assert cell_text(Column("x", "x", "count"), Cell(12345), NumberFormat(decimals=None)) == "12,345"


def test_headings_tell_form_and_unit():
    assert heading(Column("m", "mIoU", "percent", spread="std"), NumberFormat("%")) == "mIoU ± std (%)"
    assert heading(Column("m", "Δ", "points", spread="interval"), NumberFormat("points")) == "Δ [95 %] (points)"
    assert heading(Column("m", "method"), NumberFormat()) == "method"
