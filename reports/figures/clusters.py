"""mIoU against the number of clusters K: a line for each configuration that was run with several."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from spectral_bench.reports.cells import score_summary
from spectral_bench.reports.figures.style import (
    MARKERS,
    colours,
    legend_below,
    legend_rows,
    new_figure,
    shorten,
    style,
)
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import clusters
from spectral_bench.results.statistics import Summary

MOST_LINES = 12
_BESIDE = 1.03  # from one line to the next, along K
_K_IN_TITLE = re.compile(r",? \(?[kK] ?= ?\d+\)?")


def clusters_figure(entries: Sequence[ScoredRow]) -> Figure | None:
    """Means with 95 % intervals over seeds; None where no configuration has two values of K.

    Lines stand a little beside each other. Of more than twelve configurations the first ones are shown; those that use
    labels are not.

    Args:
        entries: rows that are scored alike.
    """
    found = dict(list(curves(entries).items())[:MOST_LINES])
    if not found:
        return None
    with style():
        figure = new_figure(2.1 + 0.14 * legend_rows(list(found)))
        axes = figure.subplots()
        palette = colours(len(found))
        for index, (title, points) in enumerate(found.items()):
            look: dict[str, Any] = {"color": palette[index], "marker": MARKERS[index % len(MARKERS)]}
            look |= {"label": shorten(title), "linewidth": 1}
            aside = _BESIDE ** (index - (len(found) - 1) / 2)  # lest intervals of one K hide each other
            axes.plot([aside * number for number in points], [one.mean for one in points.values()], **look)
            for number, one in points.items():
                if one.low is not None and one.high is not None:
                    axes.plot([aside * number] * 2, [one.low, one.high], color=palette[index], linewidth=0.8)
        several = sorted({number for points in found.values() for number in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(several, [str(number) for number in several])
        axes.minorticks_off()
        axes.set(xlabel="K", ylabel="mIoU (%)")
        legend_below(figure, axes)
    return figure


def curves(entries: Sequence[ScoredRow]) -> dict[str, dict[int, Summary]]:
    """Title without K -> K, ascending -> mIoU in per cent, of configurations with two values of K or more."""
    found: dict[str, dict[int, Summary]] = {}
    titles: dict[str, str] = {}
    for entry in entries:
        number = clusters(entry)
        if number is None or not entry.done or entry.uses_labels:
            continue
        title = titles.setdefault(_without_k(entry), _K_IN_TITLE.sub("", entry.marked_title))
        found.setdefault(title, {}).setdefault(number, score_summary(entry, lambda scores: scores.miou))
    return {title: dict(sorted(points.items())) for title, points in found.items() if len(points) > 1}


def _without_k(entry: ScoredRow) -> str:
    """What rows have in common that differ in K alone."""
    row = entry.row
    settings = {key: value for key, value in row.settings.items() if key != "k"}
    own = [row.method, row.dataset, row.train_dataset, row.train_split, row.backbone, row.subset, row.weights]
    return json.dumps([own, entry.asked, settings], sort_keys=True, default=str)
