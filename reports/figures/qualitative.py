"""Qualitative panels: image and truth, and beside them what every fit made of the image and where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from spectral_bench.reports.figures.maps import headings, picture, thinned, tighten
from spectral_bench.reports.figures.style import COLUMN_WIDTH, PAGE_WIDTH, columns_that_fit, new_figure, shorten, style
from spectral_bench.reports.gallery.choice import ShownFit
from spectral_bench.reports.gallery.panels import Panels
from spectral_bench.results.image_matching import match_image
from spectral_bench.results.metrics import class_of_label
from spectral_bench.results.panels import Panel
from spectral_bench.results.record import ClassTable

MOST_CLASSES = 24  # in the legend, those with the most pixels
Colour = NDArray[np.uint8]
WRONG, RIGHT, VOID, NO_CLASS = np.array([[213, 94, 0], [222, 222, 222], [255, 255, 255], [0, 0, 0]], dtype=np.uint8)
_FITS_A_COLUMN = 3
_LEGEND_COLUMNS = {COLUMN_WIDTH: 4, PAGE_WIDTH: 8}
_SMALL = 6  # points
_AROUND = 0.32  # inches of a legend's column beside its names: patch, padding, and the space to the next one


@dataclass(frozen=True)
class _Classes:
    """A class set for drawing: (L,) class of each raw id, -1 for void, and the classes' names and (C, 3) colours."""

    of_label: NDArray[np.int64]
    names: Sequence[str]
    colours: NDArray[np.uint8]

    def paint(self, classes: NDArray[np.int64], none: Colour) -> NDArray[np.uint8]:
        """(H, W, 3) colours of an (H, W) map of classes; ``none`` where the class is -1."""
        painted: Colour = np.concatenate([self.colours, none[None]])[classes]  # -1 is the last
        return painted


