"""Every number of a store's tables as a fact that a paper may state, and whether a written number states it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from spectral_bench.reports.formatting import NumberFormat, number_format
from spectral_bench.reports.renderers.macros import number_names
from spectral_bench.reports.renderers.tex_escape import label
from spectral_bench.reports.table import Cell, CellState, Column, Kind, Table, TableRow

Part = Literal["", "std", "low", "high"]
RowId = tuple[str, int, int]
"""Name of a table, number of its store, number of the row."""
ColumnId = tuple[str, int, str]
"""Name of a table, number of its store, key of the column."""
_DIGITS = r"(?:\d{1,3}(?:[, ]\d{3})+|\d+)(?:\.\d+)?|\.\d+"
NUMBER = rf"[-+]?(?:{_DIGITS})(?:\s*(?:×\s*10\^|[eE])[-+]?\d+)?"
_NUMBER = re.compile(rf"([-+]?)({_DIGITS})(?:\s*(?:×\s*10\^|[eE])([-+]?\d+))?")
_UNITS: tuple[tuple[tuple[Kind, ...], float, str], ...] = (
    (("percent",), 1.0, "%|per cent|percent"),
    (("points", "effect"), 1.0, "points|point|pp|percentage points|% points"),
    (("seconds",), 1e-3, "ms|milliseconds"),
    (("seconds",), 1.0, "s|sec|second|seconds"),
    (("seconds",), 60.0, "min|minute|minutes"),
    (("seconds",), 3600.0, "h|hour|hours"),
    *((("bytes",), scale, unit) for scale, unit in ((1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"))),
    *((("bytes",), scale, unit) for scale, unit in ((2.0**20, "MiB"), (2.0**30, "GiB"))),
    *((("flops",), scale, unit) for scale, unit in ((1e6, "MFLOP"), (1e9, "GFLOP"), (1e12, "TFLOP"))),
    *((("joules",), scale, unit) for scale, unit in ((1.0, "J"), (1e3, "kJ"), (1e6, "MJ"))),
)
UNITS = {unit: (kinds, scale) for kinds, scale, units in _UNITS for unit in units.split("|")}
"""How papers write units -> the kinds of columns that have them, and what one is in the base unit."""

UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))


@dataclass(frozen=True)
class Written:
    """A number as a paper writes it.

    Attributes:
        text: as it stands.
        value: of it, in its unit.
        decimals: digits after the point, less the power of ten.
        unit: as it stands; empty where none does.
        signed: whether a plus or a minus stands before it.
    """

    text: str
    value: float
    decimals: int
    unit: str = ""
    signed: bool = False


def written(text: str, unit: str = "") -> Written:
    """The number that ``NUMBER`` has found.

    Raises:
        ValueError: it is none.
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"no number: {text!r}")
    digits, power = re.sub("[, ]", "", found[2]), int(found[3] or 0)
    decimals = len(digits.partition(".")[2]) - power
    return Written(text.strip(), float(f"{found[1]}{digits}e{power}"), decimals, unit, bool(found[1]))


@dataclass(frozen=True)
class Fact:
    """A number of a table, or why there is none.

    Attributes:
        name: ``table/row/column``, with ``-std``, ``-low`` or ``-high``, as ``\\benchnumber`` takes it.
        part: which of the cell's numbers.
        value: in base units; None where the cell has no number.
        state: what the cell says in its place.
        style: how the table shows it.
        column: of the table.
        table: its name.
        row: which row of which table, as a key.
        texts: all texts of the row; the first one names it.
        runs: behind it.
        published: whether it was copied from a paper.
        order: sorts facts as they stand in the stores.
    """

    name: str
    part: Part
    value: float | None
    state: str
    style: NumberFormat
    column: Column
    table: str
    row: RowId
    texts: tuple[str, ...]
    runs: tuple[str, ...]
    published: bool = False
    order: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """What the row is called."""
        return self.texts[0] if self.texts else ""

    @property
    def column_id(self) -> ColumnId:
        """Which column of which table."""
        return (*self.row[:2], self.column.key)

    @property
    def shown(self) -> str:
        """The number as the table shows it, or the state."""
        if self.value is None:
            return self.state
        return self.style.plain(self.value) if self.part else self.style.text(self.value)

    def in_unit(self, unit: str) -> tuple[float, ...]:
        """The value on the scales that a number with this unit, or with none, may be on."""
        if self.value is None:
            return ()
        if not unit:
            # A share is also written as a fraction of 1.
            return (self.value / self.style.scale, *((self.value / 100,) if self.column.kind == "percent" else ()))
        kinds, scale = UNITS[unit]
        if self.column.kind in ("percent", "points", "effect") and set(kinds) & {"percent", "points"}:
            return (self.value,)
        return (self.value / scale,) if self.column.kind in kinds else ()

    def is_stated_by(self, number: Written) -> bool:
        """Whether a written number is this one, rounded to as many digits as it has."""
        if self.column.kind == "count" and number.decimals <= 0:
            return self.value is not None and round(self.value) == number.value
        half = 0.5 * 10.0**-number.decimals
        wanted = (
            (number.value, -number.value) if self.column.kind == "points" and not number.signed else (number.value,)
        )
        return any(
            abs(value - one) <= half + 1e-9 * max(1.0, abs(value))
            for scale, value in enumerate(self.in_unit(number.unit))
            for one in wanted
            if scale == 0 or number.decimals >= 2
        )

    def distance(self, number: Written) -> float:
        """How far a written number is from this one, for the nearest of several."""
        values = self.in_unit(number.unit)
        return abs(values[0] - number.value) if values else float("inf")


