"""Differences to a row that is named, such as k-means on the same features: an interval a row, a panel a protocol."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_bench.reports.ablation_table import verdict_on
from spectral_bench.reports.against_table import Differences
from spectral_bench.reports.figures.style import MARKERS, PAGE_WIDTH, colours, new_figure, shorten, style
from spectral_bench.reports.main_table import METRICS
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import clusters

METRIC = "mIoU"
_ROW_HEIGHT, _AROUND = 0.17, 0.75  # inches
_LONGEST = 48  # letters of a row's title
_ACROSS = 66  # letters above all panels
_MOST_PANELS = 3
_DECIDED = ("better", "worse")

Comparison = tuple[ScoredRow, ScoredRow, int]


def differences_figures(found: Differences) -> list[Figure]:
    """A figure for each row that others are compared with and each K, with a panel for each protocol.

    Of each other row the mean difference over common seeds and its 95 % interval; filled where the verdict of the table
    (corrected by Holm's method) is better or worse. Rows without a common seed have a line without a mark. Of more than
    three protocols the first ones are shown.

    Args:
        found: what ``reports.against_table.differences`` gives.
    """
    groups: dict[tuple[object, ...], list[Comparison]] = {}
    for index, (reference, entry) in enumerate(found.pairs):
        if entry is not reference:
            groups.setdefault((reference.all_runs, clusters(reference)), []).append((reference, entry, index))
    return [_figure(members, found) for members in groups.values()]


def _figure(members: Sequence[Comparison], found: Differences) -> Figure:
    names = list(dict.fromkeys(entry.marked_title for _, entry, _ in members))
    protocols = list(dict.fromkeys(entry.scored_as for _, entry, _ in members))[:_MOST_PANELS]
    reference = members[0][0]
    with style():
        figure = new_figure(_AROUND + _ROW_HEIGHT * len(names), PAGE_WIDTH)
        panels = figure.subplots(1, len(protocols), sharex=True, sharey=True, squeeze=False)[0]
        for axes, scored_as in zip(panels, protocols, strict=True):
            shown = [member for member in members if member[1].scored_as == scored_as]
            _panel(axes, shown, {name: place for place, name in enumerate(names)}, found)
            axes.set_title(shorten(" ".join(filter(None, scored_as)), _ACROSS // len(protocols)))
        panels[0].set_yticks(range(len(names)), [shorten(name, _LONGEST) for name in names])
        panels[0].set_ylim(len(names) - 0.5, -0.5)  # in the order of the table, from above
        minus = f"{METRICS[METRIC][0]} minus that of {shorten(reference.row.title, _LONGEST)} (points)"
        figure.supxlabel(minus, fontsize=8)
    return figure


def _panel(axes: Axes, shown: Sequence[Comparison], places: dict[str, int], found: Differences) -> None:
    decided_colour, open_colour = colours(1)[0], (0.4, 0.4, 0.4)
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    for reference, entry, index in shown:
        difference = found.compared.differences.get((index, METRIC))
        if difference is None:
            continue
        summary, place = difference.summary, places[entry.marked_title]
        reached = verdict_on(index, (reference, entry), found.compared)
        decided = reached is not None and reached.word in _DECIDED
        colour = decided_colour if decided else open_colour
        if summary.low is not None and summary.high is not None:
            axes.plot([summary.low, summary.high], [place, place], color=colour, zorder=2)
        face = colour if decided else "white"
        axes.plot([summary.mean], [place], MARKERS[0], color=colour, markerfacecolor=face, zorder=3)