def qualitative_figure(panels: Panels) -> Figure | None:
    """Two lines an image: image, and each fit's classes; truth, and each fit's errors. None without a class set.

    Classes are those of each fit's own matching, fitted on all images or, where it is one of each image, on this one.
    White: void. Black: a cluster of no class.
    """
    entry = panels.fits[0][0].entry
    table, record = entry.class_table, panels.fits[0][0].result.evaluation
    if table is None or record is None:
        return None
    n_labels = max([record.n_raw_labels, *(1 + value for ids in table.raw_ids for value in ids)])
    classes = _Classes(class_of_label(table, n_labels), table.classes, class_colours(table))
    width = COLUMN_WIDTH if len(panels.fits) <= _FITS_A_COLUMN else PAGE_WIDTH
    across = width / (1 + len(panels.fits)) - 0.1
    heights = [across * panel.truth.shape[0] / panel.truth.shape[1] for panel in panels.fits[0][1] for _ in range(2)]
    with style():
        legend = _legend(panels, classes)
        names = [str(patch.get_label()) for patch in legend]
        columns = columns_that_fit(names, width, _SMALL, _AROUND, _LEGEND_COLUMNS[width])
        titles = headings([fit.entry.marked_title for fit, _ in panels.fits], across)
        top = 0.1 + 0.1 * max(1 + title.count("\n") for title in titles[0])
        figure = new_figure(sum(heights) + 0.1 * len(heights) + top + 0.13 * -(-len(legend) // columns), width)
        tighten(figure)
        grid = figure.subplots(
            len(heights), 1 + len(panels.fits), squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        for number in range(len(panels.gallery.images)):
            _draw(grid[2 * number : 2 * number + 2], panels, number, classes, across)
        for axes, title in zip(grid[0][1:], titles[0], strict=True):
            axes.set_title(title, fontsize=titles[1])
        looks = {"fontsize": _SMALL, "frameon": False, "handlelength": 1.0}
        figure.legend(handles=legend, loc="outside lower center", ncols=columns, **looks)
    return figure


def class_colours(table: ClassTable) -> NDArray[np.uint8]:
    """(C, 3) RGB: the data set's own palette, or evenly spaced hues where it has none."""
    if len(table.palette) == len(table.classes):
        return np.array(table.palette, dtype=np.uint8)
    import seaborn as sns  # takes a second, and few data sets come without a palette

    hues = [[round(255 * part) for part in colour] for colour in sns.husl_palette(len(table.classes))]
    return np.array(hues, dtype=np.uint8)


def errors(predicted: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(H, W, 3) colours of two (H, W) maps of classes: right, wrong (no class at all is wrong), and void truth."""
    shown: Colour = np.stack([WRONG, RIGHT, VOID])[np.where(truth < 0, 2, predicted == truth)]
    return shown


def _draw(lines: NDArray[np.object_], panels: Panels, number: int, classes: _Classes, across: float) -> None:
    """Draw the two lines of one image."""
    image, first = panels.gallery.images[number], panels.fits[0][1][number]
    above, below = lines
    picture(above[0], thinned(first.image))
    picture(below[0], classes.paint(thinned(classes.of_label[first.truth]), VOID))
    (told,), size = headings([image.heading], across * first.truth.shape[0] / first.truth.shape[1] + 0.2)
    above[0].set_ylabel(told, fontsize=size)
    below[0].set_ylabel("truth", fontsize=_SMALL)
    below[0].set_xlabel(shorten(image.image_id, int(14 * across)), fontsize=5)
    for index, (fit, own) in enumerate(panels.fits, start=1):
        panel = own[number]
        predicted = _named(fit, panel, classes)[thinned(panel.clusters)]
        truth = classes.of_label[thinned(panel.truth)]
        picture(above[index], classes.paint(predicted, NO_CLASS))
        picture(below[index], errors(predicted, truth))
        of_image = image.scores[panels.gallery.fits.index(fit)]
        below[index].set_xlabel(f"IoU {100 * of_image:.0f}", fontsize=_SMALL, labelpad=2)


def _named(fit: ShownFit, panel: Panel, classes: _Classes) -> NDArray[np.int64]:
    """Class of each cluster, -1 for none: by the matching of all images, or of this one where each has its own."""
    scores = fit.result.scores
    assert scores is not None  # only finished seeds are chosen
    if scores.matching is not None:
        return scores.matching
    labels = classes.of_label[panel.truth]
    n_classes, seen = len(classes.names), labels >= 0
    occurring, own = np.unique(panel.clusters, return_inverse=True)  # numbered afresh, as scores have it
    table = np.zeros((n_classes, max(n_classes, len(occurring))), dtype=np.int64)
    np.add.at(table, (labels[seen], own.reshape(labels.shape)[seen]), 1)
    named = np.full(int(occurring[-1]) + 1, -1, dtype=np.int64)
    named[occurring] = match_image(table, fit.entry.protocol.scoring.matching)[: len(occurring)]
    return named


def _legend(panels: Panels, classes: _Classes) -> list[Patch]:
    """A patch for each class that occurs, those with the most pixels where there are many, and for right and wrong."""
    pixels = np.zeros(len(classes.names), dtype=np.int64)
    for fit, own in panels.fits:
        for panel in own:
            pixels += _counted(classes.of_label[panel.truth], len(pixels))
            if fit.result.scores is not None:
                pixels += _counted(_named(fit, panel, classes)[panel.clusters], len(pixels))
    most = sorted(np.flatnonzero(pixels).tolist(), key=lambda index: (-pixels[index], index))[:MOST_CLASSES]
    shown = [(classes.names[index], classes.colours[index]) for index in sorted(most)]
    shown += [("right", RIGHT), ("wrong", WRONG)]
    return [_patch(name, colour) for name, colour in shown]


def _patch(name: str, colour: Colour) -> Patch:
    red, green, blue = (float(part) / 255 for part in colour)
    return Patch(facecolor=(red, green, blue), edgecolor="0.5", linewidth=0.3, label=shorten(name))


def _counted(found: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    return np.bincount(found[found >= 0], minlength=n_classes)
