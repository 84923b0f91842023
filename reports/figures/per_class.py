"""Per-class IoU as a heat map: a row a class, a column a configuration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectral_bench.reports.cells import seed_values
from spectral_bench.reports.figures.style import COLUMN_WIDTH, new_figure, shorten, style
from spectral_bench.reports.per_class_table import class_cells
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.table import NoteBook
from spectral_bench.results.statistics import summarise

MOST_COLUMNS = 30
_DARK = 0.408  # luminance of cells with white numbers, at most
_MOST_NUMBERS = 12 * 30  # cells; more numbers than these would not be legible


def per_class_figure(entries: Sequence[ScoredRow]) -> Figure | None:
    """The heat map of rows that are scored alike; None without a finished row. Absent classes are left grey.

    Of more than 30 rows those of the highest mIoU are shown, in the order of the table.
    """
    shown = _best([entry for entry in entries if entry.done])
    table = next((entry.class_table for entry in shown if entry.class_table is not None), None)
    if table is None:
        return None
    values = [[cell.number for cell in class_cells(entry, table.classes, NoteBook())] for entry in shown]
    matrix = np.array([[np.nan if value is None else value for value in row] for row in values]).T
    titles = [shorten(entry.marked_title, 24) for entry in shown]
    height = 0.4 + 0.16 * len(table.classes) + 0.05 * max(map(len, titles))
    with style():
        figure = new_figure(height, max(COLUMN_WIDTH, 1.2 + 0.4 * len(shown)))
        axes = figure.subplots()
        axes.set_facecolor("0.85")
        _heat_map(axes, matrix)
        axes.set_xticks(np.arange(len(titles)) + 0.5, titles)
        names = [shorten(name, 24) for name in table.classes]
        axes.set_yticks(np.arange(len(names)) + 0.5, names, va="center")
        axes.tick_params(axis="x", rotation=45)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
            tick.set_rotation_mode("anchor")
    return figure


def _heat_map(axes: Axes, matrix: NDArray[np.float64]) -> None:
    """Draw (classes, rows) per cent, the first class on top, with a number in each cell that has one."""
    known = np.ma.masked_invalid(matrix)
    mesh = axes.pcolormesh(known, cmap="viridis", vmin=0, vmax=100, linewidths=0.3, edgecolors="white")
    axes.set(xlim=(0, matrix.shape[1]), ylim=(matrix.shape[0], 0))
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure = axes.get_figure()
    assert figure is not None
    figure.colorbar(mesh, ax=axes, label="IoU (%)", shrink=0.6).outline.set_linewidth(0)
    if matrix.size > _MOST_NUMBERS:
        return
    colours = np.asarray(mesh.cmap(mesh.norm(known))).reshape(*matrix.shape, 4)
    for (line, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            tone = ".15" if _luminance(colours[line, column]) > _DARK else "w"
            axes.text(column + 0.5, line + 0.5, f"{value:.0f}", color=tone, ha="center", va="center", size=6)


def _luminance(colour: NDArray[np.float64]) -> float:
    """Relative luminance of sRGB (https://www.w3.org/TR/WCAG20/#relativeluminancedef)."""
    linear = np.where(colour[:3] <= 0.03928, colour[:3] / 12.92, ((colour[:3] + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _best(entries: Sequence[ScoredRow]) -> list[ScoredRow]:
    means = [summarise(list(seed_values(entry, lambda scores: scores.miou).values())).mean for entry in entries]
    order = sorted(range(len(entries)), key=lambda index: -means[index])
    return [entries[index] for index in sorted(order[:MOST_COLUMNS])]
