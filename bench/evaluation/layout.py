"""Where the windows of an image and the pixels of its label lie, and what leads from the ones to the others.

Bilinear up-sampling of each window, cropping, the mean of overlapping windows and bilinear resizing are linear, and
they factorise into rows and columns because the windows form a product grid. So the scores at the label's pixels are
``A_y S A_x^T``, and each factor is made here once for all images of one size, as a sparse matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import centre_crop
from spectral_bench.results.specification import View


@dataclass(frozen=True)
class WindowLayout:
    """How the patch scores of W windows map onto one label.

    Attributes:
        crops: W windows of the resized image, in the order of their scores; every top with every left exactly once.
        grid: (h, w) patches of each window.
        cover: (height, width) pixels that a window's patches span from its top left pixel on; at least the window, and
            more where it was padded at the bottom or right to whole patches.
        frame: the box of the resized image that the label covers; inside of the image, not mirrored.
        target: (height, width) of the label.

    Raises:
        ValueError: the windows form no product grid, belong to images resized differently, or exceed their patches.
    """

    crops: tuple[Crop, ...]
    grid: tuple[int, int]
    cover: tuple[int, int]
    frame: Crop
    target: tuple[int, int]

    def __post_init__(self) -> None:
        if not self.crops or any(crop.resized != self.frame.resized for crop in self.crops):
            raise ValueError(f"windows and frame must be of one resized image: {self.crops}, {self.frame}")
        if any(crop.height > self.cover[0] or crop.width > self.cover[1] for crop in self.crops):
            raise ValueError(f"a window is larger than the {self.cover} pixels that its patches span")
        if self.frame.flip or min(self.grid) < 1 or min(self.target) < 1:
            raise ValueError(f"not a placement: frame {self.frame}, grid {self.grid}, target {self.target}")
        if sorted(self._keys) != list(product(self._tops, self._lefts)):
            raise ValueError(f"the windows form no product grid: {self.crops}")

    @property
    def rows(self) -> Axis:
        """The vertical axis."""
        strips = tuple(Strip(*key) for key in self._tops)
        return Axis(strips, self.grid[0], self.cover[0], self.frame.top, self.frame.height, self.target[0])

    @property
    def columns(self) -> Axis:
        """The horizontal axis."""
        strips = tuple(Strip(*key) for key in self._lefts)
        return Axis(strips, self.grid[1], self.cover[1], self.frame.left, self.frame.width, self.target[1])

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The positions of the windows in ``crops``, sorted by row of windows, then column."""
        return tuple(sorted(range(len(self.crops)), key=lambda index: self._keys[index]))

    @cached_property
    def _keys(self) -> list[tuple[tuple[int, int], tuple[int, int, bool]]]:
        return [((crop.top, crop.height), (crop.left, crop.width, crop.flip)) for crop in self.crops]

    @cached_property
    def _tops(self) -> list[tuple[int, int]]:
        return sorted({top for top, _ in self._keys})

    @cached_property
    def _lefts(self) -> list[tuple[int, int, bool]]:
        return sorted({left for _, left in self._keys})


def window_layout(
    view: View, image_size: tuple[int, int], crops: tuple[Crop, ...], grid: tuple[int, int], cover: tuple[int, int]
) -> WindowLayout:
    """The layout of an image's windows under a view.

    The label covers the whole resized image, or the part of its centre crop that lies inside of the image. It is
    looked at in full resolution, or at the size of the resized image where the view resizes labels.

    Args:
        view: what is looked at.
        image_size: (height, width) of the image as it was read.
        crops: the windows, all of the image resized as the view says.
        grid: (h, w) patches of each window.
        cover: (height, width) in pixels that the patches of a window span.

    Raises:
        ConfigError: the view crops the label but neither resizes it nor leaves the image's size alone.
    """
    resized = crops[0].resized
    if view.centre_crop is not None and not view.label_resize and resized != image_size:
        raise ConfigError("view: centre_crop of a resized image needs label_resize: true, to cut the label likewise")
    frame = Crop.whole(*resized) if view.centre_crop is None else _inside(centre_crop(*resized, view.centre_crop))
    cut = view.label_resize or view.centre_crop is not None
    return WindowLayout(crops, grid, cover, frame, (frame.height, frame.width) if cut else image_size)


@dataclass(frozen=True)
class Strip:
    """One window along one axis, in pixels of the resized image; ``flip`` if its patches run backwards."""

    start: int
    length: int
    flip: bool = False


