"""Peaks of memory of a row, without what its runs did for others; and which rows' runs were in cohorts.

Cached features are extracted once, by whichever run comes first. That stage is no part of a run's peaks, but what it
leaves behind (the backbone, buffers that the allocator keeps) is in those of the stages after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from spectral_bench.reports.cells import Measure
from spectral_bench.reports.costs import extracted_features, run_cost
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.reports.table import NoteBook
from spectral_bench.results.record import COHORT

_COHORT = (
    "Its runs shared a process with others (a cohort): times count what was computed once for several as if each had "
    "computed it, as measured; the peak is that of the process, with all that the others hold."
)
_COHORTS = (
    "All runs shared processes with others (cohorts): times count what was computed once for several as if each had "
    "computed it, as measured; a peak is that of the process, with all that the others hold."
)
_MARK = "Its runs extracted the features that others read; their peaks hold what that left in memory."


def undisturbed(results: Sequence[SeedResult]) -> tuple[SeedResult, ...]:
    """The runs that were alone in their process and extracted no features for others, as far as there are such."""
    alone = tuple(result for result in results if not in_cohort(result)) or tuple(results)
    return tuple(result for result in alone if not extracted_features(result)) or alone


def peak_rss(entry: ScoredRow) -> Measure:
    """A measure: the peak of resident memory of a run of the row, in bytes, that speaks for the row."""
    counted = {result.run_id for result in undisturbed(entry.done)}
    return lambda result: run_cost(result).peak_rss if result.run_id in counted else None


def peak_device(entry: ScoredRow) -> Measure:
    """A measure: the same of the device's memory."""
    counted = {result.run_id for result in undisturbed(entry.done)}
    return lambda result: run_cost(result).peak_device if result.run_id in counted else None


def extraction_marks(entries: Sequence[ScoredRow], notes: NoteBook) -> dict[int, tuple[str, ...]]:
    """Position -> the mark for peaks of rows all of whose runs extracted features, where other rows' runs did not."""
    done = {index: entry.done for index, entry in enumerate(entries) if entry.done}
    alone = {index for index, results in done.items() if all(map(extracted_features, results))}
    return {} if len(alone) == len(done) else {index: (notes.mark(_MARK),) for index in sorted(alone)}


def in_cohort(result: SeedResult) -> bool:
    """Whether a run, or its evaluation, was carried out side by side with others in one process."""
    records = [record for record in (result.fit, result.evaluation) if record is not None]
    return any(COHORT in record.execution for record in records)


def cohort_marks(entries: Sequence[ScoredRow], notes: NoteBook) -> dict[int, tuple[str, ...]]:
    """Position -> the mark for times and memory of rows with runs in cohorts; one remark where all rows are so."""
    done = {index: entry.done for index, entry in enumerate(entries) if entry.done}
    found = [index for index, results in done.items() if any(map(in_cohort, results))]
    if found and all(in_cohort(result) for results in done.values() for result in results):
        notes.remark(_COHORTS)
        return {}
    return {index: (notes.mark(_COHORT),) for index in found}
