"""Resampling along one axis: from the patches of all windows to the pixels of the label, as one sparse matrix.

Bilinear up-sampling of each window, cropping, the mean of overlapping windows and bilinear resizing are linear, and
they factorise into rows and columns because the windows form a product grid. So the scores at the label's pixels are
``A_y S A_x^T``, and each factor is made here once for all images of one size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Strip:
    """One window along one axis, in pixels of the resized image; ``flip`` if its patches run backwards."""

    start: int
    length: int
    flip: bool = False


@dataclass(frozen=True)
class Axis:
    """What one axis of a placement looks like. Units: pixels, unless said otherwise.

    Attributes:
        strips: the windows along this axis, S of them.
        patches: patches of each window.
        extent: pixels that these patches span from the window's first pixel on; what exceeds the window is padding.
        start, length: the part of the resized image that the label covers.
        target: pixels of the label.
    """

    strips: tuple[Strip, ...]
    patches: int
    extent: int
    start: int
    length: int
    target: int

    def matrix(self) -> sparse.csr_array:
        """(target, S * patches) float64; each row sums to 1. The patches of the first strip come first.

        Raises:
            ValueError: a pixel of the frame lies in no window.
        """
        return _matrix(self)


@dataclass(frozen=True)
class Block:
    """A dense part of an axis' matrix: the only patches that a run of label pixels depends on.

    Attributes:
        pixels: the label pixels.
        patches: (n,) int64 columns of the matrix.
        weights: (pixels, n) float32.
    """

    pixels: slice
    patches: NDArray[np.int64]
    weights: NDArray[np.float32]


@lru_cache(maxsize=256)
def blocks(axis: Axis, size: int) -> tuple[Block, ...]:
    """The matrix of an axis cut into blocks of ``size`` label pixels (the last may be smaller)."""
    matrix = axis.matrix()
    found = []
    for first in range(0, axis.target, size):
        pixels = slice(first, min(first + size, axis.target))
        rows = matrix[pixels]
        used = np.unique(rows.indices).astype(np.int64)
        found.append(Block(pixels, used, rows[:, used].toarray().astype(np.float32)))
    return tuple(found)


def bilinear(n_in: int, n_out: int) -> sparse.csr_array:
    """(n_out, n_in) float64 matrix of linear interpolation as ``F.interpolate(..., align_corners=False)`` does it.

    The centre of output i lies at (i + 1/2) n_in / n_out - 1/2 between the centres of two inputs; beyond the outermost
    centres the value is constant. Nothing is smoothed when n_out < n_in.
    """
    source = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)
    low = np.floor(source).astype(np.int64)
    high = np.minimum(low + 1, n_in - 1)
    share = source - low
    rows = np.tile(np.arange(n_out), 2)
    matrix = sparse.csr_array(
        (np.concatenate([1 - share, share]), (rows, np.concatenate([low, high]))), shape=(n_out, n_in)
    )
    matrix.eliminate_zeros()
    return matrix


@lru_cache(maxsize=256)
def _matrix(axis: Axis) -> sparse.csr_array:
    up = bilinear(axis.patches, axis.extent)
    parts, cover = [], np.zeros(axis.length)
    for strip in axis.strips:
        rows = _rows(strip, axis)
        inside = rows >= 0
        cover += inside
        selection = sparse.csr_array(
            (np.ones(int(inside.sum())), (np.flatnonzero(inside), rows[inside])), shape=(axis.length, axis.extent)
        )
        parts.append(selection @ up)
    if not cover.all():
        missing = int(np.flatnonzero(cover == 0)[0]) + axis.start
        raise ValueError(f"pixel {missing} of the resized image lies in no window")
    merged = sparse.diags_array(1 / cover) @ sparse.hstack(parts)
    return sparse.csr_array(bilinear(axis.length, axis.target) @ merged)


def _rows(strip: Strip, axis: Axis) -> NDArray[np.int64]:
    """For each pixel of the frame its row in the window's up-sampled scores, -1 where it lies outside of the window."""
    offset = np.arange(axis.start, axis.start + axis.length) - strip.start
    inside = (offset >= 0) & (offset < strip.length)
    return np.where(inside, strip.length - 1 - offset if strip.flip else offset, -1)
