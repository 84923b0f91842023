"""Metrics from contingency: exact integers until the final division, and sums over images.

Means of scores are taken under one matching alone, whose name says so (``results.image_matching``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_bench.common.errors import ConfigError
from spectral_bench.results.agreement import adjusted_rand_index, normalised_mutual_information
from spectral_bench.results.contingency import Contingency, outside
from spectral_bench.results.image_matching import ImageCounts, is_per_image, matched_images
from spectral_bench.results.matching import match
from spectral_bench.results.record import ClassTable

_BATCH = 64  # resamples at a time: their matrices of 256 clusters and 60 classes take 8 MB


@dataclass(frozen=True)
class Scores:
    """What one contingency is worth under one class set and one matching. Fractions, not per cent.

    Under a mean of images (``per_image_hungarian_mean``) each score is the mean over the images that have it, so that
    ``miou`` is not the mean of ``iou``.

    Attributes:
        classes: C class names.
        iou: (C,) intersection over union; nan for a class that is neither present nor predicted.
        class_accuracy: (C,) share of each class's pixels that are predicted as it; nan for a class without pixels.
        miou: mean of ``iou`` over the classes where it is not nan.
        accuracy: share of the valid pixels that are predicted right; pixels of unmatched clusters are misses.
        mean_accuracy: mean of ``class_accuracy`` over the classes where it is not nan.
        ari: adjusted Rand index of clusters against classes over the valid pixels; independent of the matching.
        nmi: normalised mutual information of the same, by the arithmetic mean of the entropies.
        clusters_in_use: clusters with at least one pixel, of whatever label.
        classes_present: classes with at least one pixel.
        matching: (K,) int64 class index of each cluster, -1 for none; None where each image has its own.
        n_images: images summed over.
        n_pixels: valid pixels: those whose raw label id belongs to a class.
    """

    classes: tuple[str, ...]
    iou: NDArray[np.float64]
    class_accuracy: NDArray[np.float64]
    miou: float
    accuracy: float
    mean_accuracy: float
    ari: float
    nmi: float
    clusters_in_use: int
    classes_present: int
    matching: NDArray[np.int64] | None
    n_images: int
    n_pixels: int


def score(
    contingency: Contingency,
    classes: ClassTable,
    matching: str,
    *,
    fit_on: Contingency | None = None,
    images: ArrayLike | None = None,
    names: NDArray[np.int64] | None = None,
) -> Scores:
    """All metrics of a contingency.

    Args:
        contingency: counts over raw label ids.
        classes: which raw ids make up which class; pixels of any other raw id are ignored.
        matching: a name that ``results.matching.match`` or ``results.image_matching`` knows.
        fit_on: contingency of another split to fit the matching on; None: the scored counts themselves.
        images: positions or mask of the images to score, as for ``Contingency.positions``; None: all.
        names: (K,) class of each cluster, -1 for none, which matching ``text`` takes; None: cluster j is class j.

    Raises:
        ConfigError: the matching is unknown, or one of each image and is to be fitted elsewhere.
        ValueError: the class table does not fit the contingency, or ``fit_on`` has another number of clusters.
    """
    _require_own_fit(matching, fit_on)
    if fit_on is not None and fit_on.n_clusters != contingency.n_clusters:
        raise ValueError(f"matching fitted on {fit_on.n_clusters} clusters, scored on {contingency.n_clusters}")
    raw = contingency.matrix(images)
    matrix = class_matrix(raw, classes)
    positions = contingency.positions(images)
    if is_per_image(matching):
        assigned, found = None, _of_images(_in_each(contingency, classes, matching).chosen(positions))
    else:
        fitted = matrix if fit_on is None else class_matrix(fit_on.matrix(), classes)
        assigned = match(fitted, matching) if names is None else names
        found = _of_sums(*_class_counts(matrix, assigned))
    return Scores(
        classes=tuple(classes.classes),
        iou=found.iou,
        class_accuracy=found.class_accuracy,
        miou=found.miou,
        accuracy=found.accuracy,
        mean_accuracy=found.mean_accuracy,
        ari=adjusted_rand_index(matrix),
        nmi=normalised_mutual_information(matrix),
        clusters_in_use=int(np.count_nonzero(raw.sum(axis=1))),
        classes_present=int(np.count_nonzero(matrix.sum(axis=0))),
        matching=assigned,
        n_images=len(positions),
        n_pixels=int(matrix.sum()),
    )


@dataclass(frozen=True)
class _Matched:
    """The scores that depend on a matching; see ``Scores``."""

    iou: NDArray[np.float64]
    class_accuracy: NDArray[np.float64]
    miou: float
    accuracy: float
    mean_accuracy: float


def _of_sums(hits: NDArray[np.int64], predicted: NDArray[np.int64], present: NDArray[np.int64]) -> _Matched:
    """Scores of the pixels a class over all images, three (C,) arrays."""
    ious, accuracies = _ratio(hits, predicted + present - hits), _ratio(hits, present)
    n_pixels = int(present.sum())
    accuracy = int(hits.sum()) / n_pixels if n_pixels else math.nan
    return _Matched(ious, accuracies, float(_mean_of_known(ious)), accuracy, float(_mean_of_known(accuracies)))


def _of_images(counts: ImageCounts) -> _Matched:
    """Scores of images of which each has its own matching: of sums over them, or their means."""
    if not counts.mean:
        return _of_sums(*(part.sum(axis=0) for part in (counts.hits, counts.predicted, counts.present)))
    ious, accuracies = _ratio(counts.hits, counts.union), _ratio(counts.hits, counts.present)
    right = _ratio(counts.hits.sum(axis=1), counts.present.sum(axis=1))
    means = (float(_mean_of_known(values)) for values in (_mean_of_known(ious), right, _mean_of_known(accuracies)))
    return _Matched(_mean_of_known(ious.T), _mean_of_known(accuracies.T), *means)


def _in_each(contingency: Contingency, classes: ClassTable, matching: str) -> ImageCounts:
    mapping = class_of_label(classes, contingency.n_labels)
    return matched_images(contingency, mapping, len(classes.classes), matching)


def _require_own_fit(matching: str, fit_on: Contingency | None) -> None:
    if fit_on is not None and is_per_image(matching):
        raise ConfigError(
            f"matching {matching}: clusters are matched in each image by its own labels, and the protocol asks for a "
            "matching that is fitted on another split (fit_split)"
        )


def score_matrices(
    matrices: NDArray[np.int64], matching: str, *, assigned: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """mIoU of many matrices at once, each under its own matching.

    Args:
        matrices: (R, K, C) pixel counts of clusters x classes.
        matching: a name that ``results.matching.match`` knows.
        assigned: (K,) or (R, K) class indices to use instead of fitting the matching on each matrix.

    Returns:
        (R,) float64, equal to ``Scores.miou`` of each matrix.
    """
    found = match(matrices, matching) if assigned is None else np.broadcast_to(assigned, matrices.shape[:-1])
    hits, predicted, present = _class_counts(matrices, found)
    return _mean_of_known(_ratio(hits, predicted + present - hits))


def resampled_miou(
    contingency: Contingency,
    classes: ClassTable,
    matching: str,
    weights: ArrayLike,
    *,
    fit_on: Contingency | None = None,
    names: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """mIoU of resamples of the images, the matching fitted anew on each (on ``fit_on``, where given, once).

    A matching of each image by itself is the same in each resample.

    Args:
        contingency: counts over raw label ids of M images.
        classes: which raw ids make up which class.
        matching: as for ``score``, whose errors it raises too.
        weights: (R, M) non-negative integers: how often each image counts in each resample.
        fit_on: contingency of another split to fit the matching on.
        names: as for ``score``; the same for each resample.

    Returns:
        (R,) float64.
    """
    times = np.asarray(weights)
    _require_own_fit(matching, fit_on)
    if is_per_image(matching):
        return _resampled_images(_in_each(contingency, classes, matching), times)
    by_class = contingency.relabel(class_of_label(classes, contingency.n_labels), len(classes.classes))
    assigned = names if fit_on is None else match(class_matrix(fit_on.matrix(), classes), matching)
    out = np.empty(len(times), dtype=np.float64)
    for start in range(0, len(times), _BATCH):
        part = slice(start, start + _BATCH)
        out[part] = score_matrices(by_class.resample(times[part]), matching, assigned=assigned)
    return out


def _resampled_images(counts: ImageCounts, times: NDArray[Any]) -> NDArray[np.float64]:
    """(R,) mIoU of (R, M) multiplicities of images that have a matching of their own each."""
    if counts.mean:
        found = _mean_of_known(_ratio(counts.hits, counts.union))
        known = times * ~np.isnan(found)
        n = known.sum(axis=1)
        return np.where(n > 0, known @ np.nan_to_num(found) / np.maximum(n, 1), np.nan)
    hits, union = times @ counts.hits, times @ counts.union
    return _mean_of_known(_ratio(hits, union))


def class_of_label(classes: ClassTable, n_labels: int) -> NDArray[np.int64]:
    """(n_labels,) the class index of each raw label id, -1 where it belongs to none and is ignored.

    Raises:
        ValueError: there is no class, or a raw id belongs to two classes or is not below ``n_labels``.
    """
    if not classes.classes:
        raise ValueError("a class set without classes: this data set has no labels to score")
    mapping = np.full(n_labels, -1, dtype=np.int64)
    for index, raw_ids in enumerate(classes.raw_ids):
        ids = np.asarray(raw_ids, dtype=np.int64)
        if (value := outside(ids, n_labels)) is not None:
            raise ValueError(f"class {classes.classes[index]}: raw label id {value}; expected 0 to {n_labels - 1}")
        if np.any(mapping[ids] >= 0):
            raise ValueError(f"class {classes.classes[index]} shares a raw label id with a class before it")
        mapping[ids] = index
    return mapping


def class_matrix(raw: NDArray[np.int64], classes: ClassTable) -> NDArray[np.int64]:
    """(..., K, C) counts of clusters x classes from (..., K, L) counts of clusters x raw label ids."""
    mapping = class_of_label(classes, raw.shape[-1])
    columns = [raw[..., mapping == index].sum(axis=-1) for index in range(len(classes.classes))]
    return np.stack(columns, axis=-1)


def _class_counts(matrix: NDArray[np.int64], assigned: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Pixels a class that are predicted right, predicted, and present: three (..., C) int64 arrays."""
    n_classes = matrix.shape[-1]
    lead = matrix.shape[:-2]
    stack = np.arange(math.prod(lead)).reshape(*lead, 1) * (n_classes + 1)
    code = (stack + np.where(assigned < 0, n_classes, assigned)).ravel()
    own = np.take_along_axis(matrix, np.maximum(assigned, 0)[..., None], axis=-1)

    def by_class(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        # Sums in float64 are exact: contingency refuses totals of 2^53 and more.
        sums = np.bincount(code, weights=pixels.ravel().astype(np.float64), minlength=math.prod(lead) * (n_classes + 1))
        return sums.astype(np.int64).reshape(*lead, n_classes + 1)[..., :n_classes]

    return by_class(own), by_class(matrix.sum(axis=-1)), matrix.sum(axis=-2)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of the values that are not nan; nan where there are none."""
    known = ~np.isnan(values)
    n = known.sum(axis=-1)
    return np.where(n > 0, np.where(known, values, 0.0).sum(axis=-1) / np.maximum(n, 1), np.nan)
