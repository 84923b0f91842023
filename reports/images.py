"""How much a row's mIoU depends on which images were evaluated: the bootstrap over images, on request."""

from __future__ import annotations

from collections.abc import Callable

from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.scoring import called, counts_over, matched_on
from spectral_bench.reports.source import Source
from spectral_bench.reports.table import Cell, Column
from spectral_bench.results.statistics import ImageInterval, bootstrap_miou, summarise

COLUMN = Column("mIoU_images", "mIoU, images", "percent", "higher", "interval")
REMARK = (
    "mIoU, images: 95 % interval over resamples of the images, the matching fitted anew in each. It speaks "
    "about these fits; what speaks about a method is the spread over seeds."
)
Intervals = Callable[[ScoredRow], ImageInterval | None]


def image_intervals(source: Source, resamples: int) -> Intervals:
    """A function from a row to its interval over images; None where no seed is finished."""

    def interval(entry: ScoredRow) -> ImageInterval | None:
        table, protocol = entry.class_table, entry.protocol
        if table is None or not entry.done:
            return None
        counts = [counts_over(source, run_id, protocol.view, table) for run_id in entry.runs]
        fit_on = [matched_on(source, run_id, protocol, table) for run_id in entry.runs]
        names = [called(source, run_id, protocol, table) for run_id in entry.runs]
        how = protocol.scoring.matching
        return bootstrap_miou(counts, table, how, fit_on=fit_on, names=names, resamples=resamples)

    return interval


def image_cell(entry: ScoredRow, intervals: Intervals) -> Cell:
    """The mean mIoU over seeds in per cent with its interval over images."""
    found = intervals(entry)
    if found is None:
        return Cell(runs=entry.all_runs)
    mean = summarise([result.scores.miou for result in entry.done if result.scores is not None]).mean
    return Cell(value=100 * mean, low=100 * found.low, high=100 * found.high, n=len(entry.done), runs=entry.runs)
