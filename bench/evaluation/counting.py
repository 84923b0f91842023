"""Labels at full resolution: who may see them, and how clusters and labels are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.evaluation.layout import WindowLayout, label_map
from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.features.patch_labels import PatchLabels
from spectral_bench.common.errors import DataError
from spectral_bench.datasets.interface import ImageLoader, LabelLoader
from spectral_bench.datasets.subset import subset
from spectral_bench.datasets.transforms import apply_crop, crop_label
from spectral_bench.methods.registry import method_facts
from spectral_bench.results.contingency import Contingency, ContingencyBuilder

if TYPE_CHECKING:
    from spectral_bench.bench.measure.meter import Meter
    from spectral_bench.datasets.interface import DataSet
    from spectral_bench.results.specification import FitSpec


def training_labels(
    spec: FitSpec,
    open_data: Callable[[str], DataSet],
    meter: Meter,
    *,
    workers: int,
    should_stop: Callable[[], bool],
) -> PatchLabels | None:
    """The labels of the training images, all of them read once; None, without a look, for a method that uses none.

    Args:
        spec: the fit.
        open_data: opens a data set by its name.
        meter: which reading them is charged to.
        workers: that read them.
        should_stop: whether the run has been asked to stop.

    Raises:
        ConfigError: the training data has no classes.
        DataError: a label is missing or not as it should be; the message names its file.
        RunInterrupted: the run was asked to stop.
    """
    if not method_facts(spec.method).uses_labels:
        return None
    data = open_data(spec.data.dataset)
    labels = _patch_labels(spec, data, spec.data.split)
    ids = subset(data.images(spec.data.split).ids, spec.data.subset)
    with meter.stage("labels", items=len(ids)):
        labels.require(ids, workers=workers, should_stop=should_stop)
    return labels


def labels_at_prediction(spec: FitSpec, data: DataSet, split: str) -> PatchLabels | None:
    """The labels of a split for a fit whose method declares ``labels_at_prediction``; None for all others.

    Raises:
        ConfigError: the data has no classes.
        DataError: the data root does not hold the labels.
    """
    return _patch_labels(spec, data, split) if method_facts(spec.method).labels_at_prediction else None


def _patch_labels(spec: FitSpec, data: DataSet, split: str) -> PatchLabels:
    return PatchLabels(data.labels(split), data.info, backbone_info(spec.backbone.name, spec.backbone.options))


@dataclass(frozen=True)
class ScoredImage:
    """The patch scores of one image under a view.

    Attributes:
        image_id: its name.
        image_size: (height, width) of the image as it was read.
        scores: (W, K, h, w) float32 scores of its windows.
        layout: where windows and label lie.
    """

    image_id: str
    image_size: tuple[int, int]
    scores: Tensor
    layout: WindowLayout


def assign(image: ScoredImage) -> Tensor:
    """(H, W) int64 clusters of the label's pixels: the argmax of the resampled scores."""
    return label_map(image.scores, image.layout)


def count(
    images: Iterable[ScoredImage],
    labels: LabelLoader,
    *,
    n_clusters: int,
    n_labels: int,
    assign: Callable[[ScoredImage], Tensor] = assign,
    counted: Callable[[int], None] = lambda done: None,
) -> Contingency:
    """Count clusters against raw label ids, image by image.

    Args:
        images: the scored images, in the order that the contingency keeps.
        labels: their labels.
        n_clusters: K of the scores.
        n_labels: raw label ids run from 0 to ``n_labels - 1``.
        assign: gives the (H, W) clusters of an image's label pixels; a view with a CRF passes its own.
        counted: called after each image with the number of images done.

    Raises:
        DataError: a label is missing, corrupt, of another size than its image, or holds an id out of range.
        FloatingPointError: a score is nan or infinite; the message names the image.
    """
    builder = ContingencyBuilder(n_clusters, n_labels)
    for done, image in enumerate(images, start=1):
        label = view_label(labels, image.image_id, image.image_size, image.layout)
        try:
            clusters = assign(image)
        except FloatingPointError as error:
            raise FloatingPointError(f"image {image.image_id}: {error}") from error
        builder.add(image.image_id, clusters.cpu().numpy(), label)
        counted(done)
    return builder.build()


def view_image(images: ImageLoader, image_id: str, layout: WindowLayout) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of 0 to 255 at the pixels that a layout calls the label's: what ``view_label`` is to labels."""
    image = images.image(image_id)
    frame = layout.frame
    if layout.target == image.shape[:2] and (frame.height, frame.width) == frame.resized:
        return image
    return apply_crop(image, frame)  # the frame lies inside of the image: nothing is filled


def view_label(labels: LabelLoader, image_id: str, image_size: tuple[int, int], layout: WindowLayout) -> NDArray[Any]:
    """Raw label ids at the pixels that a layout calls the label's.

    Args:
        labels: where labels come from.
        image_id: the image.
        image_size: (height, width) of the image as it was read.
        layout: its frame and target say which part of the label is looked at, and in which size.

    Returns:
        (H, W) raw ids of the layout's target size: the label as it is, or resized by nearest neighbours and cut.

    Raises:
        DataError: the label is missing or corrupt, or has another size than the image.
    """
    label = labels.label(image_id)
    if label.shape != image_size:
        raise DataError(f"image {image_id}: label of {_size(label.shape)} pixels for an image of {_size(image_size)}")
    frame = layout.frame
    if (frame.height, frame.width) == frame.resized and layout.target == image_size:
        return label
    return crop_label(label, frame, fill=0)  # the frame lies inside of the image: nothing is filled


def _size(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
