"""Resizing of images (bilinear) and labels (nearest), and the sizes that result."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ResizeMode = Literal["none", "exact", "short_side"]


def resized_size(
    height: int,
    width: int,
    mode: ResizeMode = "none",
    *,
    size: tuple[int, int] | None = None,
    short_side: int | None = None,
) -> tuple[int, int]:
    """(height, width) in pixels after resizing.

    Args:
        height, width: of the image as it is, in pixels.
        mode: ``none`` keeps the size; ``exact`` gives ``size``; ``short_side`` see ``short_side_size``.
        size: (height, width) for mode ``exact``.
        short_side: pixels for mode ``short_side``.

    Raises:
        ValueError: the argument that the mode needs is missing.
    """
    if mode == "none":
        return height, width
    if mode == "exact" and size is not None:
        return size
    if mode == "short_side" and short_side is not None:
        return short_side_size(height, width, short_side)
    raise ValueError(f"resize mode {mode!r} with size={size} and short_side={short_side}")


def short_side_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) with the shorter side at ``short_side`` exactly, enlarged if need be, and the shape kept.

    The longer side is rounded to the nearest pixel, halves up.
    """
    long = round_half_up(max(height, width) * short_side / min(height, width))
    return (short_side, long) if height <= width else (long, short_side)


def scaled_size(height: int, width: int, factor: float) -> tuple[int, int]:
    """(height, width) times ``factor``, each rounded to the nearest pixel, halves up, and at least 1."""
    return max(1, round_half_up(height * factor)), max(1, round_half_up(width * factor))


def round_half_up(value: float) -> int:
    """The nearest integer; halves go up (Python's ``round`` sends them to the even neighbour)."""
    return math.floor(value + 0.5)


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an (H, W, 3) image to ``size`` (height, width).

    PIL's bilinear filter: when an image shrinks, the filter widens with the scale, so that nothing aliases.
    """
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def resize_label(label: NDArray[np.uint16], size: tuple[int, int]) -> NDArray[np.uint16]:
    """Resize an (H, W) label to ``size`` (height, width): each pixel takes the source pixel that its centre lies in."""
    rows = nearest_index(np.arange(size[0]), size[0], label.shape[0])
    columns = nearest_index(np.arange(size[1]), size[1], label.shape[1])
    return label[rows[:, None], columns[None, :]]


def nearest_index(position: NDArray[np.int64], resized: int, original: int) -> NDArray[np.int64]:
    """The original index under the centre of each resized index: floor((i + 1/2) * original / resized).

    Computed in integers, so that it is exact.
    """
    return (2 * position + 1) * original // (2 * resized)
