"""The label of an image as a view looks at it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from spectral_bench.bench.evaluation.placement import Placement
from spectral_bench.common.errors import DataError
from spectral_bench.datasets.interface import LabelLoader
from spectral_bench.datasets.transforms import crop_label


def view_label(labels: LabelLoader, image_id: str, image_size: tuple[int, int], placement: Placement) -> NDArray[Any]:
    """Raw label ids at the pixels that a placement calls the label's.

    Args:
        labels: where labels come from.
        image_id: the image.
        image_size: (height, width) of the image as it was read.
        placement: its frame and target say which part of the label is looked at, and in which size.

    Returns:
        (H, W) raw ids of the placement's target size: the label as it is, or resized by nearest neighbours and cut.

    Raises:
        DataError: the label is missing or corrupt, or has another size than the image.
    """
    label = labels.label(image_id)
    if label.shape != image_size:
        raise DataError(f"image {image_id}: label of {_size(label.shape)} pixels for an image of {_size(image_size)}")
    frame = placement.frame
    if (frame.height, frame.width) == frame.resized and placement.target == image_size:
        return label
    return crop_label(label, frame, fill=0)  # the frame lies inside of the image: nothing is filled


def _size(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