class Facts:
    """All facts of some stores, by what papers know them by.

    Args:
        facts: all of them.
    """

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.all = list(facts)
        self.names: dict[str, list[Fact]] = {}
        self.titles: dict[str, set[RowId]] = {}
        self.headings: dict[str, set[ColumnId]] = {}
        self.of_row: dict[RowId, list[Fact]] = {}
        self.of_column: dict[ColumnId, list[Fact]] = {}
        self.cells: dict[tuple[RowId, str], list[Fact]] = {}
        for fact in self.all:
            self.names.setdefault(fact.name, []).append(fact)
            self.of_row.setdefault(fact.row, []).append(fact)
            self.of_column.setdefault(fact.column_id, []).append(fact)
            self.cells.setdefault((fact.row, fact.column.key), []).append(fact)
        for row, own in self.of_row.items():
            self.titles.setdefault(key(own[0].title), set()).add(row)
        for column, own in self.of_column.items():
            for name in column_keys(own[0].column):
                self.headings.setdefault(name, set()).add(column)


def facts_of(tables: Sequence[Table], store: int = 0) -> Iterator[Fact]:
    """All facts of some tables.

    Args:
        tables: of one store.
        store: its number among several.
    """
    for number, table in enumerate(tables):
        texts = [column for column in table.columns if column.kind == "text" and not column.machine]
        naming = [column for column in table.folded().columns if column.kind == "text"]
        texts.sort(key=lambda column: column not in naming)
        styles = [(column, number_format(table, column)) for column in table.columns if column.kind != "text"]
        for index, (name, row) in enumerate(zip(number_names(table), table.rows, strict=True)):
            own = tuple(str(row.cell(column).value) for column in texts if row.cell(column).value is not None)
            for column, style in styles:
                fullname = f"{label(table.name)}/{name}/{label(column.key)}"
                for part, value in _parts(row.cell(column)):
                    suited = style if value is None else style.suited(value, row.cell(column).std)
                    fact = _fact(fullname, part, value, suited, column, (table.name, store, index), own, row)
                    yield replace(fact, order=(store, number, index))


def _fact(
    name: str,
    part: Part,
    value: float | None,
    style: NumberFormat,
    column: Column,
    where: tuple[str, int, int],
    texts: tuple[str, ...],
    row: TableRow,
) -> Fact:
    cell = row.cell(column)
    state = "nothing" if cell.state is CellState.DONE else cell.state.value
    fullname = f"{name}-{part}" if part else name
    return Fact(fullname, part, value, state, style, column, where[0], where, texts, cell.runs, row.published)


def _parts(cell: Cell) -> Iterator[tuple[Part, float | None]]:
    yield "", None if cell.number is None else float(cell.number)
    spreads: tuple[tuple[Part, float | None], ...] = (("std", cell.std), ("low", cell.low), ("high", cell.high))
    yield from ((part, value) for part, value in spreads if value is not None)


def key(text: str) -> str:
    """What two spellings of a name have in common: letters and digits, in lower case, Greek letters by name."""
    found = []
    for char in unicodedata.normalize("NFKD", text.lower()):
        if char.isascii():
            found.append(char if char.isalnum() else "")
        elif (name := unicodedata.name(char, "")).startswith("GREEK SMALL LETTER "):
            found.append(name.split()[3].lower().replace("lamda", "lambda"))
    return "".join(found)


def column_keys(column: Column) -> set[str]:
    """What papers may call a column."""
    called = (column.key, column.label, column.label.replace("Δ", "difference "))
    return {found for found in map(key, called) if found}


def nearest(facts: Iterable[Fact], number: Written) -> Fact | None:
    """The fact whose value is nearest to a written number; one without a value where none has any."""
    return min(facts, key=lambda fact: fact.distance(number), default=None)
