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
