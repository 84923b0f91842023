"""Peaks of memory of a row, without what its runs did for others.

Cached features are extracted once, by whichever run comes first. That stage is no part of a run's peaks, but what it
leaves behind (the backbone, buffers that the allocator keeps) is in those of the stages after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from spectral_bench.reports.cells import Measure
from spectral_bench.reports.collect import ScoredRow, SeedResult
from spectral_bench.reports.costs import extracted_features, run_cost
from spectral_bench.reports.table import NoteBook

_MARK = "Its runs extracted the features that others read; their peaks hold what that left in memory."


def undisturbed(results: Sequence[SeedResult]) -> tuple[SeedResult, ...]:
    """The runs that extracted no features for others; all of them where each did."""
    return tuple(result for result in results if not extracted_features(result)) or tuple(results)


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
