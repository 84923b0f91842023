"""Per-class IoU: a row a class, a column a configuration, a table a way of scoring."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spectral_bench.reports.cells import label_marks, per_image_marks, stale_marks, worst_state
from spectral_bench.reports.collect import alike, distinct
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import SETTING_COLUMNS, common_settings, setting_cells, titles_with_clusters
from spectral_bench.reports.table import Cell, CellState, Column, NoteBook, Table, TableRow
from spectral_bench.results.class_lists import numbered, positions
from spectral_bench.results.metrics import Scores
from spectral_bench.results.statistics import summarise, without_spread

_SCORED = ("protocol", "split", "classes", "matching", "images")
_FACTS = ("grid", "dataset", "train_dataset", "train_images", "backbone", "weights", "k", "common_settings", *_SCORED)
_FACT_COLUMNS = tuple(column for column in SETTING_COLUMNS if column.key in _FACTS)


def per_class_tables(entries: Sequence[ScoredRow]) -> list[Table]:
    """A table for each way of scoring that any finished row has, in the order of the entries."""
    groups = [[entries[index] for index in members] for members in alike(distinct(entries)).values()]
    groups = [group for group in groups if any(entry.done for entry in group)]
    return [_table(group, number if len(groups) > 1 else 0) for number, group in enumerate(groups, start=1)]


def class_cells(entry: ScoredRow, classes: Sequence[str], notes: NoteBook) -> list[Cell]:
    """The IoU of each class over the finished seeds, in per cent.

    A value is found by the name of its class, whatever the order of the classes in a score. A class that is neither
    labelled nor predicted is ``absent``; one that is only predicted carries a mark; one that is not scored is
    ``not applicable``.
    """
    if not entry.done:
        return [Cell(state=worst_state(entry), runs=entry.all_runs)] * len(classes)
    scores = {result.run_id: result.scores for result in entry.done if result.scores is not None}
    places = {run: positions(found.classes) for run, found in scores.items()}
    return [
        _class_cell({run: (scores[run], places[run][key]) for run in scores if key in places[run]}, entry, notes)
        for key in numbered(classes)
    ]


def _table(entries: Sequence[ScoredRow], number: int) -> Table:
    notes = NoteBook()
    classes = next((entry.class_table.classes for entry in entries if entry.class_table is not None), [])
    titles = titles_with_clusters(entries)
    columns = [_column(index, entry, titles[index], notes) for index, entry in enumerate(entries)]
    facts = _common_facts(entries)
    by_column = {column.key: class_cells(entry, classes, notes) for column, entry in zip(columns, entries, strict=True)}
    rows = tuple(
        TableRow({**facts, "class": Cell(value=name), **{key: cells[index] for key, cells in by_column.items()}})
        for index, name in enumerate(classes)
    )
    notes.remark("IoU of each class in per cent: mean and sample standard deviation over seeds.")
    name = f"per-class-{number}" if number else "per-class"
    return Table(name, "IoU by class.", (*_FACT_COLUMNS, Column("class", "class"), *columns), rows, notes.notes())


def _column(index: int, entry: ScoredRow, title: str, notes: NoteBook) -> Column:
    symbols = (*label_marks(entry, notes), *per_image_marks(entry, notes))
    marks = (*symbols, *(f"[{mark}]" for mark in stale_marks(entry, notes)))
    return Column(f"{index + 1}: {entry.row.title}", " ".join([title, *marks]), "percent", "higher", "std")


def _common_facts(entries: Sequence[ScoredRow]) -> dict[str, Cell]:
    """The settings that all entries of the table share; the others are left to the titles."""
    shared = common_settings(entries)
    known = [setting_cells(entry, NoteBook(), shared) for entry in entries]
    values = {key: {cells[key].value for cells in known} - {None} for key in _FACTS}
    return {key: Cell(value=next(iter(found))) for key, found in values.items() if len(found) == 1}


def _class_cell(scores: dict[str, tuple[Scores, int]], entry: ScoredRow, notes: NoteBook) -> Cell:
    """A class of some runs, each with the place of the class in its scores."""
    if not scores:
        return Cell(
            state=CellState.NOT_APPLICABLE, runs=entry.runs, marks=(notes.mark("The class is not scored here."),)
        )
    values = {run: 100 * float(found.iou[place]) for run, (found, place) in scores.items()}
    known = {run: value for run, value in values.items() if not math.isnan(value)}
    if not known:
        mark = notes.mark("Absent: neither labelled nor predicted in the evaluated images; left out of the mIoU.")
        return Cell(state=CellState.ABSENT, runs=tuple(scores), marks=(mark,))
    marks = []
    if all(math.isnan(found.class_accuracy[place]) for found, place in scores.values()):
        marks.append(notes.mark("Not labelled in the evaluated images, but predicted: counts as 0 in the mIoU."))
    if len(known) < len(scores):
        marks.append(notes.mark("Mean over the seeds in which the class is predicted; it is not labelled."))
    summary = summarise(list(known.values()))
    summary = summary if entry.replicated else without_spread(summary)
    return Cell(value=summary.mean, std=summary.std, n=summary.n, runs=tuple(known), marks=tuple(marks))
