"""The overview: methods and backbones down, data sets and protocols across; the form of a paper's main table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from spectral_bench.reports.cells import label_marks, score_cell, stale_marks
from spectral_bench.reports.collect import alike, distinct
from spectral_bench.reports.main_table import METRICS
from spectral_bench.reports.ranking import emphasise
from spectral_bench.reports.rows import PER_IMAGE_SYMBOL, ScoredRow
from spectral_bench.reports.settings import matching_marks, matching_words, split_words, told_once, value_text
from spectral_bench.reports.table import Cell, Column, NoteBook, Table, TableRow

SHOWN = ("mIoU", "accuracy")
_PLACES = ("dataset", "train_dataset", "backbone")  # settings that the place in this table tells
_HEAD = (Column("grid", "grid", constant=True), Column("method", "method"), Column("backbone", "backbone"))


@dataclass(frozen=True)
class _Line:
    """A line of the overview."""

    grid: str
    name: str
    backbone: str


def overview_table(entries: Sequence[ScoredRow]) -> Table | None:
    """Accuracies of methods x backbones x data sets; None where no two entries share a line.

    Rows of one grid, method and backbone share a line if their titles differ only in data sets and in settings that
    follow from the data set, which a remark tells. Ablations have tables of their own and are left out.
    """
    notes, entries = NoteBook(), [entry for entry in distinct(entries) if entry.row.role == "row"]
    lines, groups = _lines(entries, notes), list(alike(entries).values())
    if len(set(lines)) == len(lines):
        return None
    scored = tuple(
        TableRow({key: _score_cell(entry, key, notes) for key in SHOWN}, ranked=entry.ranked) for entry in entries
    )
    scored = emphasise(scored, entries, {key: METRICS[key][1] for key in SHOWN}, notes)
    place = {index: number for number, group in enumerate(groups, start=1) for index in group}
    rows = []
    for line in dict.fromkeys(lines):
        own = [index for index, other in enumerate(lines) if other == line]
        cells = {f"{key}_{place[index]}": scored[index].cells[key] for index in own for key in SHOWN}
        rows.append(_row(line, cells, [entries[index] for index in own], notes))
    notes.remark("Mean and sample standard deviation over seeds. A dash: the grid has no such row.")
    for sentence in told_once(entries):
        notes.remark(sentence)
    firsts = [entries[group[0]] for group in groups]
    for number, entry in enumerate(firsts, start=1):
        notes.remark(f"({number}) {_scored_as(entry)}.")
    columns = [column for number, entry in enumerate(firsts, start=1) for column in _columns(number, entry)]
    return Table("overview", "Methods, backbones and data sets.", (*_HEAD, *columns), tuple(rows), notes.notes())


def _score_cell(entry: ScoredRow, key: str, notes: NoteBook) -> Cell:
    """A score with the marks of its own row, since a line has those of several."""
    cell = score_cell(entry, METRICS[key][1], notes)
    return replace(cell, marks=(*cell.marks, *stale_marks(entry, notes), *matching_marks(entry, notes)))


def _lines(entries: Sequence[ScoredRow], notes: NoteBook) -> list[_Line]:
    """The line of each entry. Entries that would meet in one cell keep their full titles."""
    found = []
    peers: dict[tuple[str, str], list[ScoredRow]] = {}
    for entry in entries:
        peers.setdefault((entry.grid, entry.row.method), []).append(entry)
    following = {key: _following(of_one_method) for key, of_one_method in peers.items()}
    for entry in entries:
        name, follows = entry.row.title, following[entry.grid, entry.row.method]
        for key in (*_PLACES, *follows):
            if key in entry.row.settings:
                name = name.replace(f", {key}={value_text(entry.row.settings[key])}", "", 1)
        for key, values in follows.items():
            told = ", ".join(f"{value_text(value)} on {dataset}" for dataset, value in values.items())
            notes.remark(f"{entry.row.method}: {key} = {told}.")
        found.append(_Line(entry.grid, name, entry.row.backbone))
    keys = [(line, entry.protocol.model_dump_json()) for line, entry in zip(found, entries, strict=True)]
    meeting = Counter(keys)
    return [
        line if meeting[key] == 1 else _Line(line.grid, entry.row.title, line.backbone)
        for line, key, entry in zip(found, keys, entries, strict=True)
    ]


def _following(peers: Sequence[ScoredRow]) -> dict[str, dict[str, object]]:
    """Settings of which each data set has one value, and not all the same: key -> data set -> value."""
    keys = dict.fromkeys(key for entry in peers for key in entry.row.settings if key not in _PLACES)
    found: dict[str, dict[str, object]] = {}
    for key in keys:
        pairs = {(entry.data_title, value_text(entry.row.settings.get(key))) for entry in peers}
        values = {entry.data_title: entry.row.settings.get(key) for entry in peers}
        if len(pairs) == len(values) and len({value for _, value in pairs}) > 1:
            found[key] = values
    return found


def _row(line: _Line, cells: dict[str, Cell], own: Sequence[ScoredRow], notes: NoteBook) -> TableRow:
    marks = tuple(dict.fromkeys(mark for entry in own for mark in label_marks(entry, notes)))
    runs = tuple(dict.fromkeys(run for entry in own for run in entry.all_runs))
    head = {
        "grid": Cell(value=line.grid, runs=runs),
        "method": Cell(value=line.name, runs=runs, marks=marks),
        "backbone": Cell(value=line.backbone, runs=runs),
    }
    return TableRow(head | cells, ranked=all(entry.ranked for entry in own))


def _columns(number: int, entry: ScoredRow) -> list[Column]:
    mark = f" {PER_IMAGE_SYMBOL}" if entry.per_image else ""
    return [
        Column(f"{key}_{number}", f"{entry.data_title} {METRICS[key][0]} ({number}){mark}", "percent", "higher", "std")
        for key in SHOWN
    ]


def _scored_as(entry: ScoredRow) -> str:
    protocol = entry.protocol
    facts = [f"protocol {protocol.name}", split_words(protocol), f"matching: {matching_words(protocol)}"]
    return f"{entry.data_title}: {', '.join(facts)}"
