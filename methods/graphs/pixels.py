"""Affinity of pixels: nearest neighbours in colour and place, within each image only."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.errors import NumericalError
from methods.graphs import sparse
from methods.graphs.blocks import row_blocks
from methods.graphs.nearest import largest_entries
from methods.graphs.options import GraphOptions

_TABLES = 8  # float64 tables of rows x pixels in use at a time, counted in those of float32


def pixel_graph(pixels: Tensor, *, options: GraphOptions | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """The binary affinity of the pixels of B images; pixels of different images are never joined.

    Two pixels are joined where either is among the other's ``pixel_near`` nearest in (rgb, w x, w y) with the large
    weight w, or its ``pixel_far`` nearest with the small one; x and y run over [0, 1] (Deng and Luo, 2023, section
    3.2; the colour affinity of Melas-Kyriazi et al., 2022, with exact neighbours). A pixel is no neighbour of itself;
    ties go to the lowest index.

    Args:
        pixels: (B, h, w, 3), RGB in [0, 1].
        options: numbers of neighbours, clipped to h w - 1, and weights.
        dtype: of the values of the result.

    Returns:
        (B h w, B h w) sparse CSR of ones; nodes in row-major order within an image, images in order.

    Raises:
        NumericalError: a pixel is NaN or infinite.
    """
    options = options or GraphOptions()
    if not bool(pixels.isfinite().all()):
        raise NumericalError("pixels of the graph hold NaN or infinite values")
    count, height, width = pixels.shape[:3]
    nodes = height * width
    colours = pixels.detach().reshape(count, nodes, 3).double()
    rows, columns = [pixels.new_empty(0).long()], [pixels.new_empty(0).long()]
    for block in row_blocks(nodes, _TABLES * nodes, pixels.device):
        place = _place_distances(block, height, width, pixels.device)
        for image, colour in enumerate(colours):
            row, column = _directed_edges(colour, place, block, options)
            rows.append(row + image * nodes)
            columns.append(column + image * nodes)
    forward, backward = torch.cat(rows), torch.cat(columns)
    size = count * nodes
    keys = torch.unique(torch.cat([forward * size + backward, backward * size + forward]))
    return sparse.from_keys(keys, torch.ones(keys.numel(), dtype=dtype, device=pixels.device), size)


def _place_distances(block: slice, height: int, width: int, device: torch.device) -> Tensor:
    """Squared distances in (x, y) from the pixels in ``block`` to all, (rows, h w) float64.

    They are quotients of integers, so that offsets of equal length tie exactly.
    """
    down, across = max(height - 1, 1) ** 2, max(width - 1, 1) ** 2
    index = torch.arange(height * width, device=device)
    row, column = index // width, index % width
    vertical = (row[block, None] - row).square()
    horizontal = (column[block, None] - column).square()
    return (vertical * across + horizontal * down).double() / (down * across)


def _directed_edges(colour: Tensor, place: Tensor, block: slice, options: GraphOptions) -> tuple[Tensor, Tensor]:
    """Edges from the pixels in ``block`` to their near and far neighbours, rows and columns of (E,) int64."""
    colour_distance = torch.zeros_like(place)
    for channel in colour.unbind(1):
        colour_distance += (channel[block, None] - channel).square_()
    rows, columns = [], []
    for k, weight in ((options.pixel_near, options.near_weight), (options.pixel_far, options.far_weight)):
        closeness = torch.add(colour_distance, place, alpha=weight**2).neg_()
        closeness.diagonal(block.start).fill_(float("-inf"))
        counts, neighbours, _ = largest_entries(closeness, min(k, colour.shape[0] - 1), float("-inf"))
        rows.append(torch.arange(block.start, block.stop, device=colour.device).repeat_interleave(counts))
        columns.append(neighbours)
    return torch.cat(rows), torch.cat(columns)
