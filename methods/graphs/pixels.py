"""Affinity of pixels: nearest neighbours in colour and place, within each image only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.blocks import row_blocks
from spectral_bench.methods.graphs.nearest import largest_entries
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.graphs.pixel_memory import MEMORY, ImageGraph
from spectral_bench.methods.graphs.pixel_tree import tree_neighbours
from spectral_bench.methods.graphs.pixel_variants import colours_of, varied_graph

_TABLES = 10  # float64 tables of rows x pixels in use at a time, counted in those of float32


def pixel_graph(pixels: Tensor, *, options: GraphOptions | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """The binary affinity of the pixels of B images; pixels of different images are never joined.

    Two pixels are joined where either is among the other's ``pixel_near`` nearest in (rgb, w x, w y) with the large
    weight w, or its ``pixel_far`` nearest with the small one; x and y run over [0, 1] (Deng and Luo, 2023, section
    3.2; the colour affinity of Melas-Kyriazi et al., 2022, with exact neighbours). A pixel is no neighbour of itself;
    ties go to the lowest index. On the CPU a k-d tree finds the neighbours that no tie decides, tables of distances
    the rest, and a graph is made once an image as long as ``PixelMemory`` knows it. Options beside neighbours, weights
    and colours make it a weighted graph, found on the CPU for pixels on any device (``pixel_variants``).

    Args:
        pixels: (B, h, w, 3), RGB in [0, 1].
        options: numbers of neighbours, clipped to h w - 1, weights, and what is varied.
        dtype: of the values of the result.

    Returns:
        (B h w, B h w) sparse CSR of ones, or of the weights of ``pixel_variants``; nodes in row-major order within an
        image, images in order. With ``options.pixels.grid`` = g they are patches of g x g pixels, h / g down and w / g
        across.

    Raises:
        NumericalError: a pixel is NaN or infinite.
    """
    options = options or GraphOptions()
    _require_finite(pixels)
    if (pixels.device.type == "cpu" or options.pixels.reweighs) and len(pixels):
        images = pixels.detach() if pixels.dtype in (torch.float32, torch.float64) else pixels.detach().double()
        return _joined([_known_image(image, options) for image in images.contiguous().cpu()], dtype, pixels.device)
    size = pixels[..., 0].numel()
    edges = [*_all_directed_edges(pixels, options), (pixels.new_empty(0).long(),) * 2]
    forward, backward = (torch.cat(nodes) for nodes in zip(*edges, strict=True))
    keys = torch.unique(torch.cat([forward * size + backward, backward * size + forward]))
    return sparse.from_keys(keys, torch.ones(keys.numel(), dtype=dtype, device=pixels.device), size)


def _known_image(image: Tensor, options: GraphOptions, *, binary: bool = True) -> ImageGraph:
    """The graph of one contiguous image (h, w, 3) on the CPU."""
    settings = f"{options.pixel_near} {options.near_weight!r} {options.pixel_far} {options.far_weight!r}"
    settings += f" {options.pixels} {binary}"
    return MEMORY.recall(image.numpy(), settings, lambda: _image_graph(image, options, binary))


def _image_graph(image: Tensor, options: GraphOptions, binary: bool) -> ImageGraph:
    nodes = image[..., 0].numel()
    narrow = np.int16 if nodes <= np.iinfo(np.int16).max else np.int32
    if options.pixels.reweighs:
        graph = varied_graph(image, options, lambda small: _directed(small, options), binary=binary)
        return ImageGraph(np.diff(graph.indptr).astype(np.int32), graph.indices.astype(narrow), graph.data)
    directed = _directed(image, options)
    joined = directed + directed.T.tocsr()
    joined.sort_indices()
    return ImageGraph(np.diff(joined.indptr).astype(np.int32), joined.indices.astype(narrow))


def _directed(image: Tensor, options: GraphOptions) -> scipy.sparse.csr_array:
    """(n, n) int8: by how many of a row's neighbourhoods, near and far, a column is held."""
    nodes = image[..., 0].numel()
    directed = scipy.sparse.csr_array((nodes, nodes), dtype=np.int8)
    for rows, columns in _all_directed_edges(image[None], options):
        ones = np.ones(len(rows), dtype=np.int8)
        directed += scipy.sparse.coo_array((ones, (rows.numpy(), columns.numpy())), (nodes, nodes)).tocsr()
    return directed


