"""All figures of some entries, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from reports.ablations import ablations
from reports.collect import Entry, alike, distinct
from reports.figures.ablation import ablation_figure
from reports.figures.per_class import per_class_figure
from reports.figures.stages import stage_figure
from reports.figures.trade_off import trade_off_figure
from reports.figures.training import training_figure

_CAPTIONS = {
    "ablation": "mIoU against each factor of the ablation: mean and 95 % Student-t interval over seeds. Diamond and "
    "dotted line: the baseline. Open markers: one seed, no interval. †: uses labels.",
    "trade-off": "mIoU against fit time (features left out, the fit that a row starts from included) and peak memory: "
    "means over seeds. Grey: Pareto front of the methods that use no labels. Open markers and †: methods that use "
    "labels.",
    "per-class": "IoU by class in per cent, mean over seeds. Grey: neither labelled nor predicted. †: uses labels.",
    "stages": "Seconds a run by stage, mean over seeds; what another run had paid for is left out. †: uses labels.",
    "training": "Training curves: mean over seeds; the band reaches from the lowest to the highest seed. "
    "†: uses labels.",
}


def caption(name: str) -> str:
    """What a figure of ``all_figures`` shows, by its name."""
    return next(text for start, text in _CAPTIONS.items() if name.startswith(start))


def all_figures(entries: Sequence[Entry], folder: Callable[[str], Path]) -> dict[str, Figure]:
    """Figures by name; what has no data is left out.

    Args:
        entries: the rows.
        folder: run id -> the run's folder, for training curves.
    """
    found: dict[str, Figure | None] = {}
    for number, ablation in enumerate(ablations(entries), start=1):
        found[f"ablation-{ablation.grid}-{number}"] = ablation_figure(ablation)
    rows = distinct(entries)
    for number, members in enumerate(alike(rows).values(), start=1):
        group = [rows[index] for index in members]
        found[f"trade-off-{number}"] = trade_off_figure(group)
        found[f"per-class-{number}"] = per_class_figure(group)
        if number == 1:
            found["stages"] = stage_figure(group)
            found["training"] = training_figure(group, folder)
    return {name: figure for name, figure in found.items() if figure is not None}
