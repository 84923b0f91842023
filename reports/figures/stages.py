"""What a run of each row costs, stacked by stage."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from spectral_bench.reports.cells import Measure
from spectral_bench.reports.collect import Entry
from spectral_bench.reports.cost_table import stage_seconds, stages
from spectral_bench.reports.figures.style import colours, legend_below, new_figure, shorten, style
from spectral_bench.results.statistics import summarise

MOST_BARS = 40
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oooo")


def stage_figure(entries: Sequence[Entry], heading: str = "") -> Figure | None:
    """Horizontal bars, one a row: mean seconds of each stage; None where no run has a cost.

    Of more than 40 rows those that cost most are shown, in the order of the table.

    Args:
        entries: rows that were timed on one kind of hardware.
        heading: printed above the bars, such as the hardware.
    """
    shown = [entry for entry in entries if entry.done]
    found = stages(shown)
    if len(shown) > MOST_BARS:
        totals = [sum(_mean(entry, stage_seconds(stage)) for stage in found) for entry in shown]
        costly = sorted(range(len(shown)), key=lambda index: -totals[index])[:MOST_BARS]
        shown = [shown[index] for index in sorted(costly)]
    if not found:
        return None
    with style():
        figure = new_figure(0.9 + 0.2 * len(shown) + 0.07 * len(found))
        axes = figure.subplots()
        left = [0.0] * len(shown)
        for index, stage in enumerate(found):
            widths = [_mean(entry, stage_seconds(stage)) for entry in shown]
            axes.barh(
                range(len(shown)),
                widths,
                left=left,
                color=colours(len(found))[index],
                hatch=_HATCHES[index % len(_HATCHES)],
                edgecolor="white",
                linewidth=0.3,
                label=stage.label,
            )
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(shown)), [shorten(entry.marked_title) for entry in shown])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds a run")
        if heading:
            figure.suptitle(shorten(heading, 60), fontsize=8)
        legend_below(figure, axes, columns=3)
    return figure


def _mean(entry: Entry, measure: Measure) -> float:
    values = [value for result in entry.done if (value := measure(result)) is not None]
    return summarise(values).mean if values else 0.0
