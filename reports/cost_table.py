"""Time and memory, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from spectral_bench.reports.cells import mean_cell, peak_cell
from spectral_bench.reports.collect import distinct
from spectral_bench.reports.costs import FEATURES_STAGE, run_cost
from spectral_bench.reports.hardware import entry_hardware, unlike_marks
from spectral_bench.reports.peaks import cohort_marks, extraction_marks, peak_device, peak_rss
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.reports.settings import SETTING_COLUMNS, CommonSettings, common_settings, setting_cells
from spectral_bench.reports.table import Cell, Column, NoteBook, Table, TableRow
from spectral_bench.results.record import BASE_STAGE, HEALTH_STAGE, StageCost

_ORDER = {
    name: place
    for place, name in enumerate((FEATURES_STAGE, "labels", BASE_STAGE, "graph", "fit", "predict", "evaluate"))
}


@dataclass(frozen=True)
class Stage:
    """A stage of the fit or of the evaluation of a run."""

    part: str
    name: str

    @property
    def key(self) -> str:
        """The column's key: ``fit_graph_s``."""
        return f"{self.part}_{self.name}_s"

    @property
    def label(self) -> str:
        """The column's label: the stage's name, with its part where both parts have such a stage."""
        return f"{self.name} ({self.part})" if self.name in (FEATURES_STAGE, HEALTH_STAGE) else self.name


def cost_table(entries: Sequence[ScoredRow]) -> Table:
    """Seconds a stage, throughput, memory and size of each row; what another run had paid for is left out.

    The fit that a row's fits start from has a column of its own.
    """
    notes, entries = NoteBook(), distinct(entries)
    found = stages(entries)
    called = any(result.called is not None for entry in entries for result in entry.done)
    columns = (
        *SETTING_COLUMNS,
        Column("hardware", "hardware", constant=True),
        *(Column(stage.key, stage.label, "seconds", "lower", "std") for stage in found),
        *([Column("names_s", "names by text", "seconds", "lower", "std")] if called else []),
        Column("base_fit_s", "fit started from", "seconds", "lower", "std"),
        Column("images_per_s", "images/s", "number", "higher", "std"),
        Column("peak_rss_bytes", "peak RSS", "bytes", "lower"),
        Column("peak_device_bytes", "peak device memory", "bytes", "lower"),
        Column("features_rss_bytes", "peak RSS, features", "bytes", "lower"),
        Column("parameters", "parameters", "count", "lower"),
        Column("flops", "FLOPs an image", "flops", "lower"),
        Column("flops_features", "FLOPs an image, features", "flops", "lower", machine=True),
        Column("flops_predict", "FLOPs an image, predict", "flops", "lower", machine=True),
        Column("energy_j", "energy", "joules", "lower", "std"),
    )
    unlike, extracted = unlike_marks(entries, notes), extraction_marks(entries, notes)
    beside = cohort_marks(entries, notes)
    shared = common_settings(entries)
    rows = tuple(
        _row(entry, shared, found, (*unlike.get(index, ()), *beside.get(index, ())), extracted.get(index, ()), notes)
        for index, entry in enumerate(entries)
    )
    notes.remark(
        "Times: mean and sample standard deviation over seeds of one run's stage, by the wall clock; seeds of one "
        "launch share the machine's state. Images/s: of the evaluation, its features left out. Memory: maximum over "
        "seeds and stages. Cached features are extracted once for all rows that read them, by whichever run comes "
        "first: their seconds and peak stand in that row and are no part of other columns. FLOPs an image: backbone "
        "and prediction; matrix products, convolutions and attention, a multiplication with its addition as two. "
        "Energy: of the GPU's board over a run's own stages. A dash: not measured, or there already."
    )
    if any(row.cells["base_fit_s"].value is not None for row in rows):
        notes.remark(
            "Fit started from: seconds of the stored fit that a row's fits start from, its features left out. Another "
            "run paid for it and the other columns leave it out; a comparison of methods has to add it."
        )
    if called:
        notes.remark(
            "Names by text: seconds of a pass of its own over the evaluated images, which finds the mean feature of "
            "each cluster; the other columns leave it out."
        )
    return Table("costs", "Time and memory.", columns, rows, notes.notes())


def stages(entries: Iterable[ScoredRow]) -> list[Stage]:
    """The stages that were paid for in any finished run: those of fits first, in the order in which work is done.

    Stages that are not known by name come last in their part, in the order of the records.
    """
    found: dict[Stage, None] = {}
    results = [result for entry in entries for result in entry.done]
    for part in ("fit", "evaluation"):
        for result in results:
            found |= {Stage(part, cost.stage): None for cost in _costs(result, part) if not cost.reused}
    return sorted(found, key=lambda stage: (stage.part != "fit", _ORDER.get(stage.name, len(_ORDER))))


def stage_seconds(stage: Stage) -> Callable[[SeedResult], float | None]:
    """A measure: the seconds of a stage of a run; None where it has none or did not pay for it."""

    def seconds(result: SeedResult) -> float | None:
        own = [cost.wall_s for cost in _costs(result, stage.part) if cost.stage == stage.name and not cost.reused]
        return sum(own) if own else None

    return seconds


def _row(
    entry: ScoredRow,
    shared: CommonSettings,
    found: Sequence[Stage],
    unlike: tuple[str, ...],
    extracted: tuple[str, ...],
    notes: NoteBook,
) -> TableRow:
    disturbed = (*extracted, *unlike)
    cells = setting_cells(entry, notes, shared)
    cells["hardware"] = Cell(value=entry_hardware(entry), runs=entry.runs)
    for stage in found:
        cells[stage.key] = mean_cell(entry, stage_seconds(stage), unlike)
    cells["names_s"] = mean_cell(entry, _names_s, unlike)
    cells["base_fit_s"] = mean_cell(entry, lambda result: run_cost(result).base_fit_s, unlike)
    cells["images_per_s"] = mean_cell(entry, _throughput, unlike)
    cells["peak_rss_bytes"] = peak_cell(entry, peak_rss(entry), disturbed)
    cells["peak_device_bytes"] = peak_cell(entry, peak_device(entry), disturbed)
    cells["features_rss_bytes"] = peak_cell(entry, lambda result: run_cost(result).features_rss, unlike)
    cells["parameters"] = peak_cell(entry, lambda result: None if result.fit is None else result.fit.parameters)
    for key, measure in (("flops", _flops), ("flops_features", _flops_features), ("flops_predict", _flops_predict)):
        cells[key] = peak_cell(entry, measure)
    cells["energy_j"] = mean_cell(entry, lambda result: run_cost(result).energy_j)
    return TableRow(cells, ranked=entry.ranked)


def _names_s(result: SeedResult) -> float | None:
    costs = [] if result.called is None else result.called.costs
    own = [cost.wall_s for cost in costs if cost.stage != FEATURES_STAGE and not cost.reused]
    return sum(own) if own else None


def _flops_features(result: SeedResult) -> float | None:
    return None if result.evaluation is None else result.evaluation.flops_features


def _flops_predict(result: SeedResult) -> float | None:
    return None if result.evaluation is None else result.evaluation.flops_predict


def _flops(result: SeedResult) -> float | None:
    features, predict = _flops_features(result), _flops_predict(result)
    return None if features is None or predict is None else features + predict


def _costs(result: SeedResult, part: str) -> list[StageCost]:
    record = result.fit if part == "fit" else result.evaluation
    return [] if record is None else record.costs


def _throughput(result: SeedResult) -> float | None:
    seconds = run_cost(result).evaluation_s
    images = 0 if result.evaluation is None else result.evaluation.n_images
    return images / seconds if seconds else None
