"""From patch scores to the label's pixels: cluster maps and full-resolution scores.

Scores are up-sampled bilinearly to the pixels of their window, cropped to it, merged by their mean where windows
overlap, and resized bilinearly to the label; the cluster of a pixel is the argmax. All of it is linear, so two small
matrices (``bench.evaluation.layout``) do it at once. They are applied tile by tile, clusters last, so that the scores
of all clusters are never held at full resolution.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from spectral_bench.bench.evaluation.layout import Block, WindowLayout, blocks

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
        out[rows, pixels] = _argmax(tile)
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
    joined = _join(scores, layout)
    width = min(columns, layout.target[1])
    height = max(1, n_bytes // (width * joined.shape[-1] * joined.element_size()))
    across = [_on(block, joined.device) for block in blocks(layout.columns, width)]
    for rows, used, weights in (_on(block, joined.device) for block in blocks(layout.rows, height)):
        band = (weights @ joined[used].flatten(1)).view(len(weights), *joined.shape[1:])
        for pixels, patches, shares in across:
            yield rows, pixels, torch.matmul(shares, band[:, patches])


def _join(scores: Tensor, layout: WindowLayout) -> Tensor:
    """The patches of all windows laid side by side: (S_y * h, S_x * w, K) float32, contiguous."""
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


def _argmax(tile: Tensor) -> Tensor:
    if tile.device.type == "cpu":
        # Several times as fast as torch's over a last axis; both give the first of equal values.
        return torch.from_numpy(tile.numpy().argmax(axis=-1))
    return tile.argmax(dim=-1)
