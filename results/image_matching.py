"""Matching anew in each image: what a cluster stands for in one image says nothing of another.

Training-free work that segments each image by itself is scored so. It asks how well an image is cut up and not whether
the same cluster means the same class elsewhere, so its numbers lie far above those of one matching for all images and
cannot be compared with them.

``per_image_hungarian`` has the arithmetic of the released codes of DiffSeg (google/diffseg, ``diffseg/utils.py``) and
DiffCut (PaulCouairon/DiffCut, ``tools/utils.py``): one assignment of most pixels an image, then sums over images.
Neither code, nor any other that was read, takes the mean of images, which ``per_image_hungarian_mean`` gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.matching import NO_CLASS

_MEAN = {"per_image_hungarian": False, "per_image_hungarian_mean": True}


def is_per_image(how: str) -> bool:
    """Whether a matching of this name is fitted in each image by itself."""
    return how in _MEAN


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of M images under a matching of their own each: three (M, C) int64 arrays.

    Attributes:
        hits: predicted right.
        predicted: predicted as the class.
        present: labelled so.
        mean: whether scores are means of images, and not of sums over them.
    """

    hits: NDArray[np.int64]
    predicted: NDArray[np.int64]
    present: NDArray[np.int64]
    mean: bool

    def chosen(self, images: NDArray[np.int64]) -> ImageCounts:
        """Those of the images at these positions; one listed twice counts twice."""
        return ImageCounts(self.hits[images], self.predicted[images], self.present[images], self.mean)

    @property
    def union(self) -> NDArray[np.int64]:
        """(M, C) pixels that are labelled or predicted so."""
        return self.predicted + self.present - self.hits


def matched_images(counts: Contingency, mapping: NDArray[np.int64], n_classes: int, how: str) -> ImageCounts:
    """Match clusters to classes in each image.

    Args:
        counts: over raw label ids.
        mapping: (L,) class of each raw id; pixels of a negative one are ignored.
        n_classes: C.
        how: a matching of one image.

    Raises:
        ConfigError: the matching is not one of one image.
    """
    if how not in _MEAN:
        raise ConfigError(unknown("matching of one image", how, _MEAN))
    by_class = counts.relabel(mapping, n_classes)
    widths = np.full(counts.n_images, n_classes, dtype=np.int64)
    np.maximum.at(widths, counts.image, counts.cluster + 1)  # of all pixels, ignored ones too, as the codes have it
    ends = np.cumsum(np.bincount(by_class.image, minlength=counts.n_images))
    hits, predicted, present = np.zeros((3, counts.n_images, n_classes), dtype=np.int64)
    for image, (start, end) in enumerate(zip(np.concatenate([[0], ends[:-1]]), ends, strict=True)):
        table = np.zeros((n_classes, int(widths[image])), dtype=np.int64)
        table[by_class.label[start:end], by_class.cluster[start:end]] = by_class.count[start:end]
        assigned = match_image(table, how)
        named = np.flatnonzero(assigned != NO_CLASS)
        hits[image, assigned[named]] = table[assigned[named], named]
        predicted[image, assigned[named]] = table[:, named].sum(axis=0)
        present[image] = table.sum(axis=1)
    return ImageCounts(hits, predicted, present, _MEAN[how])


def match_image(table: NDArray[np.int64], how: str) -> NDArray[np.int64]:
    """The class of each cluster of one image: the one-to-one assignment of most pixels.

    Under ``per_image_hungarian`` all min(C, W) pairs count, so that a cluster left over predicts a class that is not in
    the image: those of whatever rank ``scipy.optimize.linear_sum_assignment`` of classes x clusters gives it, as in the
    released codes. Under ``per_image_hungarian_mean`` a cluster is matched to a class of the image or to none.

    Args:
        table: (C, W) pixels of classes x clusters.
        how: a matching of one image.

    Returns:
        (W,) int64 class indices; -1 for no class, whose pixels are misses.
    """
    from scipy.optimize import linear_sum_assignment  # a third of a second to import, and most reports need none of it

    assigned = np.full(table.shape[1], NO_CLASS, dtype=np.int64)
    if not _MEAN[how]:
        classes, clusters = linear_sum_assignment(table, maximize=True)
        assigned[clusters] = classes
        return assigned
    rows, columns = np.flatnonzero(table.any(axis=1)), np.flatnonzero(table.any(axis=0))
    inner = table[np.ix_(rows, columns)]
    classes, clusters = linear_sum_assignment(inner, maximize=True)
    shared = inner[classes, clusters] > 0
    assigned[columns[clusters[shared]]] = rows[classes[shared]]
    return assigned
