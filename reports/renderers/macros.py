"""Every number of a table as a LaTeX macro that carries its runs, so that prose and table cannot drift apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from spectral_bench.reports.formatting import NumberFormat, number_format
from spectral_bench.reports.own_methods import BROKEN_SYMBOL, UNPROVEN_SYMBOL
from spectral_bench.reports.renderers.tex_escape import comment, label
from spectral_bench.reports.rows import LABELS_SYMBOL, PER_IMAGE_SYMBOL, TEXT_SYMBOL
from spectral_bench.reports.table import Cell, Column, Table, TableRow
from spectral_bench.results.identity import digest

_HEAD = r"""% Numbers by name: \benchnumber{table/row/column}. Made with the tables; do not edit.
\providecommand{\benchnumber}[1]{%
  \ifcsname bench:#1\endcsname\csname bench:#1\endcsname
  \else\errmessage{No number of this name: #1}\fi}
"""
# Columns that say how all rows were made: many rows have the same, and none is known by it.
_NAME_NO_ROW = ("train_images", "weights", "common_settings")


def render_macros(tables: Sequence[Table]) -> str:
    """A file that defines ``\\benchnumber{table/row/column}`` for every number of some tables.

    Names are lower-case ASCII: the table's name, the row's (see ``number_names``) and the
    column's key; ``-std``, ``-low`` and ``-high`` follow for spreads. Numbers are rounded and in the unit that the
    table shows; a comment names unit and runs, and says where labels were used.
    """
    return _HEAD + "".join(f"{line}\n" for table in tables for line in _table(table))


def number_names(table: Table) -> list[str]:
    """The middle part of the names, one a row: unlike rows have unlike names.

    A row is called by its first text, and rows that share it by the first further texts in which they differ, such as
    ``kmeans--k64``. Where texts differ in characters that names cannot have, as ``level=-1`` and ``level=1``, a few
    digits of their hash follow. The order of rows decides nothing, unless they differ in no text and are numbered.
    """
    naming = [c for c in table.folded().columns if c.kind == "text" and c.key not in _NAME_NO_ROW]
    first, further = naming[:1], [column for column in naming[1:] if not column.machine]
    named = [[_text(row, column) for column in first] or ["row"] for row in table.rows]
    told = [(column, _text) for column in further] + [(column, _mark) for column in (*first, *further)]
    for column, spelt in told:
        alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, parts in enumerate(named):
            alike[tuple(parts)].append(index)
        for group in alike.values():
            texts = [spelt(table.rows[index], column) for index in group]
            if len(set(texts)) > 1:
                for index, text in zip(group, texts, strict=True):
                    named[index].append(text)
    return _numbered(["--".join(parts) for parts in named])


def _text(row: TableRow, column: Column) -> str:
    return label(str(row.cell(column).value))


def _mark(row: TableRow, column: Column) -> str:
    return digest(str(row.cell(column).value), 4)


def _numbered(stems: Iterable[str]) -> list[str]:
    names: list[str] = []
    taken: Counter[str] = Counter()  # stem -> names that are it, or it with a number
    for stem in stems:
        name = f"{stem}--{taken[stem] + 1}" if taken[stem] else stem
        names.append(name)
        taken.update({name, name.rpartition("--")[0]})
    return names


def _table(table: Table) -> Iterator[str]:
    numeric = [column for column in table.columns if column.kind != "text"]
    looks = [(column, label(column.key), number_format(table, column)) for column in numeric]
    for name, row in zip(number_names(table), table.rows, strict=True):
        caveat = _caveat(row)
        for column, key, style in looks:
            yield from _numbers(f"{label(table.name)}/{name}/{key}", row.cell(column), style, caveat)


def _numbers(name: str, cell: Cell, style: NumberFormat, caveat: Sequence[str]) -> Iterator[str]:
    if cell.number is None:
        return
    facts = [style.unit.replace("%", "per cent"), *cell.runs, *caveat]
    style = style.suited(cell.number, cell.std)
    yield _macro(name, style.text(cell.number), facts)
    for part, value in (("std", cell.std), ("low", cell.low), ("high", cell.high)):
        if value is not None:
            yield _macro(f"{name}-{part}", style.plain(value), facts)


_CAVEATS = {
    LABELS_SYMBOL: "uses labels",
    BROKEN_SYMBOL: "own code that broke a promise",
    UNPROVEN_SYMBOL: "own code, not checked",
    TEXT_SYMBOL: "named by text",
    PER_IMAGE_SYMBOL: "matched in each image",
}


def _caveat(row: TableRow) -> list[str]:
    """Why a row takes no part in rankings, or what is not known of it, as far as its marks tell."""
    marks = {mark for cell in row.cells.values() for mark in cell.marks}
    told = [f"({words})" for symbol, words in _CAVEATS.items() if symbol in marks]
    return told or ([] if row.ranked else ["(not ranked)"])


def _macro(name: str, number: str, facts: Sequence[str]) -> str:
    digits, e, power = number.partition("e")
    text = rf"{digits}\times10^{{{power}}}" if e else number
    text = rf"\ensuremath{{{text}}}" if e or number[:1] in "+-" else text
    told = " ".join(facts).strip()
    return rf"\expandafter\def\csname bench:{name}\endcsname{{{text}}}" + (f" % {comment(told)}" if told else "")
