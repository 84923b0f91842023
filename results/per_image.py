"""Scores of single images, for choosing which to show. No table is made of them: mIoU is of sums over images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_bench.results.contingency import Contingency
from spectral_bench.results.image_matching import matched_images
from spectral_bench.results.matching import NO_CLASS
from spectral_bench.results.metrics import class_of_label
from spectral_bench.results.record import ClassTable


def image_scores(
    contingency: Contingency, classes: ClassTable, assigned: NDArray[np.int64] | None, matching: str = ""
) -> NDArray[np.float64]:
    """The mean IoU of each image over the classes that are labelled or predicted in it.

    Args:
        contingency: counts over raw label ids of M images.
        classes: which raw ids make up which class; pixels of any other are ignored.
        assigned: (K,) class index of each cluster, -1 for none: the matching fitted on all images; None: one of each
            image by itself.
        matching: the name of that one.

    Returns:
        (M,) float64 in [0, 1]; nan for an image without a pixel of any class.
    """
    n_classes, mapping = len(classes.classes), class_of_label(classes, contingency.n_labels)
    if assigned is None:
        found = matched_images(contingency, mapping, n_classes, matching)
        return _means(found.hits, found.union)
    counts = contingency.relabel(mapping, n_classes)
    predicted = assigned[counts.cluster]

    def by_image(label: NDArray[np.int64], keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        code = counts.image[keep].astype(np.int64) * n_classes + label[keep]
        pixels = counts.count[keep].astype(np.float64)
        sums = np.bincount(code, weights=pixels, minlength=counts.n_images * n_classes)
        return sums.astype(np.float64).reshape(-1, n_classes)

    everything = np.ones(len(counts.count), dtype=np.bool_)
    hits = by_image(predicted, predicted == counts.label)
    union = by_image(predicted, predicted != NO_CLASS) + by_image(counts.label.astype(np.int64), everything) - hits
    return _means(hits, union)


def _means(hits: NDArray[Any], union: NDArray[Any]) -> NDArray[np.float64]:
    """(M,) mean of (M, C) intersections over unions where there is a union; nan without any."""
    known = union > 0
    number = known.sum(axis=1)
    total = np.where(known, hits / np.maximum(union, 1), 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
