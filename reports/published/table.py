"""The table of published numbers beside measured rows: a dagger and a footnote for every difference of protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from spectral_bench.common.errors import UserError
from spectral_bench.common.names import unknown
from spectral_bench.reports.cells import incomplete_marks, label_marks, score_cell, stale_marks
from spectral_bench.reports.collect import alike, distinct
from spectral_bench.reports.main_table import METRICS
from spectral_bench.reports.published.fields import FIELDS, FieldValue, differing, measured_fields, published_fields
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import matching_marks
from spectral_bench.reports.table import Cell, Column, NoteBook, Table, TableRow
from spectral_bench.results.published import Published, PublishedRow

EVERY = "all"
QUOTED = "Quoted by the source: not read in the method's own paper, code or log."
_SHARED = ("mIoU", "accuracy")
_ELSEWHERE = ("CorLoc", "PQ")

COLUMNS = (
    Column("configuration", "configuration"),
    Column("origin", "origin"),
    Column("grid", "grid", machine=True),
    *(Column(key, METRICS[key][0], "percent", "higher", "std") for key in _SHARED),
    *(Column(key, key, "percent", "higher") for key in _ELSEWHERE),
    Column("measured_protocol", "measured protocol", constant=True),
    *(Column(key, label, constant=True) for key, label in FIELDS.items()),
    Column("source", "source"),
    Column("remark", "remark", machine=True),
)


@dataclass
class _Block:
    """Measured rows that were evaluated on the same images and scored alike, and what is printed below them."""

    name: str
    dataset: str
    title: str
    entries: list[ScoredRow]
    fields: list[dict[str, FieldValue]]
    published: list[PublishedRow] = field(default_factory=list)


def published_table(entries: Sequence[ScoredRow], published: Published, datasets: Sequence[str] = ()) -> Table:
    """Measured rows, and below them the published ones that come nearest to their protocol.

    A published row stands below those measured rows on its data set whose view and matching it shares, and from whose
    protocol it differs in the fewest fields. Those with the fewest come first. No published row is part of
    rankings or carries bold, and nothing is computed from it.

    Args:
        entries: the measured rows.
        published: what others have published.
        datasets: the data sets whose published rows are shown, or ``all``; none: those of the measured rows.

    Raises:
        UserError: nothing is published on a data set that was asked for.
    """
    blocks = _blocks(distinct(entries))
    wanted = _wanted(blocks, published, datasets)
    for row in published.rows:
        if row.protocol.dataset in wanted:
            _nearest(blocks, row).published.append(row)
    notes = _Notes()
    rows = [row for block in blocks for row in _rows(block, notes, several=len(blocks) > 1)]
    if not any(block.published for block in blocks):
        measured = ", ".join(dict.fromkeys(block.title for block in blocks))
        notes.book.remark(
            f"Nothing published is known on {measured}; on other data sets: {', '.join(published.datasets)}."
        )
    notes.book.remark(
        "Published rows are copied from their sources and take no part in rankings, statistics or figures. A dagger "
        "marks a field of the protocol in which a published number agrees with no measured row above it. Measured: "
        "mean and sample standard deviation over seeds."
    )
    for source, number in notes.sources.items():
        notes.book.remark(f"Source {number}: {source}.")
    return Table("published", "Published numbers beside measured rows.", COLUMNS, tuple(rows), notes.book.notes())


class _Notes:
    """Footnotes: a numbered dagger a distinct difference, letters for the rest, numbers for sources."""

    def __init__(self) -> None:
        self.book = NoteBook()
        self.sources: dict[str, int] = {}
        self._differences: dict[str, str] = {}

    def dagger(self, text: str) -> str:
        """The symbol of a difference: the same text has the same one."""
        symbol = self._differences.setdefault(text, f"†{len(self._differences) + 1}")
        return self.book.mark(text, symbol)

    def source(self, row: PublishedRow) -> str:
        """Number of the source and the place within it."""
        return f"{self.sources.setdefault(row.source.title, len(self.sources) + 1)}, {row.where}"


def _blocks(entries: Sequence[ScoredRow]) -> list[_Block]:
    blocks = []
    for members in alike(entries).values():
        chosen = [entries[index] for index in members]
        protocol, title = chosen[0].protocol, chosen[0].data_title
        fields = [measured_fields(one) for one in chosen]
        blocks.append(_Block(protocol.name, protocol.view.dataset, title, chosen, fields))
    return blocks


def _wanted(blocks: Sequence[_Block], published: Published, datasets: Sequence[str]) -> set[str]:
    known = published.datasets
    for name in datasets:
        if name != EVERY and name not in known:
            raise UserError(unknown("data set with published numbers", name, [*known, EVERY]))
    if EVERY in datasets:
        return set(known)
    return set(datasets) or {block.dataset for block in blocks}


def _nearest(blocks: Sequence[_Block], row: PublishedRow) -> _Block:
    same = [block for block in blocks if block.dataset == row.protocol.dataset]
    fields = published_fields(row)

    def distance(block: _Block) -> tuple[int, int]:
        found = differing(fields, block.fields)
        return len({"view", "matching"}.intersection(found)), len(found)

    return min(same or blocks, key=distance)


def _rows(block: _Block, notes: _Notes, *, several: bool) -> Iterator[TableRow]:
    group = f"{block.title}, {block.name}"
    for entry, fields in zip(block.entries, block.fields, strict=True):
        yield _measured(entry, fields, block, notes, group)
    for row in sorted(block.published, key=lambda row: len(differing(published_fields(row), block.fields))):
        yield _published(row, block, notes, group, several=several)


def _measured(entry: ScoredRow, fields: dict[str, FieldValue], block: _Block, notes: _Notes, group: str) -> TableRow:
    makers = (label_marks, incomplete_marks, stale_marks, matching_marks)
    marks = tuple(mark for made in makers for mark in made(entry, notes.book))
    cells = {
        "configuration": Cell(value=entry.row.title, runs=entry.all_runs, marks=marks),
        "origin": Cell(value="measured", runs=entry.all_runs),
        "grid": Cell(value=entry.grid, runs=entry.all_runs),
        "measured_protocol": Cell(value=block.name, runs=entry.all_runs),
        **{key: Cell(value=fields[key].words, runs=entry.all_runs) for key in FIELDS},
        **{key: score_cell(entry, METRICS[key][1], notes.book) for key in _SHARED},
    }
    return TableRow(cells, ranked=entry.ranked, group=group)


def _published(row: PublishedRow, block: _Block, notes: _Notes, group: str, *, several: bool) -> TableRow:
    fields = published_fields(row)
    daggers = {key: notes.dagger(_difference(key, fields, block, several)) for key in differing(fields, block.fields)}
    told = [caveat.text for caveat in row.caveats]
    caveats = tuple(notes.book.mark(text) for text in [*told, *([QUOTED] if row.confidence == "read-2nd" else [])])
    title = f"{row.method}, {row.setting}" if row.setting else row.method
    cells = {
        "configuration": Cell(value=title, marks=caveats),
        "origin": Cell(value="published"),
        "measured_protocol": Cell(value=block.name),
        **{key: Cell(value=fields[key].words, marks=_only(daggers.get(key))) for key in FIELDS},
        **{str(key): Cell(value=value) for key, value in row.metrics.items()},
        "source": Cell(value=notes.source(row)),
        "remark": Cell(value=row.note or None),
    }
    return TableRow(cells, ranked=False, group=group, published=True)


def _difference(key: str, fields: dict[str, FieldValue], block: _Block, several: bool) -> str:
    measured = " or ".join(dict.fromkeys(one[key].words for one in block.fields))
    which = f" ({block.title}, {block.name})" if several else ""
    return f"{FIELDS[key]}: {fields[key].words}; measured rows{which}: {measured}."


def _only(mark: str | None) -> tuple[str, ...]:
    return () if mark is None else (mark,)