@dataclass(frozen=True)
class Axis:
    """One axis of a layout. Units: pixels, unless said otherwise.

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


def _inside(crop: Crop) -> Crop:
    """The part of a crop that lies inside of the image."""
    top, left = max(crop.top, 0), max(crop.left, 0)
    bottom, right = min(crop.top + crop.height, crop.resized[0]), min(crop.left + crop.width, crop.resized[1])
    return Crop(crop.resized, top, left, bottom - top, right - left)


# Label pixels across and bytes of scores of a tile. On the CPU a narrow tile depends on few patches and stays in a
# core's cache until its argmax is taken; elsewhere the fewest launches win.
_TILE = {"cpu": (64, 2**20)}
_TILE_ELSEWHERE = (512, 2**28)
_BAND = 2**25  # bytes of scores of a band


@torch.no_grad()
def label_map(scores: Tensor, layout: WindowLayout) -> Tensor:
    """The cluster of each label pixel.

    Args:
        scores: (W, K, h, w) float32 patch scores of the windows.
        layout: where windows and label lie.

    Returns:
        (H, W) int64 on the scores' device; ties go to the lowest cluster index.

    Raises:
        ValueError: the shape of ``scores`` does not fit the layout.
        FloatingPointError: a score is nan or infinite.
    """
    out = torch.empty(layout.target, dtype=torch.int64, device=scores.device)
    columns, n_bytes = _TILE.get(scores.device.type, _TILE_ELSEWHERE)
    for rows, pixels, tile in _tiles(scores, layout, columns, n_bytes):
        out[rows, pixels] = first_largest(tile)
    return out


@torch.no_grad()
def score_bands(scores: Tensor, layout: WindowLayout) -> Iterator[tuple[slice, Tensor]]:
    """Scores at the label's pixels, band by band from the top.

    Args:
        scores: (W, K, h, w) float32 patch scores of the windows.
        layout: where windows and label lie.

    Yields:
        The label rows of a band, and its (rows, width, K) float32 scores.

    Raises:
        ValueError: the shape of ``scores`` does not fit the layout.
        FloatingPointError: a score is nan or infinite.
    """
    for rows, _, tile in _tiles(scores, layout, layout.target[1], _BAND):
        yield rows, tile


def full_scores(scores: Tensor, layout: WindowLayout) -> Tensor:
    """(H, W, K) float32 scores at all of the label's pixels: as large as it looks. Arguments as for ``label_map``."""
    return torch.cat([band for _, band in score_bands(scores, layout)])


def _tiles(scores: Tensor, layout: WindowLayout, columns: int, n_bytes: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Label rows, label columns and (rows, columns, K) scores of each tile."""
    joined = side_by_side(scores, layout)
    width = min(columns, layout.target[1])
    height = max(1, n_bytes // (width * joined.shape[-1] * joined.element_size()))
    across = [_on(block, joined.device) for block in blocks(layout.columns, width)]
    for rows, used, weights in (_on(block, joined.device) for block in blocks(layout.rows, height)):
        band = (weights @ joined[used].flatten(1)).view(len(weights), *joined.shape[1:])
        for pixels, patches, shares in across:
            yield rows, pixels, torch.matmul(shares, band[:, patches])


def side_by_side(scores: Tensor, layout: WindowLayout) -> Tensor:
    """The patches of all windows laid side by side: (S_y * h, S_x * w, K) float32, contiguous.

    Args:
        scores: (W, K, h, w) patch scores of the windows.
        layout: where windows and label lie.

    Raises:
        ValueError: the shape of ``scores`` does not fit the layout.
        FloatingPointError: a score is nan or infinite.
    """
    n_windows, (height, width) = len(layout.crops), layout.grid
    if scores.ndim != 4 or (scores.shape[0], *scores.shape[2:]) != (n_windows, height, width):
        raise ValueError(f"scores of shape {tuple(scores.shape)}; expected ({n_windows}, K, {height}, {width})")
    if not torch.isfinite(scores).all():
        raise FloatingPointError("patch scores hold nan or infinite values")
    down = len(layout.rows.strips)
    ordered = scores.float()[list(layout.order)].view(down, -1, *scores.shape[1:])
    return ordered.permute(0, 3, 1, 4, 2).reshape(down * height, -1, scores.shape[1])


def _on(block: Block, device: torch.device) -> tuple[slice, Tensor, Tensor]:
    return block.pixels, torch.from_numpy(block.patches).to(device), torch.from_numpy(block.weights).to(device)


def first_largest(scores: Tensor) -> Tensor:
    """(..., K) scores to the (...) int64 index of the largest, of equal ones the first."""
    if scores.device.type == "cpu":
        # Several times as fast as torch's over a last axis; both give the first of equal values.
        return torch.from_numpy(scores.numpy().argmax(axis=-1))
    return scores.argmax(dim=-1)
