"""Per-class IoU as a heat map: a row a class, a column a configuration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from spectral_bench.reports.cells import seed_values
from spectral_bench.reports.collect import ScoredRow
from spectral_bench.reports.figures.style import COLUMN_WIDTH, new_figure, shorten, style
from spectral_bench.reports.per_class_table import class_cells
from spectral_bench.reports.table import NoteBook
from spectral_bench.results.statistics import summarise

MOST_COLUMNS = 30
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
        sns.heatmap(
            matrix,
            ax=axes,
            vmin=0,
            vmax=100,
            cmap="viridis",
            annot=matrix.size <= _MOST_NUMBERS,
            fmt=".0f",
            annot_kws={"size": 6},
            linewidths=0.3,
            xticklabels=titles,
            yticklabels=[shorten(name, 24) for name in table.classes],
            cbar_kws={"label": "IoU (%)", "shrink": 0.6},
        )
        axes.tick_params(axis="x", rotation=45)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
            tick.set_rotation_mode("anchor")
    return figure


def _best(entries: Sequence[ScoredRow]) -> list[ScoredRow]:
    means = [summarise(list(seed_values(entry, lambda scores: scores.miou).values())).mean for entry in entries]
    order = sorted(range(len(entries)), key=lambda index: -means[index])
    return [entries[index] for index in sorted(order[:MOST_COLUMNS])]
