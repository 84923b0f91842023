"""The main table: a row a configuration and protocol, accuracy over seeds, time and memory."""

from __future__ import annotations

from collections.abc import Sequence

from spectral_bench.reports.cells import Metric, mean_cell, peak_cell, score_cell, seeds_cell
from spectral_bench.reports.collect import distinct
from spectral_bench.reports.costs import run_cost
from spectral_bench.reports.hardware import entry_hardware, unlike_marks
from spectral_bench.reports.images import COLUMN, REMARK, Intervals, image_cell
from spectral_bench.reports.peaks import cohort_marks, extraction_marks, peak_device, peak_rss
from spectral_bench.reports.ranking import emphasise
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.reports.settings import SETTING_COLUMNS, CommonSettings, common_settings, setting_cells
from spectral_bench.reports.table import Cell, Column, NoteBook, Table, TableRow
from spectral_bench.results.record import BASE_STAGE

METRICS: dict[str, tuple[str, Metric]] = {
    "mIoU": ("mIoU", lambda scores: scores.miou),
    "accuracy": ("accuracy", lambda scores: scores.accuracy),
    "mean_accuracy": ("mean accuracy", lambda scores: scores.mean_accuracy),
    "ARI": ("ARI", lambda scores: scores.ari),
    "NMI": ("NMI", lambda scores: scores.nmi),
}
_FOR_MACHINES = ("ARI", "NMI")

COLUMNS = (
    *SETTING_COLUMNS,
    *(
        Column(key, label, "percent", "higher", "std", machine=key in _FOR_MACHINES)
        for key, (label, _) in METRICS.items()
    ),
    Column("clusters_in_use", "clusters in use", "number", machine=True),
    Column("seeds", "seeds", "count"),
    Column("seeds_planned", "seeds planned", "count", machine=True),
    Column("hardware", "hardware", constant=True),
    Column("features_s", "features", "seconds", "lower", "std", machine=True),
    Column("fit_s", "fit", "seconds", "lower", "std"),
    Column("base_fit_s", "fit started from", "seconds", "lower", "std"),
    Column("evaluation_s", "evaluation", "seconds", "lower", "std"),
    Column("peak_rss_bytes", "peak RSS", "bytes", "lower"),
    Column("peak_device_bytes", "peak device memory", "bytes", "lower"),
)


def main_table(entries: Sequence[ScoredRow], intervals: Intervals | None = None) -> Table:
    """The main results of some entries, in their order. A row that several grids share appears once.

    Args:
        entries: the rows.
        intervals: gives a further column with intervals over images.
    """
    notes, entries = NoteBook(), distinct(entries)
    unlike, extracted = unlike_marks(entries, notes), extraction_marks(entries, notes)
    beside = cohort_marks(entries, notes)
    shared = common_settings(entries)
    rows = tuple(
        _row(
            entry,
            shared,
            intervals,
            (*unlike.get(index, ()), *beside.get(index, ())),
            extracted.get(index, ()),
            notes,
        )
        for index, entry in enumerate(entries)
    )
    rows = emphasise(rows, entries, {key: METRICS[key][1] for key in METRICS if key not in _FOR_MACHINES}, notes)
    notes.remark(
        "Accuracies in per cent: mean and sample standard deviation over seeds. Times: mean a run; features "
        "left out. Memory: maximum over seeds and stages, cached features left out."
    )
    for note in dict.fromkeys(entry.note for entry in entries if entry.note):
        notes.remark(note)
    columns = COLUMNS
    if intervals is not None:
        after = [column.key for column in COLUMNS].index("mIoU") + 1
        columns = (*COLUMNS[:after], COLUMN, *COLUMNS[after:])
        notes.remark(REMARK)
    return Table("main", "Main results.", columns, rows, notes.notes())


def _row(
    entry: ScoredRow,
    shared: CommonSettings,
    intervals: Intervals | None,
    unlike: tuple[str, ...],
    extracted: tuple[str, ...],
    notes: NoteBook,
) -> TableRow:
    cells = setting_cells(entry, notes, shared)
    if intervals is not None:
        cells[COLUMN.key] = image_cell(entry, intervals)
    for key, (_, metric) in METRICS.items():
        cells[key] = score_cell(entry, metric, notes)
    cells["clusters_in_use"] = score_cell(entry, lambda scores: scores.clusters_in_use, notes, scale=1.0)
    cells["seeds"] = seeds_cell(entry, notes)
    cells["seeds_planned"] = Cell(value=len(entry.seeds), n=len(entry.seeds), runs=entry.all_runs)
    return TableRow({**cells, **_cost_cells(entry, unlike, extracted, notes)}, ranked=entry.ranked)


def _cost_cells(
    entry: ScoredRow, unlike: tuple[str, ...], extracted: tuple[str, ...], notes: NoteBook
) -> dict[str, Cell]:
    reused, disturbed = _reuse_marks(entry.done, notes), (*extracted, *unlike)
    return {
        "hardware": Cell(value=entry_hardware(entry), runs=entry.runs),
        "features_s": mean_cell(entry, lambda result: run_cost(result).features_s, unlike),
        "fit_s": mean_cell(entry, lambda result: run_cost(result).fit_s, (*reused, *unlike)),
        "base_fit_s": mean_cell(entry, lambda result: run_cost(result).base_fit_s, unlike),
        "evaluation_s": mean_cell(entry, lambda result: run_cost(result).evaluation_s, unlike),
        "peak_rss_bytes": peak_cell(entry, peak_rss(entry), disturbed),
        "peak_device_bytes": peak_cell(entry, peak_device(entry), disturbed),
    }


def _reuse_marks(results: Sequence[SeedResult], notes: NoteBook) -> tuple[str, ...]:
    reused = sorted({stage for result in results for stage in run_cost(result).reused})
    marks = []
    if BASE_STAGE in reused:
        text = "Without the stored fit that it starts from, whose own seconds stand beside it where they are on record."
        marks.append(notes.mark(text))
    others = [stage for stage in reused if stage != BASE_STAGE]
    if others:
        marks.append(notes.mark(f"Without what another run had paid for already: {', '.join(others)}."))
    return tuple(marks)
