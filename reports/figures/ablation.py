"""Ablation curves: a panel a factor, mIoU against its values with 95 % intervals over seeds, the baseline marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_bench.reports.ablations import Ablation, baseline_value
from spectral_bench.reports.cells import score_summary
from spectral_bench.reports.figures.style import (
    COLUMN_WIDTH,
    colours,
    new_figure,
    set_logarithmic,
    shorten,
    style,
)
from spectral_bench.reports.own_methods import SYMBOLS
from spectral_bench.reports.rows import LABELS_SYMBOL, PER_IMAGE_SYMBOL, TEXT_SYMBOL, ScoredRow
from spectral_bench.reports.settings import value_text
from spectral_bench.results.statistics import Summary

_PANEL_HEIGHT = 1.5  # inches
_MOST_TICKS = 6


@dataclass(frozen=True)
class Point:
    """One value of a factor.

    Attributes:
        value: as the grid or the run's specification has it; None where the baseline's value is not known.
        summary: mIoU in per cent over seeds; None where no seed is finished.
        baseline: whether it is the baseline.
    """

    value: Any
    summary: Summary | None
    baseline: bool


def ablation_figure(ablation: Ablation) -> Figure:
    """The curves of an ablation under its first protocol."""
    scored_as = ablation.pairs[0][0].scored_as
    symbols = [LABELS_SYMBOL] if any(entry.uses_labels for _, entry in ablation.pairs) else []
    symbols += [TEXT_SYMBOL] if any(entry.named_by_text for _, entry in ablation.pairs) else []
    symbols += sorted({SYMBOLS[entry.own_code] for _, entry in ablation.pairs if entry.own_code in SYMBOLS})
    symbols += [PER_IMAGE_SYMBOL] if ablation.pairs[0][0].per_image else []
    mark = "".join(f" {symbol}" for symbol in symbols)
    pairs = [pair for pair in ablation.pairs if pair[0].scored_as == scored_as]
    baseline = pairs[0][0]
    factors = list(dict.fromkeys(entry.row.factor or "" for _, entry in pairs if entry is not baseline))
    columns = 1 if len(factors) == 1 else 2
    lines = math.ceil(len(factors) / columns)
    with style():
        figure = new_figure(_PANEL_HEIGHT * lines + 0.2, COLUMN_WIDTH)
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(factors):
                axes.set_visible(False)
                continue
            own = [entry for _, entry in pairs if entry is not baseline and entry.row.factor == factors[index]]
            own = [entry for entry in own if entry.versions == baseline.versions]
            _panel(axes, factors[index], points(baseline, own, factors[index]))
            if index % columns == 0:
                axes.set_ylabel(f"mIoU (%){mark}")
    return figure


def points(baseline: ScoredRow, variations: Sequence[ScoredRow], factor: str) -> list[Point]:
    """The points of one factor, ascending where its values are numbers, else the baseline first."""
    found = [
        Point(baseline_value(baseline, factor, variations), _summary(baseline), True),
        *(Point(entry.row.value, _summary(entry), False) for entry in variations),
    ]
    if all(_is_number(point.value) for point in found):
        return sorted(found, key=lambda point: float(point.value))
    return found


def _panel(axes: Axes, factor: str, found: list[Point]) -> None:
    numeric = all(_is_number(point.value) for point in found)
    places = _places(axes, found, numeric)
    colour, accent = colours(2)
    drawn = [(place, point, point.summary) for place, point in zip(places, found, strict=True) if point.summary]
    if numeric:
        axes.plot([place for place, *_ in drawn], [summary.mean for *_, summary in drawn], color=colour, zorder=2)
    for place, point, summary in drawn:
        _point(axes, place, summary, accent if point.baseline else colour, "D" if point.baseline else "o")
        if point.baseline:
            axes.axhline(summary.mean, color=accent, linestyle=":", linewidth=0.8, zorder=1)
    for place, point in zip(places, found, strict=True):
        axes.axvline(place, alpha=0)  # so that the axis reaches points without a result too
        if point.summary is None:
            looks: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 6}
            axes.text(place, 0.03, "no result", transform=axes.get_xaxis_transform(), in_layout=False, **looks)
    axes.set_xlabel(shorten(factor))
    axes.margins(x=0.12)


def _point(axes: Axes, place: float, summary: Summary, colour: tuple[float, float, float], marker: str) -> None:
    if summary.low is None or summary.high is None:  # one seed: an open marker without a bar
        axes.plot([place], [summary.mean], marker=marker, color=colour, markerfacecolor="white", linestyle="none")
        return
    error = [[summary.mean - summary.low], [summary.high - summary.mean]]
    axes.errorbar(
        [place], [summary.mean], yerr=error, marker=marker, color=colour, capsize=2, linestyle="none", zorder=3
    )


def _places(axes: Axes, found: list[Point], numeric: bool) -> list[float]:
    """Where the points stand: at their values (on a logarithmic axis if they span it), or side by side."""
    if not numeric:
        places = [float(index) for index in range(len(found))]
        axes.set_xticks(places, [_tick(point) for point in found], rotation=30, ha="right", rotation_mode="anchor")
        return places
    places = [float(point.value) for point in found]
    set_logarithmic(axes, places)
    if len(places) <= _MOST_TICKS:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    return places


def _tick(point: Point) -> str:
    return "baseline" if point.value is None and point.baseline else shorten(value_text(point.value), 16)


def _summary(entry: ScoredRow) -> Summary | None:
    return score_summary(entry, lambda scores: scores.miou) if entry.done else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