def _joined(images: list[ImageGraph], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The graph of a batch, image after image."""
    starts = np.cumsum([0, *(len(image.counts) for image in images[:-1])])
    columns = [image.columns.astype(np.int32) + int(start) for image, start in zip(images, starts, strict=True)]
    counts = torch.from_numpy(np.concatenate([image.counts for image in images])).long()
    held = torch.from_numpy(np.concatenate(columns))
    values = [image.values for image in images if image.values is not None]
    weights = torch.from_numpy(np.concatenate(values)).to(dtype) if values else torch.ones(held.numel(), dtype=dtype)
    return sparse.from_counts(counts.to(device), held.to(device), weights.to(device))


def _require_finite(pixels: Tensor) -> None:
    if not bool(pixels.isfinite().all()):
        raise NumericalError("pixels of the graph hold NaN or infinite values")


def pixel_counts(
    pixels: Tensor,
    *,
    options: GraphOptions | None = None,
    binary: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """How many of the neighbourhoods of ``pixel_graph`` join two pixels: 0 to 4, where that graph has 0 or 1.

    Two pixels can be joined by the near and by the far set of neighbours, each of them from either side. The colour
    affinity of Melas-Kyriazi et al. (2022) is this sum.

    Args:
        pixels: (B, h, w, 3), RGB in [0, 1].
        options: numbers of neighbours, clipped to h w - 1, and weights.
        binary: two pixels are joined by 1 where any neighbourhood joins them, on each scale by itself.
        dtype: of the result.

    Returns:
        (B, h w, h w) dense and symmetric, 0 on the diagonal; nodes in row-major order. Of several scales, and of
        patches of several pixels, the weighted sum of ``pixel_variants``.

    Raises:
        NumericalError: a pixel is NaN or infinite.
    """
    _require_finite(pixels)
    count, height, width = pixels.shape[:3]
    nodes = height * width
    options = options or GraphOptions()
    if options.pixels.reweighs and count:
        images = pixels.detach().contiguous().cpu()
        known = [_known_image(image, options, binary=binary) for image in images]
        tables = [_joined([graph], torch.float64, images.device).to_dense() for graph in known]
        return torch.stack(tables).to(pixels.device, dtype)
    counts = torch.zeros(count * nodes, nodes, dtype=dtype, device=pixels.device)
    for rows, columns in _all_directed_edges(pixels, options):
        counts[rows, columns % nodes] += 1  # no edge is twice among them
        counts[columns, rows % nodes] += 1
    return (counts.clamp_max_(1) if binary else counts).view(count, nodes, nodes)


def _all_directed_edges(pixels: Tensor, options: GraphOptions) -> Iterator[tuple[Tensor, Tensor]]:
    """Edges from some nodes to all their near, or all their far, neighbours: (E,) nodes that they leave and reach."""
    count, height, width = pixels.shape[:3]
    nodes = height * width
    colours = colours_of(pixels, options)
    for wanted, weight in ((options.pixel_near, options.near_weight), (options.pixel_far, options.far_weight)):
        k = min(wanted, nodes - 1)
        rows = torch.arange(count * nodes, device=pixels.device)
        if pixels.device.type == "cpu" and 1 <= k <= nodes - 2:
            undecided = [rows[:0]]
            for image, colour in enumerate(colours):
                known = tree_neighbours(_points(colour, weight), k, partial(_squared_distances, colour, weight))
                found = torch.from_numpy(known.rows).repeat_interleave(k), torch.from_numpy(known.columns).flatten()
                yield found[0] + image * nodes, found[1] + image * nodes
                undecided.append(torch.from_numpy(known.open) + image * nodes)
            rows = torch.cat(undecided)
        for block in row_blocks(len(rows), _TABLES * nodes, pixels.device):
            yield _edges_from(rows[block], colours, k, weight)


def _points(colour: Tensor, weight: float) -> NDArray[np.float64]:
    """(h w, 5) float64 points (rgb, w x, w y) of an image (h, w, 3)."""
    height, width = colour.shape[:2]
    row, column = np.divmod(np.arange(height * width), width)
    place = np.stack([row / max(height - 1, 1), column / max(width - 1, 1)], 1)
    return np.concatenate([colour.flatten(0, 1).numpy(), weight * place], 1)


def _squared_distances(
    colour: Tensor, weight: float, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Those of pairs of pixels, to the bit as tables have them, so that what ties there ties here.

    Args:
        colour: of an image (h, w, 3).
        weight: of place.
        rows: (m,) pixels.
        columns: (m, k) others.
    """
    height, width = colour.shape[:2]
    down, across = max(height - 1, 1) ** 2, max(width - 1, 1) ** 2
    (row, column), (other_row, other_column) = np.divmod(rows[:, None], width), np.divmod(columns, width)
    vertical, horizontal = (row - other_row) ** 2 * across, (column - other_column) ** 2 * down
    place = (vertical.astype(np.float64) + horizontal.astype(np.float64)) / (down * across) * weight**2
    in_colour = np.zeros_like(place)
    for channel in colour.flatten(0, 1).numpy().T:
        in_colour += (channel[columns] - channel[rows][:, None]) ** 2
    return in_colour + place


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


def _edges_from(rows: Tensor, colours: Tensor, k: int, weight: float) -> tuple[Tensor, Tensor]:
    """Edges from the nodes ``rows`` of (B, h, w, 3) images to their ``k`` nearest: (E,) nodes left and reached."""
    height, width = colours.shape[1:3]
    nodes = height * width
    image, pixel = rows // nodes, rows % nodes
    distance = _place_distances(pixel, height, width).mul_(weight**2)
    in_colour = torch.zeros_like(distance)
    for channel in colours.flatten(1, 2).unbind(2):
        in_colour += channel[image].sub_(channel[image, pixel][:, None]).square_()
    closeness = in_colour.add_(distance).neg_()
    closeness.scatter_(1, pixel[:, None], float("-inf"))
    counts, neighbours, _ = largest_entries(closeness, k, float("-inf"))
    left = rows.repeat_interleave(counts, output_size=neighbours.numel())
    return left, neighbours + (left // nodes) * nodes
