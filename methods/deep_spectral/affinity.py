"""The graph of one image: all positive similarities of its patches, and its colour neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_bench.methods.deep_spectral.released import released_counts
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.graphs.pixels import pixel_counts
from spectral_bench.methods.inputs import unit_rows


def image_affinity(
    features: Tensor,
    pixels: Tensor,
    *,
    colour_weight: float,
    colour: GraphOptions,
    binary: bool = False,
    published: bool = False,
    power: float = 1.0,
    rescaled: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """W = max(0, F F^T)^p + lambda C of one image (Melas-Kyriazi et al., CVPR 2022, section 3.2; there p = 1).

    F holds unit vectors, so the diagonal of the first part is 1. C counts in how many of the near and far colour
    neighbourhoods of two patches the other is; a patch is no neighbour of its own, unless the graph is to be the
    published one.

    Args:
        features: (h, w, C), finite; a patch of zeros is similar to none.
        pixels: (h, w, 3), RGB in [0, 1], or as many times finer as ``colour.pixels.grid`` says.
        colour_weight: lambda; at 0 the colours are not looked at.
        colour: numbers of colour neighbours, weights of place, and what is varied of the graph of pixels.
        binary: C is 1 where any neighbourhood joins two patches.
        published: a patch is among its own neighbours, as in the released code, and ties are broken as there.
        power: p, of each similarity.
        rescaled: in the place of max(0, F F^T) stands F F^T with its least and largest value in the image moved to 0
            and 1, as in the released code of DiffCut (Couairon et al., NeurIPS 2024). Of patches that are alike up to
            rounding all similarities are 1.
        dtype: of the result, float32 or float64.

    Returns:
        (h w, h w) symmetric to rounding, no weight negative.

    Raises:
        NumericalError: pixels are not finite, or features are so large that their length overflows.
    """
    unit = unit_rows(features.flatten(0, 1).to(dtype))
    affinity = _gram(unit)
    if rescaled:
        _rescale(affinity, unit.any(1))
    affinity.clamp_min_(0)
    if power != 1:
        affinity.pow_(power)
    if colour_weight == 0:
        return affinity
    if published:
        counts = _published(pixels, colour, dtype)
        counts = counts.clamp_max_(1) if binary else counts
    else:
        counts = pixel_counts(pixels[None], options=colour, binary=binary, dtype=dtype)[0]
    return affinity.add_(counts, alpha=colour_weight)


def _rescale(gram: Tensor, present: Tensor) -> None:
    """Move the least and the largest of (n, n) similarities to 0 and 1, in place; patches without features keep 0."""
    seen = gram if bool(present.all()) else gram[present][:, present]
    if not seen.numel():
        return
    least, most = torch.aminmax(seen)
    span = most - least
    if float(span) <= 16 * torch.finfo(gram.dtype).eps:
        gram.fill_(1)
    else:
        gram.sub_(least).div_(span).clamp_max_(1)
    if seen is not gram:
        gram[~present] = 0
        gram[:, ~present] = 0


def _published(pixels: Tensor, colour: GraphOptions, dtype: torch.dtype) -> Tensor:
    """C of the released code, found on the CPU and handed to the device of the pixels."""
    if not bool(pixels.isfinite().all()):
        raise NumericalError("pixels of the graph hold NaN or infinite values")
    kinds = (colour.pixel_near, colour.near_weight), (colour.pixel_far, colour.far_weight)
    counts = released_counts(pixels.detach().float().cpu().numpy(), kinds)
    return torch.from_numpy(counts).to(pixels.device, dtype)


def _gram(rows: Tensor) -> Tensor:
    """``rows @ rows.T``. numpy sees that the factors are the same and computes half of the products."""
    if rows.device.type == "cpu":
        held = rows.numpy()
        return torch.from_numpy(held @ held.T)
    return rows @ rows.T


def all_alike(affinity: Tensor) -> bool:
    """Whether every two patches of (n, n) are joined by the same weight: no eigenvector then says more than another."""
    size = len(affinity)
    if size == 1:
        return True
    off_diagonal = affinity.flatten()[1:].view(size - 1, size + 1)[:, :-1]
    least, most = torch.aminmax(off_diagonal)
    return float(most - least) <= 16 * torch.finfo(affinity.dtype).eps * float(most)
