"""Pixel graphs beside the published one: colours in CIELAB, several scales, no edge across a strong gradient, and
edges of pixels finer than patches, summed into patches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.methods.graphs.options import GraphOptions

Matrix = NDArray[np.float64]
Directed = Callable[[Tensor], scipy.sparse.csr_array]

_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)  # linear sRGB to CIE XYZ under D65 (IEC 61966-2-1)


def cielab(pixels: Tensor) -> Tensor:
    """sRGB in [0, 1], (..., 3), to CIELAB under D65, divided by 100: lightness in [0, 1] (CIE 15).

    The white is that of sRGB's own (1, 1, 1), so that greys have a = b = 0 but for rounding.

    Returns:
        (..., 3) float64 (L*, a*, b*) / 100.
    """
    value = pixels.detach().double()
    linear = torch.where(value <= 0.04045, value / 12.92, ((value.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
    matrix = torch.tensor(_TO_XYZ, dtype=torch.float64, device=value.device)
    ratio = linear @ (matrix / matrix.sum(1, keepdim=True)).T
    edge = 6 / 29
    x, y, z = torch.where(ratio > edge**3, ratio.clamp_min(edge**3) ** (1 / 3), ratio / (3 * edge**2) + 4 / 29).unbind(
        -1
    )
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1) / 100


def varied_graph(image: Tensor, options: GraphOptions, directed: Directed, *, binary: bool) -> scipy.sparse.csr_array:
    """The affinity of the patches of one image, of g x g pixels each: the sum over scales of the graphs of pixels.

    At scale s the image is averaged over blocks of s x s pixels (smaller ones at the border). The graph of the blocks,
    found like that of pixels, loses its edges across strong gradients; an edge of two blocks then joins each pixel of
    the one to each of the other with 1 / s^2 of its weight, so that all scales count alike in the degree of a pixel.

    Two patches are joined by the sum of the weights between their pixels over g^2: with the edges inside of it, the
    degree of a patch would be the mean of its pixels'. These are left out: a patch is no neighbour of itself. At g = 1
    patches are pixels.

    Args:
        image: (g h, g w, 3) on the CPU, RGB in [0, 1].
        options: scales 1, 2, 4, ..., the share of strong gradients, and the grid g.
        directed: gives the (n, n) numbers of neighbourhoods, near and far, of pixels that hold others.
        binary: two pixels or blocks are joined by 1, or by the number of neighbourhoods that join them, 1 to 4.

    Returns:
        (h w, h w) float64, symmetric, sorted, without diagonal.
    """
    height, width = image.shape[:2]
    grid = options.pixels.grid
    patches = _owners(height, width, grid)
    nodes = int(patches[-1]) + 1
    total = scipy.sparse.csr_array((nodes, nodes), dtype=np.float64)
    for level in range(options.pixels.scales):
        size = 2**level
        small = _averaged(image, size)
        numbers = directed(small)
        joined = (numbers + numbers.T).astype(np.float64).tocsr()
        if binary:
            joined.data[:] = 1
        if options.pixels.cut > 0:
            joined = _without_crossings(joined, small, options)
        parts = np.ones(len(patches)), (patches, _owners(height, width, size))  # how many pixels a patch has of a block
        blocks = scipy.sparse.coo_array(parts, (nodes, joined.shape[0])).tocsr()
        total = total + blocks @ joined @ blocks.T / (size * grid) ** 2
    total = total.tocsr()
    if grid > 1:
        total = scipy.sparse.csr_array(total - scipy.sparse.diags_array(total.diagonal()))
        total.eliminate_zeros()
    total.sort_indices()
    return total


def _owners(height: int, width: int, size: int) -> NDArray[np.int64]:
    """(h w,) the block of size x size pixels, smaller ones at the border, that each pixel of an image lies in."""
    rows, columns = np.arange(height)[:, None] // size, np.arange(width) // size
    owners: NDArray[np.int64] = (rows * -(-width // size) + columns).flatten()
    return owners


def _averaged(image: Tensor, size: int) -> Tensor:
    """(ceil(h / size), ceil(w / size), 3) means of blocks of the image, float64; of size 1 the image itself."""
    if size == 1:
        return image
    planes = image.double().permute(2, 0, 1)[None]
    means = torch.nn.functional.avg_pool2d(planes, size, ceil_mode=True, count_include_pad=False)
    return means[0].permute(1, 2, 0).contiguous()


def _without_crossings(joined: scipy.sparse.csr_array, image: Tensor, options: GraphOptions) -> scipy.sparse.csr_array:
    """The graph without the edges whose line, their two ends left out, meets a pixel of strong gradient.

    The cue of intervening contours (Leung and Malik, ECCV 1998), with a threshold in the place of their weight.
    """
    strong = strong_gradients(colours_of(image, options).numpy(), options.pixels.cut)
    edges = joined.tocoo()
    width = image.shape[1]
    (down, right), (other_down, other_right) = np.divmod(edges.row, width), np.divmod(edges.col, width)
    steps = np.maximum(np.abs(other_down - down), np.abs(other_right - right))
    kept = np.ones(len(steps), dtype=bool)
    for step in range(1, int(steps.max(initial=0))):
        on = np.flatnonzero((steps > step) & kept)
        count = steps[on]
        # The same pixel from either end: halves go up in both.
        row, column = (
            (2 * (first[on] * (count - step) + last[on] * step) + count) // (2 * count)
            for first, last in ((down, other_down), (right, other_right))
        )
        kept[on] = ~strong[row, column]
    parts = edges.data[kept], (edges.row[kept], edges.col[kept])
    return scipy.sparse.coo_array(parts, joined.shape).tocsr()


def strong_gradients(colours: Matrix, share: float) -> NDArray[np.bool_]:
    """(h, w) pixels whose gradient is longer than that of all but a share of the image's pixels, ties left out.

    The gradient is of all colours, by differences of the pixels on both sides (at the border of the pixel and the one
    beside it); its square is summed over colours and directions.
    """
    squares = np.zeros(colours.shape[:2])
    for axis in (0, 1):
        if colours.shape[axis] > 1:
            squares += np.square(np.gradient(colours, axis=axis)).sum(-1)
    ranked = np.sort(squares, axis=None)[::-1]
    least = ranked[min(int(share * ranked.size), ranked.size - 1)]
    found: NDArray[np.bool_] = squares > least
    return found


def colours_of(pixels: Tensor, options: GraphOptions) -> Tensor:
    """(..., 3) float64 colours that neighbours are found by."""
    return cielab(pixels) if options.pixels.colours == "lab" else pixels.detach().double()
