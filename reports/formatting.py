"""How numbers look: one unit and one number of decimals a column, the same in every renderer for people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from spectral_bench.reports.table import Cell, CellState, Column, Kind, Table

NO_VALUE = "–"
SIGNIFICANT = 8
"""Digits that all releases of numpy and scipy agree on: their logarithms differ in the last of 16."""

EFFECT_DIGITS = 4
"""The same of effects, which come from the noncentral t distribution: scipy 1.12 and 1.17 agree to 8."""

_MAX_DECIMALS = 3
_LEAST = 1e-300  # below it a power of ten is no number of its own
_SECONDS = ((3600.0, "h", 3 * 3600.0), (60.0, "min", 600.0), (1.0, "s", 0.0))
_FLOPS = ((1e12, "TFLOP", 1e12), (1e9, "GFLOP", 1e9), (1e6, "MFLOP", 0.0))
_JOULES = ((1e6, "MJ", 1e6), (1e3, "kJ", 1e3), (1.0, "J", 0.0))
_BYTES = ((1e9, "GB", 1e9), (1e6, "MB", 1e6), (1e3, "kB", 0.0))
_UNITS = {"seconds": _SECONDS, "bytes": _BYTES, "flops": _FLOPS, "joules": _JOULES}


def rounded(value: float, digits: int = SIGNIFICANT) -> float:
    """A number with so many significant digits."""
    return float(f"{value:.{digits}g}")


@dataclass(frozen=True)
class NumberFormat:
    """Unit, scale and decimals of a column of numbers.

    Attributes:
        unit: printed in the heading; empty for plain numbers.
        scale: base units in one ``unit``.
        decimals: digits after the point; None for integers with thousands separators.
        signed: a plus is printed before positive numbers.
        power: of ten in which a number and its spread are written, with one digit after the point; None: plainly.
    """

    unit: str = ""
    scale: float = 1.0
    decimals: int | None = 1
    signed: bool = False
    power: int | None = None

    def suited(self, value: float, spread: float | None = None) -> NumberFormat:
        """The format for a number and its spread: in a power of ten where it is not zero and would look like it."""
        largest = max(abs(value), abs(spread or 0.0))
        if self.unit or self.decimals is None or not _LEAST < largest < math.inf or float(self.text(largest)) != 0:
            return self
        return replace(self, power=int(f"{largest:.1e}".partition("e")[2]))

    def text(self, value: float) -> str:
        """The number in the column's unit, without the unit, in ASCII. NaN and infinities print as words."""
        if not math.isfinite(value):
            return str(float(value))
        scaled = value / self.scale
        if self.power is not None:
            return f"{scaled / 10.0**self.power:.1f}e{self.power}"
        if self.decimals is None:
            return f"{round(scaled):d}"
        text = f"{scaled:+.{self.decimals}f}" if self.signed else f"{scaled:.{self.decimals}f}"
        return text.lstrip("+-") if float(text) == 0 else text

    def plain(self, value: float) -> str:
        """The number without a plus sign: for spreads and the ends of intervals."""
        return self.text(value).lstrip("+")


def number_format(table: Table, column: Column) -> NumberFormat:
    """The format of a numeric column, chosen from the values that the column holds."""
    values = [abs(value) for value in _numbers(row.cell(column) for row in table.rows) if math.isfinite(value)]
    return _format(column.kind, values)


def heading(column: Column, style: NumberFormat) -> str:
    """The column's label with its form and unit: ``mIoU ± std (%)``, ``Δ mIoU [95 %] (points)``, ``fit (s)``."""
    label = column.label + {"none": "", "std": " ± std", "interval": " [95 %]"}[column.spread]
    return f"{label} ({style.unit})" if style.unit else label


def cell_text(column: Column, cell: Cell, style: NumberFormat) -> str:
    """A cell as plain text, without its marks: a number, a text, a state in words, or a dash where there is nothing."""
    if cell.value is None:
        return NO_VALUE if cell.state is CellState.DONE else cell.state.value
    if cell.number is None or column.kind == "text":
        return str(cell.value)
    return number_text(column, cell, style)


def number_text(column: Column, cell: Cell, style: NumberFormat) -> str:
    """A number with its spread: ``42.4 ± 0.3``, ``+1.3 [0.2, 2.4]``; without a spread where there is none."""
    value = cell.number
    if value is None:
        return ""
    style = style.suited(value, cell.std)
    text = f"{int(value):,}" if style.decimals is None and math.isfinite(value) else style.text(value)
    if column.spread == "std" and cell.std is not None:
        return f"{text} ± {style.plain(cell.std)}"
    if column.spread == "interval" and cell.low is not None and cell.high is not None:
        return f"{text} [{style.plain(cell.low)}, {style.plain(cell.high)}]"
    return text


def _numbers(cells: Iterable[Cell]) -> list[float]:
    return [float(cell.value) for cell in cells if isinstance(cell.value, (int, float))]


def _format(kind: Kind, values: list[float]) -> NumberFormat:
    if kind == "percent":
        return NumberFormat("%", 1.0, 1)
    if kind in ("points", "effect"):
        return NumberFormat("points", 1.0, 1, signed=kind == "points")
    if kind == "count":
        return NumberFormat("", 1.0, None)
    if kind in _UNITS:
        scale, unit = _unit(_UNITS[kind], max(values, default=0.0))
        return NumberFormat(unit, scale, _decimals([value / scale for value in values]))
    return NumberFormat("", 1.0, _decimals(values, extra=1))


def _unit(units: tuple[tuple[float, str, float], ...], largest: float) -> tuple[float, str]:
    for scale, unit, above in units:
        if largest >= above:
            return scale, unit
    return units[-1][0], units[-1][1]


def _decimals(values: list[float], extra: int = 0) -> int:
    """Decimals that leave the smallest positive value two significant digits (plus ``extra``), at most three."""
    positive = [value for value in values if value > 0]
    if not positive:
        return 0
    return int(min(max(1 + extra - math.floor(math.log10(min(positive))), 0), _MAX_DECIMALS))
