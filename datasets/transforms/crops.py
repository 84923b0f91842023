"""Random crops, and crops applied to images and labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms.resize import nearest_index, scaled_size

BLACK = (0, 0, 0)


def draw_crop(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    scale: tuple[float, float] | None = None,
    crop: int | None = None,
    flip: bool = False,
) -> Crop:
    """Draw a crop of an image; no label is looked at.

    Args:
        rng: four numbers are drawn from it whatever the other arguments are.
        height, width: of the image after its fixed resizing, in pixels.
        scale: range of a uniform factor on the size; None: 1.
        crop: side of a square in pixels at a uniform position; None: the whole image. An image smaller than the square
            is padded at the bottom and at the right.
        flip: mirror with probability 1/2.
    """
    factor, down, across, coin = (float(number) for number in rng.random(4))
    low, high = scale or (1.0, 1.0)
    resized = scaled_size(height, width, low + (high - low) * factor)
    mirrored = flip and coin < 0.5
    if crop is None:
        return Crop(resized, 0, 0, *resized, flip=mirrored)
    top, left = _position(resized[0] - crop, down), _position(resized[1] - crop, across)
    return Crop(resized, top, left, crop, crop, flip=mirrored)


def apply_crop(image: NDArray[np.uint8], crop: Crop, fill: int | tuple[int, int, int] = BLACK) -> NDArray[np.uint8]:
    """Resize an (H, W, 3) image and cut the crop's box out of it.

    Only the box is computed. It equals the same box of the whole resized image, up to one grey level where a filter
    weight is rounded the other way.

    Args:
        image: the image as it was read.
        crop: what to show.
        fill: RGB colour (or one grey level) of what lies outside of the image.

    Returns:
        (crop.height, crop.width, 3) uint8.
    """
    rows, columns = _inside(crop.top, crop.height, crop.resized[0]), _inside(crop.left, crop.width, crop.resized[1])
    inner = _resized_box(image, crop, rows, columns)
    if inner.shape[:2] != (crop.height, crop.width):
        canvas = np.empty((crop.height, crop.width, 3), np.uint8)
        canvas[:] = fill
        canvas[_shifted(rows, crop.top), _shifted(columns, crop.left)] = inner
        inner = canvas
    return np.ascontiguousarray(inner[:, ::-1]) if crop.flip else inner


def crop_label(label: NDArray[np.uint16], crop: Crop, fill: int) -> NDArray[np.uint16]:
    """Resize an (H, W) label by nearest neighbours, as ``resize_label`` does, and cut the crop's box out of it.

    Args:
        label: raw ids, as they were read.
        crop: what to show.
        fill: id of what lies outside of the image.

    Returns:
        (crop.height, crop.width) uint16.
    """
    rows, columns = _inside(crop.top, crop.height, crop.resized[0]), _inside(crop.left, crop.width, crop.resized[1])
    y = nearest_index(np.arange(rows.start, rows.stop), crop.resized[0], label.shape[0])
    x = nearest_index(np.arange(columns.start, columns.stop), crop.resized[1], label.shape[1])
    canvas = np.full((crop.height, crop.width), fill, np.uint16)
    canvas[_shifted(rows, crop.top), _shifted(columns, crop.left)] = label[y[:, None], x[None, :]]
    return np.ascontiguousarray(canvas[:, ::-1]) if crop.flip else canvas


def _position(room: int, number: float) -> int:
    return int(number * (room + 1)) if room > 0 else 0


def _inside(start: int, length: int, limit: int) -> slice:
    low = min(max(start, 0), limit)
    return slice(low, min(max(start + length, low), limit))


def _shifted(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)


def _resized_box(image: NDArray[np.uint8], crop: Crop, rows: slice, columns: slice) -> NDArray[np.uint8]:
    if image.shape[:2] == crop.resized:
        return image[rows, columns]
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if not height or not width:
        return np.empty((height, width, 3), np.uint8)
    down, across = image.shape[0] / crop.resized[0], image.shape[1] / crop.resized[1]
    box = (
        columns.start * across,
        rows.start * down,
        min(columns.stop * across, image.shape[1]),
        min(rows.stop * down, image.shape[0]),
    )
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized)
