"""From a store to tables and text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spectral_bench.common.errors import UserError
from spectral_bench.common.names import how_many, unknown
from spectral_bench.reports.ablation_table import ablation_tables
from spectral_bench.reports.against_table import against_table
from spectral_bench.reports.collect import Changed, Matchings, collect
from spectral_bench.reports.cost_table import cost_table
from spectral_bench.reports.health_table import health_table
from spectral_bench.reports.images import Intervals, image_intervals
from spectral_bench.reports.main_table import main_table
from spectral_bench.reports.overview_table import overview_table
from spectral_bench.reports.per_class_table import per_class_tables
from spectral_bench.reports.published.table import published_table
from spectral_bench.reports.renderers.csv import render_csv
from spectral_bench.reports.renderers.latex import render_latex, render_standalone
from spectral_bench.reports.renderers.markdown import render_markdown
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.source import Source
from spectral_bench.reports.table import Table
from spectral_bench.results.published import load_published

RENDERERS: dict[str, Callable[[Table], str]] = {
    "markdown": render_markdown,
    "latex": render_latex,
    "standalone": render_standalone,
    "csv": render_csv,
}


def build_table(
    source: Source,
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: Matchings = None,
    resamples: int = 0,
    changed: Changed | None = None,
) -> Table:
    """The main results of a store.

    Args:
        source: a ``results.store.Store``, or anything that reads like one.
        grid: the name of a grid; None: all grids.
        protocol: the name of a protocol; None: all that the grids ask for.
        matching: score with this matching in place of each protocol's own, or with each of several, a row each; ``own``
            among them is the protocol's own.
        resamples: of the images, for a column with the interval of mIoU over images; 0: no such column.
        changed: names what has changed since records were made, for notes on stale rows; None: no such notes.

    Raises:
        StoreError: the store holds no grid, or was written by a newer release.
        UserError: a name is unknown.
    """
    entries = collect(source, grid=grid, protocol=protocol, matching=matching, changed=changed)
    return main_table(entries, image_intervals(source, resamples) if resamples else None)


def build_tables(
    source: Source,
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: Matchings = None,
    against: Sequence[str] = (),
    resamples: int = 0,
    changed: Changed | None = None,
) -> list[Table]:
    """The main results, an ablation table for each grid with a baseline, and differences to the rows named ``against``.

    Arguments and errors: as for ``build_table`` and ``reports.against_table``.
    """
    entries = collect(source, grid=grid, protocol=protocol, matching=matching, changed=changed)
    intervals = image_intervals(source, resamples) if resamples else None
    beside = [against_table(entries, against)] if against else []
    return [main_table(entries, intervals), *ablation_tables(entries), *beside]


def build_published_table(
    source: Source,
    datasets: Sequence[str] = (),
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: Matchings = None,
    changed: Changed | None = None,
) -> Table:
    """Published numbers beside the measured rows of a store.

    Args:
        source, grid, protocol, matching, changed: as for ``build_table``.
        datasets: the data sets whose published rows are shown, or ``all``; none: those of the measured rows.

    Raises:
        StoreError: the store holds no grid, or was written by a newer release.
        UserError: a name is unknown.
    """
    entries = collect(source, grid=grid, protocol=protocol, matching=matching, changed=changed)
    return published_table(entries, load_published(), datasets)


def fit_only(source: Source, grid: str | None = None) -> tuple[list[str], bool]:
    """What is to be said of rows that are fitted only (``protocols: []``), and whether there are others to report.

    Args:
        source: the store.
        grid: the name of a grid; None: all grids. One that the store does not know has nothing said of it.

    Returns:
        A line for each grid with such rows, and whether any row has a protocol (or there is no row at all).
    """
    found = [manifest for manifest in source.manifests() if grid in (None, manifest.name)]
    lines = []
    for manifest in found:
        count = sum(not row.protocols for row in manifest.rows)
        if count:
            lines.append(
                f"{manifest.name}: {how_many(count, 'row')} fit only (protocols: []), so there is nothing to score; a "
                "grid with protocols evaluates the stored fits, and bench predict applies them"
            )
    rows = [row for manifest in found for row in manifest.rows]
    return lines, not rows or any(row.protocols for row in rows)


def all_tables(
    entries: Sequence[ScoredRow], intervals: Intervals | None = None, against: Sequence[str] = ()
) -> list[Table]:
    """Every table of some entries: main results (with ``intervals`` over images), overview, ablations, costs, ...

    With titles of rows to compare all others ``against`` also that table; its errors: ``reports.against_table``.
    """
    # What was trained and what it cost is the same under each matching that was asked for.
    fits = [entry for entry in entries if entry.asked == entries[0].asked]
    health, overview = health_table(fits), overview_table(entries)
    return [
        main_table(entries, intervals),
        *([overview] if overview is not None else []),
        *ablation_tables(entries),
        *([against_table(entries, against)] if against else []),
        cost_table(fits),
        *per_class_tables(entries),
        *([health] if health is not None else []),
    ]


def render(table: Table, format: str) -> str:  # the format's name is what users call it
    """A table as text that ends with a line feed.

    Args:
        table: any table.
        format: ``markdown``, ``latex`` (to include), ``standalone`` (a LaTeX document) or ``csv``.

    Raises:
        UserError: the format is unknown.
    """
    if format not in RENDERERS:
        raise UserError(unknown("format", format, RENDERERS))
    return RENDERERS[format](table)
