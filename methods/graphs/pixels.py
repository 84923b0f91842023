"""Affinity of pixels: nearest neighbours in colour and place, within each image only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.errors import NumericalError
from methods.graphs import sparse
from methods.graphs.blocks import row_blocks
from methods.graphs.nearest import largest_entries
from methods.graphs.options import GraphOptions
from methods.graphs.pixel_tree import tree_neighbours

_TABLES = 8  # float64 tables of rows x pixels in use at a time, counted in those of float32


def pixel_graph(pixels: Tensor, *, options: GraphOptions | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """The binary affinity of the pixels of B images; pixels of different images are never joined.

    Two pixels are joined where either is among the other's ``pixel_near`` nearest in (rgb, w x, w y) with the large
    weight w, or its ``pixel_far`` nearest with the small one; x and y run over [0, 1] (Deng and Luo, 2023, section
    3.2; the colour affinity of Melas-Kyriazi et al., 2022, with exact neighbours). A pixel is no neighbour of itself;
    ties go to the lowest index. On the CPU a k-d tree finds the neighbours that no tie decides, and
    tables of distances the rest.

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
    count, height, width = pixels.shape[:3]
    nodes = height * width
    rows, columns = [pixels.new_empty(0).long()], [pixels.new_empty(0).long()]
    for image, row, column in _all_directed_edges(pixels, options):
        rows.append(row + image * nodes)
        columns.append(column + image * nodes)
    forward, backward = torch.cat(rows), torch.cat(columns)
    size = count * nodes
    keys = torch.unique(torch.cat([forward * size + backward, backward * size + forward]))
    return sparse.from_keys(keys, torch.ones(keys.numel(), dtype=dtype, device=pixels.device), size)


def pixel_counts(pixels: Tensor, *, options: GraphOptions | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """How many of the neighbourhoods of ``pixel_graph`` join two pixels: 0 to 4, where that graph has 0 or 1.

    Two pixels can be joined by the near and by the far set of neighbours, each of them from either side. The colour
    affinity of Melas-Kyriazi et al. (2022) is this sum.

    Args:
        pixels: (B, h, w, 3), RGB in [0, 1].
        options: numbers of neighbours, clipped to h w - 1, and weights.
        dtype: of the result.

    Returns:
        (B, h w, h w) dense and symmetric, 0 on the diagonal; nodes in row-major order.

    Raises:
        NumericalError: a pixel is NaN or infinite.
    """
    count, height, width = pixels.shape[:3]
    counts = torch.zeros(count, height * width, height * width, dtype=dtype, device=pixels.device)
    for image, rows, columns in _all_directed_edges(pixels, options or GraphOptions()):
        counts[image, rows, columns] += 1  # no edge is twice among them
        counts[image, columns, rows] += 1
    return counts


def _all_directed_edges(pixels: Tensor, options: GraphOptions) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Images and edges from some of their pixels to all near, or to all far, neighbours of these."""
    if not bool(pixels.isfinite().all()):
        raise NumericalError("pixels of the graph hold NaN or infinite values")
    count, height, width = pixels.shape[:3]
    nodes = height * width
    colours = pixels.detach().reshape(count, nodes, 3).double()
    for image, colour in enumerate(colours):
        for wanted, weight in ((options.pixel_near, options.near_weight), (options.pixel_far, options.far_weight)):
            k = min(wanted, nodes - 1)
            rows = torch.arange(nodes, device=pixels.device)
            if pixels.device.type == "cpu" and 1 <= k <= nodes - 2:
                known = tree_neighbours(_points(colour, height, width, weight), k)
                rows = torch.from_numpy(known.open)
                yield (
                    image,
                    torch.from_numpy(known.rows).repeat_interleave(k),
                    torch.from_numpy(known.columns).flatten(),
                )
            for block in row_blocks(len(rows), _TABLES * nodes, pixels.device):
                yield image, *_edges_from(rows[block], colour, _place_distances(rows[block], height, width), k, weight)


def _points(colour: Tensor, height: int, width: int, weight: float) -> NDArray[np.float64]:
    """(n, 5) float64 points (rgb, w x, w y)."""
    row, column = np.divmod(np.arange(height * width), width)
    place = np.stack([row / max(height - 1, 1), column / max(width - 1, 1)], 1)
    return np.concatenate([colour.numpy(), weight * place], 1)


def _place_distances(rows: Tensor, height: int, width: int) -> Tensor:
    """Squared distances in (x, y) from the pixels ``rows`` to all, (rows, h w) float64.

    They are quotients of integers, so that offsets of equal length tie exactly.
    """
    down, across = max(height - 1, 1) ** 2, max(width - 1, 1) ** 2
    row, column = torch.arange(height, device=rows.device), torch.arange(width, device=rows.device)
    vertical = ((rows // width)[:, None] - row).square() * across
    horizontal = ((rows % width)[:, None] - column).square() * down
    place = vertical.double()[:, :, None] + horizontal.double()[:, None, :]
    return place.flatten(1).div_(down * across)


def _edges_from(rows: Tensor, colour: Tensor, place: Tensor, k: int, weight: float) -> tuple[Tensor, Tensor]:
    """Edges from the pixels ``rows`` to their ``k`` nearest: rows and columns, (E,) int64."""
    distance = place.mul_(weight**2)
    in_colour = torch.zeros_like(distance)
    for channel in colour.unbind(1):
        in_colour += (channel[rows, None] - channel).square_()
    closeness = in_colour.add_(distance).neg_()
    closeness[torch.arange(len(rows), device=rows.device), rows] = float("-inf")
    counts, neighbours, _ = largest_entries(closeness, k, float("-inf"))
    return rows.repeat_interleave(counts), neighbours
