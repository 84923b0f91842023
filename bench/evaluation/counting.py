"""One pass over the images of a view: patch scores in, contingency with the labels as the view sees them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.evaluation.layout import WindowLayout, label_map
from spectral_bench.common.errors import DataError
from spectral_bench.datasets.interface import LabelLoader
from spectral_bench.datasets.transforms import crop_label
from spectral_bench.results.contingency import Contingency, ContingencyBuilder


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
