"""Spectral health: what the checks of fits and evaluations found, of all seeds that have a record."""

from __future__ import annotations

from collections.abc import Sequence

from spectral_bench.reports.collect import distinct
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.reports.settings import SETTING_COLUMNS, CommonSettings, common_settings, setting_cells
from spectral_bench.reports.table import Cell, Column, NoteBook, Table, TableRow
from spectral_bench.results.record import HealthCheck
from spectral_bench.results.statistics import summarise

LABELS = {
    "graph_patches": "patches looked at",
    "varying_functions": "functions that vary",
    "rayleigh_mean": "mean Rayleigh quotient",
    "eigenvalue_mean": "mean eigenvalue",
    "order": "order of the functions",
    "orthogonality_error": "largest cosine",
    "residual_largest": "largest residual",
    "angle_largest": "largest angle (°)",
}


def health_table(entries: Sequence[ScoredRow]) -> Table | None:
    """Each row's checks: mean and standard deviation of the value over seeds; None where no record has a check."""
    notes, entries = NoteBook(), distinct(entries)
    names = list(dict.fromkeys(check.name for entry in entries for result in entry.seeds for check in _checks(result)))
    if not names:
        return None
    columns = (
        *SETTING_COLUMNS,
        *(Column(name, LABELS.get(name, name.replace("_", " ")), "number", spread="std") for name in names),
        Column("passed", "seeds that passed"),
    )
    shared = common_settings(entries)
    rows = tuple(_row(entry, shared, names, notes) for entry in entries)
    notes.remark("Checks of the fits and of their evaluations: mean and sample standard deviation over seeds.")
    if "graph_patches" in names:
        notes.remark(
            "Eigenfunctions are held against the kernel of held-out images: the n functions' Rayleigh quotients beside "
            "the n largest eigenvalues, cosines between functions, residuals in units of the kernel, and angles to the "
            "exact eigenspace. What has no limit is for information."
        )
    if "order" in names:
        notes.remark("Order of the functions: Kendall's correlation of their places and ranks of Rayleigh quotients.")
    return Table("health", "Numerical health of the fits.", columns, rows, notes.notes())


def _row(entry: ScoredRow, shared: CommonSettings, names: Sequence[str], notes: NoteBook) -> TableRow:
    cells = setting_cells(entry, notes, shared)
    for name in names:
        found = {result.run_id: check for result in entry.seeds for check in _checks(result) if check.name == name}
        cells[name] = _cell(found, notes)
    checked = [result for result in entry.seeds if _checks(result)]
    healthy = [result for result in checked if all(check.passed for check in _checks(result))]
    cells["passed"] = Cell(value=f"{len(healthy)} of {len(checked)}", runs=tuple(result.run_id for result in checked))
    return TableRow(cells, ranked=entry.ranked)


def _checks(result: SeedResult) -> list[HealthCheck]:
    fit = [] if result.fit is None else result.fit.health
    return [*fit, *([] if result.evaluation is None else result.evaluation.health)]


def _cell(found: dict[str, HealthCheck], notes: NoteBook) -> Cell:
    marks = tuple(dict.fromkeys(_mark(check, notes) for check in found.values() if check.note or not check.passed))
    values = [check.value for check in found.values() if check.value is not None]
    if not values:
        return Cell(value="not finite" if found else None, runs=tuple(found), marks=marks)
    summary = summarise(values)
    return Cell(value=summary.mean, std=summary.std, n=summary.n, runs=tuple(found), marks=marks)


def _mark(check: HealthCheck, notes: NoteBook) -> str:
    if check.passed:
        return notes.mark(f"Check {check.name}: {check.note}.")
    limit = "" if check.limit is None else f" (limit {check.limit:g})"
    return notes.mark(f"Check {check.name} failed{limit}{': ' + check.note if check.note else '.'}")
