"""What a run of each row costs, stacked by stage, and what the features cost that all rows read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from spectral_bench.reports.collect import distinct
from spectral_bench.reports.cost_table import Stage, stage_seconds, stages
from spectral_bench.reports.costs import FEATURES_STAGE, shares_features
from spectral_bench.reports.figures.style import colours, legend_below, new_figure, shorten, style
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.results.statistics import summarise

MOST_BARS = 40
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oooo")


@dataclass(frozen=True)
class Bar:
    """One bar: its name and the seconds of each stage."""

    title: str
    seconds: dict[Stage, float]


def bars(entries: Sequence[ScoredRow]) -> list[Bar]:
    """A bar for each finished row, then one for the cached features of each backbone on each data set.

    Cached features are extracted once, by whichever run comes first, so they are no part of its row's bar: what they
    cost is the sum over all caches, each at the mean of the runs that made it.
    """
    shown = [entry for entry in entries if entry.done]
    found = stages(shown)
    rows = [Bar(entry.marked_title, {stage: _own_seconds(entry, stage) for stage in found}) for entry in shown]
    if len(rows) > MOST_BARS:
        costly = sorted(range(len(rows)), key=lambda index: -sum(rows[index].seconds.values()))[:MOST_BARS]
        rows = [rows[index] for index in sorted(costly)]
    return [*rows, *_feature_bars(shown)]


def stage_figure(entries: Sequence[ScoredRow], heading: str = "") -> Figure | None:
    """Horizontal bars: mean seconds of each stage of a row's runs, and of the features; None where no run has a cost.

    Of more than 40 rows those that cost most are shown, in the order of the table.

    Args:
        entries: rows that were timed on one kind of hardware.
        heading: printed above the bars, such as the hardware.
    """
    shown, found = bars(entries), stages(entries)
    if not found:
        return None
    with style():
        figure = new_figure(0.9 + 0.2 * len(shown) + 0.07 * len(found))
        axes = figure.subplots()
        left = [0.0] * len(shown)
        for index, stage in enumerate(found):
            widths = [bar.seconds.get(stage, 0.0) for bar in shown]
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
        axes.set_yticks(range(len(shown)), [shorten(bar.title) for bar in shown])
        axes.invert_yaxis()
        axes.use_sticky_edges = False  # else a stage of no time ends the axis where the longest bar ends
        axes.autoscale_view(scaley=False)
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds a run")
        if heading:
            figure.suptitle(shorten(heading, 60), fontsize=8)
        legend_below(figure, axes, columns=3)
    return figure


def _own_seconds(entry: ScoredRow, stage: Stage) -> float:
    """Mean seconds of a stage of the row's runs; 0 for features that they made for others too."""
    seconds = stage_seconds(stage)
    results = [result for result in entry.done if stage.name != FEATURES_STAGE or not shares_features(result)]
    values = [value for result in results if (value := seconds(result)) is not None]
    return summarise(values).mean if values else 0.0


def _feature_bars(entries: Sequence[ScoredRow]) -> list[Bar]:
    made: dict[str, dict[tuple[Stage, str], dict[str, float]]] = {}
    for entry in distinct(entries):
        for part in ("fit", "evaluation"):
            stage = Stage(part, FEATURES_STAGE)
            seconds, dataset = stage_seconds(stage), entry.train_title if part == "fit" else entry.data_title
            for result in filter(shares_features, entry.done):
                if (value := seconds(result)) is not None:
                    caches = made.setdefault(f"features of {entry.row.backbone}, {dataset}", {})
                    caches.setdefault((stage, _cache(result, entry, part)), {})[result.run_id] = value
    return [Bar(title, _sums(caches)) for title, caches in made.items()]


def _sums(caches: dict[tuple[Stage, str], dict[str, float]]) -> dict[Stage, float]:
    sums: dict[Stage, float] = {}
    for (stage, _), runs in caches.items():
        sums[stage] = sums.get(stage, 0.0) + summarise(list(runs.values())).mean
    return sums


def _cache(result: SeedResult, entry: ScoredRow, part: str) -> str:
    """What a cache holds: the images as they are looked at, and by what."""
    assert result.fit is not None
    spec = result.fit.spec
    looked_at = spec.data.model_dump_json() if part == "fit" else entry.protocol.view.view_id
    return f"{looked_at} {spec.backbone.model_dump_json()} {spec.features.model_dump_json()}"
