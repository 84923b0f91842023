"""Which images and fits the gallery shows. Stored contingency alone decides, by rules that the captions state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_bench.reports.cells import seed_values
from spectral_bench.reports.collect import alike, distinct
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.reports.scoring import counts_over
from spectral_bench.reports.source import Source
from spectral_bench.results.per_image import image_scores
from spectral_bench.results.statistics import summarise

MOST_METHODS = 6
_DISAGREEMENT = "largest disagreement"
RULES = ("best", "median", "worst", _DISAGREEMENT)
FIT_RULE = (
    "Of each method its baseline is shown, else its row of the highest mIoU; of the row the seed of the median mIoU."
)
IMAGE_RULE = (
    "Images are chosen by their mean IoU over the classes labelled or predicted in them, averaged over the fits shown: "
    "best, median and worst; largest disagreement: the widest range between two fits, on one of these or another image."
)


@dataclass(frozen=True)
class ShownFit:
    """A fit of the gallery: its row, and the seed that stands for it."""

    entry: ScoredRow
    result: SeedResult

    @property
    def contingency_sha256(self) -> str:
        """Of the evaluation shown."""
        return "" if self.result.evaluation is None else self.result.evaluation.contingency_sha256


@dataclass(frozen=True)
class ShownImage:
    """An image of the gallery: by which rules it was chosen, and its mean IoU for each fit (fractions)."""

    rules: tuple[str, ...]
    image_id: str
    scores: tuple[float, ...]

    @property
    def heading(self) -> str:
        """What stands beside the image."""
        return ", ".join(self.rules)


@dataclass(frozen=True)
class Gallery:
    """What is shown of one data set: the images, each with every fit."""

    dataset: str
    fits: tuple[ShownFit, ...]
    images: tuple[ShownImage, ...]


def galleries(entries: Sequence[ScoredRow], source: Source) -> list[Gallery]:
    """A gallery for each data set with a finished row, under the first protocol of the data set that has one."""
    rows = distinct(entries)
    found: dict[str, Gallery] = {}
    for members in alike(rows).values():
        group = [rows[index] for index in members if rows[index].done]
        if group and group[0].row.dataset not in found:
            found[group[0].row.dataset] = _gallery(group, source)
    return [gallery for gallery in found.values() if gallery.images]


def shown_rows(entries: Sequence[ScoredRow]) -> list[ScoredRow]:
    """The rows that stand for their methods, in order; those of the highest mIoU where there are more than six."""
    best: dict[str, ScoredRow] = {}
    for entry in entries:
        other = best.get(entry.row.method)
        if other is None or (_claim(entry) > _claim(other)):
            best[entry.row.method] = entry
    kept = sorted(best.values(), key=_mean, reverse=True)[:MOST_METHODS]
    return [entry for entry in best.values() if entry in kept]


def median_seed(entry: ScoredRow) -> SeedResult:
    """The finished seed of the median mIoU; of two middle ones the lower."""
    values = seed_values(entry, lambda scores: scores.miou)
    order = sorted(values, key=lambda seed: (values[seed], seed))
    middle = order[(len(order) - 1) // 2]
    return next(result for result in entry.done if result.seed == middle)


def choose(image_ids: Sequence[str], scores: NDArray[np.float64]) -> list[ShownImage]:
    """Best, median, worst and, where two fits differ, the largest disagreement, in this order; each image once.

    Best, worst and median are three images where there are as many: of equal ones the first that is free. The largest
    disagreement is what it says, so an image that another rule has taken may have it too.

    Args:
        image_ids: M names.
        scores: (fits, M) mean IoU; images in which a score is nan are passed over. Ties go to the first image.
    """
    means, ranges = scores.mean(axis=0), scores.max(axis=0) - scores.min(axis=0)
    known = [int(index) for index in np.flatnonzero(~np.isnan(means))]
    if not known:
        return []
    ascending = sorted(known, key=lambda index: (means[index], index))
    middle = (len(known) - 1) // 2
    median, place = means[ascending[middle]], {index: number for number, index in enumerate(ascending)}
    orders = {
        "best": sorted(known, key=lambda index: (-means[index], index)),
        "worst": ascending,
        "median": sorted(ascending, key=lambda index: (abs(means[index] - median), abs(place[index] - middle))),
    }
    chosen: dict[str, int] = {}
    for rule, order in orders.items():
        free = [index for index in order if index not in chosen.values()]
        if free:
            chosen[rule] = free[0]
    if ranges[known].max() > 0:
        chosen[_DISAGREEMENT] = min(known, key=lambda index: (-ranges[index], index in chosen.values(), index))
    rules: dict[int, tuple[str, ...]] = {}
    for rule in filter(chosen.__contains__, RULES):
        rules[chosen[rule]] = (*rules.get(chosen[rule], ()), rule)
    return [ShownImage(own, image_ids[index], tuple(map(float, scores[:, index]))) for index, own in rules.items()]


def _gallery(group: Sequence[ScoredRow], source: Source) -> Gallery:
    """The gallery of rows that are scored alike; fits evaluated on other images than the first are left out."""
    found: list[tuple[ShownFit, tuple[str, ...], NDArray[np.float64]]] = []
    for entry in shown_rows(group):
        result, classes = median_seed(entry), entry.class_table
        if result.scores is not None and classes is not None:
            counts = counts_over(source, result.run_id, entry.protocol.view, classes)
            scores = image_scores(counts, classes, result.scores.matching, entry.protocol.scoring.matching)
            found.append((ShownFit(entry, result), counts.image_ids, scores))
    ids = found[0][1]
    alike_images = [(fit, scores) for fit, others, scores in found if others == ids]
    fits = tuple(fit for fit, _ in alike_images)
    return Gallery(group[0].row.dataset, fits, tuple(choose(ids, np.stack([scores for _, scores in alike_images]))))


def _mean(entry: ScoredRow) -> float:
    return summarise(list(seed_values(entry, lambda scores: scores.miou).values())).mean


def _claim(entry: ScoredRow) -> tuple[bool, float]:
    return entry.row.role == "baseline", _mean(entry)
