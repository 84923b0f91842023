"""The ablation table: what each change does to the baseline, paired by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports.cells import Metric, score_cell
from reports.collect import Entry
from reports.main_table import METRICS
from reports.settings import SETTING_COLUMNS, setting_cells
from reports.table import Cell, Column, NoteBook, Row, State, Table
from results.statistics import paired_difference

COMPARED = ("mIoU", "accuracy")

COLUMNS = (
    *(column for column in SETTING_COLUMNS if column.key != "configuration"),
    Column("configuration", "configuration", machine=True),
    Column("factor", "factor", machine=True),
    Column("change", "change"),
    *(
        column
        for key in COMPARED
        for column in (
            Column(key, METRICS[key][0], "percent", "higher", "std"),
            Column(f"{key}_difference", f"Δ {METRICS[key][0]}", "points", "higher", "interval"),
        )
    ),
    Column("seeds_compared", "seeds", "count"),
)


@dataclass(frozen=True)
class Ablation:
    """A baseline and its variations, as (baseline, row) pairs under one protocol after the other, baselines first."""

    grid: str
    pairs: tuple[tuple[Entry, Entry], ...]


def ablations(entries: Sequence[Entry]) -> list[Ablation]:
    """The ablations in some entries. A baseline's variations follow it in its grid."""
    blocks: list[list[Entry]] = []
    for entry in entries:
        if entry.row.role == "baseline" and not (blocks and blocks[-1][0].row is entry.row):
            blocks.append([])
        if entry.row.role != "row" and blocks:
            blocks[-1].append(entry)
    return [Ablation(block[0].grid, tuple(_pairs(block))) for block in blocks if block[-1].row.role == "variation"]


def ablation_tables(entries: Sequence[Entry]) -> list[Table]:
    """A table for each baseline that has variations, in the order of the entries."""
    found = ablations(entries)
    grids = [ablation.grid for ablation in found]
    numbers = [grids[:index].count(grid) + 1 for index, grid in enumerate(grids)]
    return [
        _table(ablation, f"ablation-{ablation.grid}" + (f"-{number}" if number > 1 else ""))
        for ablation, number in zip(found, numbers, strict=True)
    ]


def _pairs(block: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    baselines = {entry.protocol.name: entry for entry in block if entry.row.role == "baseline"}
    for name, baseline in baselines.items():
        yield from ((baseline, entry) for entry in block if entry.protocol.name == name)


def _table(ablation: Ablation, name: str) -> Table:
    notes = NoteBook()
    rows = tuple(_row(baseline, entry, notes) for baseline, entry in ablation.pairs)
    notes.remark(
        "Differences to the baseline in points of per cent: the mean over the seeds that both rows have, paired by "
        "seed, with the 95 % Student-t interval where there are two seeds or more."
    )
    caption = f"Ablation of {ablation.pairs[0][0].row.title}: one change at a time."
    return Table(name, caption, COLUMNS, rows, notes.notes())


def _row(baseline: Entry, entry: Entry, notes: NoteBook) -> Row:
    cells = setting_cells(entry, notes)
    is_baseline = entry is baseline
    change = "baseline" if is_baseline else f"{entry.row.factor} = {value_text(entry.row.value)}"
    cells["factor"] = Cell(value=entry.row.factor or "")
    cells["change"] = Cell(value=change, runs=entry.all_runs, marks=cells["configuration"].marks)
    for key in COMPARED:
        cells[key] = score_cell(entry, METRICS[key][1], notes)
        if not is_baseline:
            cells[f"{key}_difference"] = _difference(baseline, entry, METRICS[key][1], notes)
    cells["seeds_compared"] = Cell(value=len(_values(entry, METRICS["mIoU"][1]).keys() & _seeds(baseline)))
    return Row(cells, ranked=not entry.uses_labels, group="" if is_baseline else entry.row.factor or "")


def value_text(value: object) -> str:
    """A grid's value as it is written in YAML, near enough: ``true``, ``null``, numbers and names as they are."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _difference(baseline: Entry, entry: Entry, metric: Metric, notes: NoteBook) -> Cell:
    runs = (*entry.runs, *baseline.runs)
    if entry.protocol != baseline.protocol:
        text = "Not compared: evaluated on other images or scored otherwise than the baseline."
        return Cell(state=State.NOT_APPLICABLE, runs=runs, marks=(notes.mark(text),))
    difference = paired_difference(_values(entry, metric), _values(baseline, metric))
    if difference is None:
        text = "No difference: no seed is finished in both this row and the baseline."
        marks = (notes.mark(text),) if entry.done else ()
        return Cell(runs=runs, marks=marks)
    summary = difference.summary
    return Cell(value=summary.mean, low=summary.low, high=summary.high, n=summary.n, runs=runs)


def _values(entry: Entry, metric: Metric) -> dict[int, float]:
    return {result.seed: 100.0 * metric(result.scores) for result in entry.done if result.scores is not None}


def _seeds(entry: Entry) -> set[int]:
    return {result.seed for result in entry.done}
