"""Training curves: a panel a logged metric, a line a row, the band from the lowest to the highest seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_bench.reports.figures.style import (
    colours,
    legend_below,
    legend_rows,
    new_figure,
    shorten,
    style,
)
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.run_files import training_curve

MOST_PANELS = 6
MOST_LINES = 12
_TITLE = 26  # letters over a panel
_STYLES = ("-", "--", "-.", ":")
Curves = dict[str, dict[str, list[dict[int, float]]]]


def training_figure(entries: Sequence[ScoredRow], folder: Callable[[str], Path]) -> Figure | None:
    """The curves of all rows that logged any.

    Args:
        entries: the rows.
        folder: run id -> the run's folder.

    Returns:
        None where no run logged a metric. At most six metrics of at most twelve rows are shown, the first ones;
        schedules, which are the same in all runs, are not.
    """
    curves = {metric: rows for metric, rows in collect_curves(entries, folder).items() if not _is_schedule(rows)}
    if not curves:
        return None
    metrics = list(curves)[:MOST_PANELS]
    titles = list(dict.fromkeys(title for metric in metrics for title in curves[metric]))[:MOST_LINES]
    columns = 1 if len(metrics) == 1 else 2
    lines = math.ceil(len(metrics) / columns)
    with style():
        figure = new_figure(1.4 * lines + 0.3 + 0.14 * legend_rows(titles))
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, metric in zip(grid.flat, metrics, strict=False):
            _panel(axes, metric, curves[metric], titles)
        for axes in list(grid.flat)[len(metrics) :]:
            axes.set_visible(False)
        legend_below(figure, max(grid.flat, key=lambda axes: len(axes.get_legend_handles_labels()[0])))
    return figure


def collect_curves(entries: Sequence[ScoredRow], folder: Callable[[str], Path]) -> Curves:
    """Metric -> title of the row -> the curve of each seed that logged it, failed and unfinished seeds included."""
    curves: Curves = {}
    for entry in entries:
        for run_id in entry.all_runs:
            for metric, steps in training_curve(folder(run_id)).items():
                curves.setdefault(metric, {}).setdefault(entry.marked_title, []).append(steps)
    return curves


def _is_schedule(rows: dict[str, list[dict[int, float]]]) -> bool:
    curves = [seed for seeds in rows.values() for seed in seeds]
    return len(curves) > 1 and all(curve == curves[0] for curve in curves)


def _panel(axes: Axes, metric: str, rows: dict[str, list[dict[int, float]]], titles: Sequence[str]) -> None:
    palette = colours(len(titles))
    for index, title in enumerate(titles):
        seeds = rows.get(title, [])
        if not seeds:
            continue
        steps = sorted({step for seed in seeds for step in seed})
        values = [[seed[step] for seed in seeds if step in seed] for step in steps]
        means = [sum(found) / len(found) for found in values]
        line = _STYLES[index % len(_STYLES)]
        axes.plot(steps, means, label=shorten(title), color=palette[index], linestyle=line, linewidth=1)
        if len(seeds) > 1:
            low, high = [min(found) for found in values], [max(found) for found in values]
            axes.fill_between(steps, low, high, color=palette[index], alpha=0.2, linewidth=0)
    axes.set_xlabel("step")
    axes.set_title(shorten(metric.replace("_", " "), _TITLE))
