"""Accuracy against time and against memory, with the Pareto front of the rows that use no labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_bench.reports.cells import seed_values
from spectral_bench.reports.costs import run_cost
from spectral_bench.reports.figures.style import (
    MARKERS,
    colours,
    legend_below,
    legend_rows,
    new_figure,
    set_logarithmic,
    shorten,
    style,
)
from spectral_bench.reports.peaks import undisturbed
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.results.statistics import summarise

MOST_NAMES = 20
UNNAMED = ("others, on no front", "others, kept out of it")  # what the legend calls dots: filled ones, open ones


@dataclass(frozen=True)
class Mark:
    """One row: cost in base units, mIoU in per cent, and whether it may lie on the front."""

    title: str
    cost: float
    miou: float
    ranked: bool


def trade_off_figure(entries: Sequence[ScoredRow], heading: str = "") -> Figure | None:
    """A panel for fit time in seconds and one for peak memory in GB; None without two rows to show.

    Of more than 20 rows those on a front are named, and up to 20 with those that are kept out of it; the others are
    grey dots.

    Args:
        entries: rows that are scored alike and were timed on one kind of hardware.
        heading: printed above the panels, such as the hardware.
    """
    memory = marks(entries, _memory, 1e9, undisturbed)
    panels = [("fit time (s)", marks(entries, _fit_seconds, 1.0)), ("peak memory (GB)", memory)]
    if max(len(found) for _, found in panels) < 2:
        return None
    titles = _named([found for _, found in panels])
    with style():
        others = {mark.ranked for _, found in panels for mark in found if mark.title not in titles}
        rows = legend_rows([*titles, *(UNNAMED[0] if ranked else UNNAMED[1] for ranked in others)])
        figure = new_figure(2.1 + 0.14 * rows + (0.2 if heading else 0))
        grid = figure.subplots(1, 2, sharey=True)
        for axes, (label, found) in zip(grid, panels, strict=True):
            _panel(axes, label, found, titles)
        grid[0].set_ylabel("mIoU (%)")
        if heading:
            figure.suptitle(shorten(heading, 60), fontsize=8)
        fullest = max(grid, key=lambda axes: len(axes.get_legend_handles_labels()[0]))
        legend_below(figure, fullest, last=UNNAMED)
    return figure


def has_unnamed(figure: Figure) -> bool:
    """Whether a figure of ``trade_off_figure`` has dots without a name."""
    return any(line.get_label() in UNNAMED for axes in figure.axes for line in axes.get_lines())


def marks(
    entries: Sequence[ScoredRow],
    measure: Callable[[SeedResult], float | None],
    unit: float,
    chosen: Callable[[Sequence[SeedResult]], Sequence[SeedResult]] = tuple,
) -> list[Mark]:
    """The rows that have both a score and a cost: means over seeds, the cost in ``unit`` base units.

    Args:
        entries: the rows.
        measure: the cost of a run.
        unit: that the cost is told in.
        chosen: which of the finished seeds count for the cost; all.
    """
    found = []
    for entry in entries:
        costs = [value for result in chosen(entry.done) if (value := measure(result)) is not None]
        scores = list(seed_values(entry, lambda scores: scores.miou).values())
        if costs and scores:
            cost = summarise(costs).mean / unit
            sound = not entry.uses_labels and entry.own_code != "failed"
            found.append(Mark(entry.marked_title, cost, summarise(scores).mean, sound))
    return found


def pareto_front(found: Sequence[Mark]) -> list[Mark]:
    """The marks that no other beats in both cost and mIoU, by ascending cost; those that use labels do not count."""
    front: list[Mark] = []
    for mark in sorted((mark for mark in found if mark.ranked), key=lambda mark: (mark.cost, -mark.miou)):
        if not front or mark.miou > front[-1].miou:
            front.append(mark)
    return front


def _named(panels: Sequence[Sequence[Mark]]) -> list[str]:
    """The titles that the legend has: all of a few; of many those on a front, then those that are kept out of it."""
    titles = list(dict.fromkeys(mark.title for found in panels for mark in found))
    if len(titles) <= MOST_NAMES:
        return titles
    fronts = {mark.title for found in panels for mark in pareto_front(found)}
    out = list(dict.fromkeys(mark.title for found in panels for mark in found if not mark.ranked))
    kept = fronts.union(out[: max(0, MOST_NAMES - len(fronts))])
    return [title for title in titles if title in kept]


def _panel(axes: Axes, label: str, found: Sequence[Mark], titles: Sequence[str]) -> None:
    palette = colours(len(titles), grey=False)
    front = pareto_front(found)
    axes.plot(
        [mark.cost for mark in front], [mark.miou for mark in front], color="0.6", drawstyle="steps-post", zorder=1
    )
    others = [mark for mark in found if mark.title not in titles]
    _dots(axes, [mark for mark in others if mark.ranked], UNNAMED[0], marker=".")
    if not all(mark.ranked for mark in others):
        open_dot = {"marker": "o", "markerfacecolor": "white", "markersize": 3, "markeredgewidth": 0.6}
        _dots(axes, [mark for mark in others if not mark.ranked], UNNAMED[1], **open_dot)
    for mark in found:
        if mark.title not in titles:
            continue
        index = titles.index(mark.title)
        axes.plot(
            [mark.cost],
            [mark.miou],
            linestyle="none",
            marker=MARKERS[index % len(MARKERS)],
            color=palette[index],
            markerfacecolor=palette[index] if mark.ranked else "white",
            label=shorten(mark.title),
        )
    set_logarithmic(axes, [mark.cost for mark in found])
    axes.set_xlabel(label)
    axes.margins(0.1)


def _dots(axes: Axes, found: Sequence[Mark], name: str, **look: Any) -> None:
    """Rows without a name of their own: grey, and smaller than those with one."""
    look |= {"color": "0.6", "linestyle": "none", "zorder": 1} | ({"label": name} if found else {})
    axes.plot([mark.cost for mark in found], [mark.miou for mark in found], **look)


def _fit_seconds(result: SeedResult) -> float | None:
    """Of the fit, with those that it starts from: what a row costs whoever paid for it."""
    cost = run_cost(result)
    return None if cost.fit_s is None else cost.fit_s + (cost.base_fit_s or 0.0)


def _memory(result: SeedResult) -> float | None:
    cost = run_cost(result)
    peaks = [peak for peak in (cost.peak_rss, cost.peak_device) if peak is not None]
    return float(max(peaks)) if peaks else None
