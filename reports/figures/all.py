"""All figures of some entries, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from spectral_bench.reports.ablations import ablations
from spectral_bench.reports.against_table import differences
from spectral_bench.reports.collect import alike, distinct
from spectral_bench.reports.figures.ablation import ablation_figure
from spectral_bench.reports.figures.clusters import clusters_figure
from spectral_bench.reports.figures.differences import differences_figures
from spectral_bench.reports.figures.eigenfunctions import eigenfunction_figure
from spectral_bench.reports.figures.per_class import per_class_figure
from spectral_bench.reports.figures.qualitative import qualitative_figure
from spectral_bench.reports.figures.stages import stage_figure
from spectral_bench.reports.figures.trade_off import MOST_NAMES, has_unnamed, trade_off_figure
from spectral_bench.reports.figures.training import training_figure
from spectral_bench.reports.gallery.choice import FIT_RULE, IMAGE_RULE
from spectral_bench.reports.gallery.panels import Panels
from spectral_bench.reports.hardware import hardware_groups
from spectral_bench.reports.own_methods import LEGEND
from spectral_bench.reports.rows import LABELS_SYMBOL, PER_IMAGE_SYMBOL, TEXT_SYMBOL, ScoredRow

_OUT = "Open markers: kept out of it."
CAPTIONS = {
    "ablation": "mIoU against each factor of the ablation: mean and 95 % Student-t interval over seeds. Diamond and "
    "dotted line: the baseline. Open markers: no interval, of one seed or of seeds that all gave the same result. "
    "†: uses labels.",
    "differences": "Differences in mIoU to a row of the same K, in points of per cent: the mean over the seeds that "
    "both rows have, paired by seed, and its 95 % Student-t interval. Filled: better or worse at the 5 % level, "
    "corrected over all differences by Holm's method. †: uses labels.",
    "trade-off": "mIoU against fit time (features left out, the fit that a row starts from included) and peak memory "
    "(cached features left out, but for what stays in memory where each run of a row extracted some): means over "
    f"seeds. Grey: Pareto front. {_OUT} A figure holds rows of one kind of hardware. "
    "†: uses labels.",
    "clusters": "mIoU against K, of configurations that were run with several: mean and 95 % Student-t interval over "
    "seeds.",
    "per-class": "IoU by class in per cent, mean over seeds. Grey: neither labelled nor predicted. †: uses labels.",
    "stages": "Seconds a run by stage, mean over seeds; what another run had paid for is left out. Cached features are "
    "extracted once for all rows and have bars of their own. A figure holds rows of one kind of hardware. "
    "†: uses labels.",
    "training": "Training curves: mean over seeds; the band reaches from the lowest to the highest seed. "
    "†: uses labels.",
    "qualitative": "Two lines an image: the image and the classes of each fit by its own matching on all images "
    f"(black: no class); the truth (white: void) and the errors of each fit. {IMAGE_RULE} {FIT_RULE} †: uses labels.",
    "eigenfunctions": "The first eigenfunctions of each fit, in its own order, on the gallery's image of the median "
    "score (of several windows the one in the middle). Each is divided by its value of the largest magnitude, which "
    "fixes its sign; white is 0.",
}
_UNNAMED = f"Small grey dots: other rows on no front, without a name as there are more than {MOST_NAMES} rows."
_PER_IMAGE = f"{PER_IMAGE_SYMBOL}: clusters matched to classes anew in each image; not comparable with other rows."
_TEXT = f"{TEXT_SYMBOL}: named by text, without labels."
Found = list[tuple[str, Figure | None]]


def caption(name: str, entries: Sequence[ScoredRow] = (), figure: Figure | None = None) -> str:
    """What a figure of ``all_figures`` shows, by its name; of ``entries``, whose marks it explains.

    Args:
        name: of the figure.
        entries: the rows.
        figure: itself, before it is drawn, for what only some figures of the kind have; None: nothing of it is told.
    """
    text = next(text for start, text in CAPTIONS.items() if name.startswith(start))
    if figure is not None and has_unnamed(figure):
        text = text.replace(_OUT, f"{_OUT} {_UNNAMED}")
    legend = f"{LEGEND} {_PER_IMAGE}" if any(entry.per_image for entry in entries) else LEGEND
    legend = f"{legend} {_TEXT}" if any(entry.named_by_text for entry in entries) else legend
    return f"{text} {legend}" if LABELS_SYMBOL in text else text


def all_figures(
    entries: Sequence[ScoredRow],
    folder: Callable[[str], Path],
    panels: Sequence[Panels] = (),
    against: Sequence[str] = (),
) -> dict[str, Figure]:
    """Figures by name; what has no data is left out.

    Args:
        entries: the rows.
        folder: run id -> the run's folder, for training curves.
        panels: the galleries.
        against: titles of rows to compare all others with, as for ``reports.against_table``.

    Raises:
        UserError: ``against`` names no row, or two that would both be compared with the same rows.
    """
    found: Found = [
        (f"ablation-{ablation.grid}-{number}", ablation_figure(ablation))
        for number, ablation in enumerate(ablations(entries), start=1)
    ]
    found += _numbered("differences", differences_figures(differences(entries, against)) if against else [])
    rows = distinct(entries)
    groups = [[rows[index] for index in members] for members in alike(rows).values()]
    found += _numbered("qualitative", [qualitative_figure(own) for own in panels])
    found += _numbered("eigenfunctions", [eigenfunction_figure(own) for own in panels])
    found += _numbered("trade-off", [figure for group in groups for figure in _by_hardware(trade_off_figure, group)])
    found += _numbered("clusters", [clusters_figure(group) for group in groups])
    found += _numbered("per-class", [per_class_figure(group) for group in groups])
    fits = _distinct_fits(groups)
    found += _numbered("stages", [figure for group in fits for figure in _by_hardware(stage_figure, group)])
    found += _numbered("training", [training_figure(group, folder) for group in fits])
    return {name: figure for name, figure in found if figure is not None}


def _numbered(name: str, figures: Sequence[Figure | None]) -> Found:
    """The figures that there are, numbered from 1."""
    drawn = [figure for figure in figures if figure is not None]
    return [(f"{name}-{number}", figure) for number, figure in enumerate(drawn, start=1)]


def _by_hardware(
    draw: Callable[[Sequence[ScoredRow], str], Figure | None], group: Sequence[ScoredRow]
) -> list[Figure | None]:
    """A figure for each kind of hardware, which is told above it if there are several."""
    kinds = hardware_groups(group)
    several = len(kinds) > 1
    return [draw(own, (name or "hardware not recorded") if several else "") for name, own in kinds.items()]


def _distinct_fits(groups: Sequence[Sequence[ScoredRow]]) -> list[list[ScoredRow]]:
    """The groups without rows whose runs a group before them has: fits under a further protocol cost nothing new."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for group in groups:
        new = [entry for entry in group if entry.all_runs not in seen]
        seen |= {entry.all_runs for entry in group}
        found.append(new)
    return [group for group in found if group]
