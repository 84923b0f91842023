"""Largest eigenpairs by a subspace that Chebyshev polynomials filter (Zhou, Saad, Tiago and Chelikowsky, 2006).

All work is products of the matrix with a block of vectors and decompositions of the block, on the device of the matrix:
where a Lanczos iteration waits for the host at each of thousands of vectors, this waits a few times a filter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from spectral_bench.methods.errors import NumericalError

Product = Callable[[Tensor], Tensor]

_BEYOND = "chebyshev did not converge: its numbers went beyond their range"

_DEGREE = 20  # of a filter at most: more products between two orthonormalisations, which cost as much as several
_FILTERS = 300
_GROWTH = 1e-2  # of the largest eigenvalue's vector by a filter, in units of 1 / eps
_LANCZOS = 12  # steps that bound the lower end of the spectrum
_CLUSTERED, _BELOW = 1e-3, 1e-2  # of the spectrum: a block that ends within a cluster is damped from below it on


def block_size(count: int) -> int:
    """Vectors of the block for ``count`` eigenpairs: those beyond them let the wanted ones converge without a gap."""
    return count + max(16, count // 2)


def chebyshev(
    product: Product, start: Tensor, known: Tensor, count: int, enough: Callable[[Tensor, Tensor], bool]
) -> tuple[Tensor, Tensor]:
    """The algebraically largest eigenpairs of a symmetric operator besides known ones, descending.

    A filter is the Chebyshev polynomial that is small between the lower end of the spectrum, bounded from below by a
    few Lanczos steps (Zhou and Li, 2011), and the least Ritz value of the block, and grows above it; the filtered block
    is made orthonormal, and its Ritz pairs are looked at. A block of random vectors holds a direction of each copy of a
    repeated eigenvalue, up to as many as it has vectors. Known vectors are taken out of every product: rounding would
    bring them in, and the polynomial would make them grow. So are pairs that are found and far above all others.

    Args:
        product: (n, b) to the operator's image of its columns, (n, b).
        start: (n, m) random vectors, count < m < n - p, of the operator's dtype and on its device.
        known: (n, p) orthonormal eigenvectors that are not wanted; p may be 0.
        count: eigenpairs that are wanted.
        enough: told values (count,) and the norms (count,) of their residuals, whether to stop.

    Returns:
        (count,) values and (n, count) orthonormal vectors, as near as the filters got.

    Raises:
        NumericalError: the operator's values are out of range.
    """

    held, found = known, _Pairs(start[0, :0], start[:, :0], start[0, :0])

    def rest(block: Tensor) -> Tensor:
        image = product(block)
        return image - held @ (held.T @ image)

    low = _lower_bound(rest, start[:, 0] - known @ (known.T @ start[:, 0]))
    values, vectors, image = _ritz(rest, start, held)
    norm = float(known.shape[1] > 0)  # known eigenvalues may be as large as 1
    for _ in range(_FILTERS):
        errors = (image - vectors * values).norm(dim=0)
        if enough(torch.cat([found.values, values])[:count], torch.cat([found.errors, errors])[:count]):
            break
        low = min(low, float(values[-1]))
        norm = max(norm, -low, float(values[0]))
        if not math.isfinite(low + norm + float(errors.sum())):
            raise NumericalError(_BEYOND)
        if ready := _outstanding(values, errors, count - len(found.values)):
            found = found.with_more(values[:ready], vectors[:, :ready], errors[:ready])
            held = torch.cat([held, vectors[:, :ready]], 1)
            values, vectors, image = values[ready:], vectors[:, ready:], image[:, ready:]
        filtered = _filtered(rest, vectors, image, values, count - len(found.values), low, norm)
        if not bool(filtered.isfinite().all()):
            raise NumericalError(_BEYOND)
        values, vectors, image = _ritz(rest, filtered, held)
    return torch.cat([found.values, values])[:count], torch.cat([found.vectors, vectors], 1)[:, :count]


class _Pairs(NamedTuple):
    """Eigenpairs that are done with: (j,) values, (n, j) vectors, (j,) norms of residuals."""

    values: Tensor
    vectors: Tensor
    errors: Tensor

    def with_more(self, values: Tensor, vectors: Tensor, errors: Tensor) -> _Pairs:
        """These and more."""
        old_and_new = zip(self, (values, vectors, errors), strict=True)
        return _Pairs(*(torch.cat([old, new], -1) for old, new in old_and_new))


def _outstanding(values: Tensor, errors: Tensor, wanted: int) -> int:
    """How many leading pairs are exact but for rounding, and larger than twice all others: they would limit the degree.

    One of the wanted ones is left in any case.
    """
    sizes = values.abs()
    exact = errors <= torch.finfo(values.dtype).eps ** 0.75 * sizes
    ready = min(int(exact.long().cumprod(0).sum()), wanted - 1)
    while ready > 0 and not float(sizes[ready - 1]) > 2 * float(sizes[ready:].max()):
        ready -= 1
    return ready


def _filtered(
    product: Product, vectors: Tensor, image: Tensor, values: Tensor, count: int, low: float, norm: float
) -> Tensor:
    """A polynomial of the block, scaled so that the vector of the largest Ritz value keeps its size.

    Rounding mixes some of the largest one's vector into each column, where the polynomial makes it grow most. Its
    degree is such that it does not come to outweigh what was there.
    """
    top, last, cut = (float(values[place]) for place in (0, count - 1, -1))
    kind = torch.finfo(vectors.dtype)
    if last - cut < _CLUSTERED * (top - low):
        cut -= _BELOW * (top - low)
    half, centre = max((cut - low) / 2, 10 * kind.eps * norm, kind.tiny), (cut + low) / 2  # noise does not grow
    place = max((top - centre) / half, 1 + 1e-6)  # of the largest Ritz value, where the damped part is -1 to 1
    degree = math.acosh(_GROWTH / kind.eps) / math.acosh(place)
    first = 1 / place
    ratio, before = first, vectors
    now = (image - centre * vectors) * (first / half)
    for _ in range(max(1, min(_DEGREE, int(degree))) - 1):
        following = 1 / (2 / first - ratio)
        after = (product(now) - centre * now) * (2 * following / half) - before * (ratio * following)
        ratio, before, now = following, now, after
    return now


def _ritz(product: Product, block: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ritz values of the span of a block without ``known``, descending, their vectors and the vectors' images."""
    for _ in range(2):  # what rounding leaves of the known ones is taken out again
        block = torch.linalg.qr(block - known @ (known.T @ block)).Q
    image = product(block)
    projected = block.T @ image
    values, mixed = torch.linalg.eigh((projected + projected.T) / 2)
    values, mixed = values.flip(0), mixed.flip(1)
    return values, block @ mixed, image @ mixed


def _lower_bound(product: Product, start: Tensor) -> float:
    """A value below the spectrum: the least Ritz value of a Krylov space less the norm of what leads out of it."""
    steps = min(_LANCZOS, len(start))
    basis, projected = start.new_zeros(len(start), steps), start.new_zeros(steps, steps)
    vector, last = start, 0.0
    for step in range(steps):
        basis[:, step] = vector / vector.norm()
        image = product(basis[:, step : step + 1])[:, 0]
        found = basis.T @ image
        projected[:, step] = found
        vector = image - basis @ found
        vector = vector - basis @ (basis.T @ vector)
        last = float(vector.norm())
        if last <= 100 * torch.finfo(start.dtype).eps * float(image.norm()):  # the space is invariant
            projected = projected[: step + 1, : step + 1]
            break
    return float(torch.linalg.eigvalsh(projected, UPLO="U")[0]) - last  # below the diagonal the next vector was missing
