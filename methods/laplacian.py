"""The smallest generalised eigenpairs of graph Laplacians, (D - W) v = mu D v, without the trivial one."""

from __future__ import annotations

import math

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from spectral_bench.methods.eigensolvers import (
    DEFLATION,
    Eigenpairs,
    largest_eigenpairs,
    largest_eigenpairs_of_sparse,
    residuals,
)
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.kernel import inverse_root, normalised
from spectral_bench.methods.params import Solver


def smallest_eigenpairs(
    affinity: Tensor, count: int, *, solver: Solver = "arpack", seed: int = 0, restart_seed: int = 0
) -> Eigenpairs:
    """The ``count`` smallest eigenpairs of (D - W) v = mu D v, ascending, without the constant vector.

    They are those of the largest eigenvalues 1 - mu of D^-1/2 W D^-1/2 with v = D^-1/2 u (Shi and Malik, 2000), from
    which the constant vector is deflated: a graph of m parts that no edge joins then has m - 1 eigenvalues 0, whose
    vectors are constant on each part, and never the constant itself. These are written down rather than computed, so
    that every solver gives the same. A node without edges is in no part: its entry of every vector is 0.

    Args:
        affinity: W, (n, n) or (B, n, n) symmetric, float32 or float64, no weight negative.
        count: at least 1, and fewer than each graph has nodes with edges.
        solver: see ``largest_eigenpairs``.
        seed: of the starting vectors.
        restart_seed: of the vectors drawn later, see ``largest_eigenpairs``.

    Returns:
        Values ascending, and vectors with v^T D v = 1.

    Raises:
        NumericalError: weights are negative or not finite, nodes with edges are too few, or no convergence.
    """
    degrees = _degrees(affinity, count)
    if solver == "lobpcg" and not (affinity.ndim == 2 and affinity.dtype == torch.float64 and bool(degrees.all())):
        return _by_lobpcg(affinity, count, (seed, restart_seed))
    root = inverse_root(degrees)
    trivial = _unit(degrees.sqrt())
    # The constant vector and nodes without edges are moved to the far end of the spectrum.
    matrix = affinity * root[..., None] * root[..., None, :]
    matrix -= DEFLATION * trivial[..., None] * trivial[..., None, :]
    matrix.diagonal(dim1=-2, dim2=-1).sub_(DEFLATION * (degrees == 0))
    found = largest_eigenpairs(
        matrix, count, solver=solver, seed=seed, restart_seed=restart_seed, deflated=trivial[..., None]
    )
    mu, vectors = 1 - found.values, found.vectors
    if bool((mu[..., 0] < _zero(mu.dtype)).any()):
        mu, vectors = _with_parts(affinity, matrix, found, solver, (seed, restart_seed))
    image, computed = matrix @ vectors, mu != 0
    # Vectors that were written down belong to 1, and do not say how large the rest of the spectrum is.
    relative = residuals(image, (1 - mu) * computed, vectors * computed[..., None, :])
    absolute = (image - vectors).norm(dim=-2)
    residual = float(torch.where(computed, relative, absolute).max())
    return Eigenpairs(mu, vectors * root[..., None], residual)


def leading_eigenpairs(
    affinity: Tensor, count: int, *, solver: Solver = "arpack", seed: int = 0, restart_seed: int = 0
) -> Eigenpairs:
    """The ``count`` largest eigenpairs of D^-1/2 W D^-1/2 of a sparse graph, descending, the trivial one included.

    The vectors of eigenvalue 1, one for every part of the graph, are written down rather than computed, the heaviest
    part's first; of more parts than ``count`` the lightest are left out. A node without edges is in no part: its entry
    of every vector is 0.

    Args:
        affinity: W, (n, n) symmetric sparse CSR, float32 or float64, no weight negative.
        count: at least 1, and fewer than there are nodes with edges.
        solver: see ``largest_eigenpairs``.
        seed: of the starting vectors.
        restart_seed: of the vectors drawn later, see ``largest_eigenpairs``.

    Raises:
        NumericalError: weights are not finite, nodes with edges are too few, or no convergence.
    """
    if solver == "lobpcg" and affinity.dtype == torch.float32:
        wide = affinity.double()
        return _narrow(leading_eigenpairs(wide, count, solver=solver, seed=seed, restart_seed=restart_seed))
    matrix, parts = normalised(affinity), part_vectors(affinity)
    joined = sparse.row_sums(affinity) > 0
    if int(joined.sum()) <= count:
        raise NumericalError(f"affinity: {int(joined.sum())} nodes have an edge, too few for {count} eigenvectors")
    isolated = indicators((~joined).nonzero()[:, 0], parts)  # eigenvectors of 0
    known = parts[:, :count]
    values, vectors, residual = torch.ones_like(known[0]), known, 0.0
    if known.shape[1] < count:
        rest = count - known.shape[1]
        away = torch.cat([parts, isolated], 1)
        found = largest_eigenpairs_of_sparse(
            matrix, rest, known=away, solver=solver, seed=seed, restart_seed=restart_seed
        )
        values, vectors = torch.cat([values, found.values]), torch.cat([vectors, found.vectors * joined[:, None]], 1)
        residual = found.residual
    return Eigenpairs(values, vectors, residual)


def _degrees(affinity: Tensor, count: int) -> Tensor:
    least, most = torch.aminmax(affinity)
    if not (float(least) >= 0 and math.isfinite(float(most))):
        raise NumericalError("affinity: expected weights that are finite and not negative")
    degrees = affinity.sum(-1)
    joined = int((degrees > 0).sum(-1).min())
    if joined <= count:
        raise NumericalError(
            f"affinity: {joined} nodes have an edge, which gives {max(joined - 1, 0)} eigenvectors besides the"
            f" constant one; {count} are wanted"
        )
    return degrees


def _with_parts(
    affinity: Tensor, matrix: Tensor, found: Eigenpairs, solver: Solver, seeds: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Values and vectors with those of eigenvalue 0 written down for each graph that falls into parts."""
    size, count = found.vectors.shape[-2:]
    mu, vectors = 1 - found.values, found.vectors.clone()
    flat = zip(affinity.view(-1, size, size), matrix.view(-1, size, size), strict=True)
    for index, (weights, deflated) in enumerate(flat):
        parts = part_vectors(weights)
        zeros = _orthogonal_to_constant(weights, parts)[:, :count]
        if not zeros.shape[1]:
            continue
        values, held = mu.view(-1, count)[index], vectors.view(-1, size, count)[index]
        values[: zeros.shape[1]], held[:, : zeros.shape[1]] = 0.0, zeros
        if zeros.shape[1] < count:
            rest = deflated - DEFLATION * zeros @ zeros.T
            away = torch.cat([_unit(weights.sum(1).sqrt())[:, None], zeros], 1)
            left = count - zeros.shape[1]
            pairs = largest_eigenpairs(rest, left, solver=solver, seed=seeds[0], restart_seed=seeds[1], deflated=away)
            values[zeros.shape[1] :], held[:, zeros.shape[1] :] = 1 - pairs.values, pairs.vectors
    return mu, vectors


def _by_lobpcg(affinity: Tensor, count: int, seeds: tuple[int, int]) -> Eigenpairs:
    """The smallest eigenpairs graph by graph, in float64 and without the nodes that have no edge.

    Where the wanted eigenvalues are small, what rounding gives such a node would outweigh them.
    """
    size, found = affinity.shape[-1], []
    vectors = affinity.new_zeros(*affinity.shape[:-1], count)
    for weights, filled in zip(affinity.reshape(-1, size, size), vectors.view(-1, size, count), strict=True):
        joined = (weights.sum(1) > 0).nonzero()[:, 0]
        inner = weights if len(joined) == size else weights[joined][:, joined]
        found.append(smallest_eigenpairs(inner.double(), count, solver="lobpcg", seed=seeds[0], restart_seed=seeds[1]))
        filled[joined] = found[-1].vectors.to(vectors)
    values = torch.stack([one.values for one in found]).view(*affinity.shape[:-2], count)
    return Eigenpairs(values.to(vectors), vectors, max(one.residual for one in found))


def _narrow(pairs: Eigenpairs) -> Eigenpairs:
    return Eigenpairs(pairs.values.float(), pairs.vectors.float(), pairs.residual)


def part_vectors(weights: Tensor) -> Tensor:
    """(n, m) unit vectors D^1/2 1_c of the m parts that have edges, the heaviest first.

    They span the eigenvectors of eigenvalue 1 of D^-1/2 W D^-1/2.

    Args:
        weights: W, (n, n) symmetric, dense or sparse CSR, no weight negative.
    """
    if weights.layout == torch.sparse_csr:
        degrees, held = sparse.row_sums(weights), sparse.to_scipy(weights.cpu())
    else:
        degrees, held = weights.sum(1), csr_array(weights.cpu().numpy())
    _, labels = connected_components(held, directed=False)
    part = torch.from_numpy(labels).to(degrees.device)
    used: Tensor = torch.unique(part[degrees > 0])
    onehot = (part[:, None] == used).to(degrees)
    volumes = degrees @ onehot
    order = torch.argsort(volumes, descending=True, stable=True)
    return onehot[:, order] * degrees.sqrt()[:, None] / volumes[order].sqrt()


def indicators(nodes: Tensor, like: Tensor) -> Tensor:
    """(n, m) functions that are 1 at one of (m,) nodes each, of the rows, dtype and device of ``like``."""
    columns = torch.arange(len(nodes), device=nodes.device)
    found = like.new_zeros(len(like), len(nodes))
    found[nodes, columns] = 1
    return found


def _orthogonal_to_constant(weights: Tensor, parts: Tensor) -> Tensor:
    """(n, m - 1) orthonormal combinations of the parts' vectors without the constant: a Householder reflection's."""
    share = _unit(weights.sum(1).sqrt()) @ parts  # of the constant vector in each part
    if len(share) < 2:
        return parts[:, :0]
    mirror = share.clone()
    mirror[0] -= 1
    mirror = _unit(mirror)
    reflection = torch.eye(len(share), dtype=share.dtype, device=share.device) - 2 * mirror[:, None] * mirror
    return parts @ reflection[:, 1:]


def _unit(vector: Tensor) -> Tensor:
    length: Tensor = vector.norm(dim=-1, keepdim=True)
    return vector / length


def _zero(dtype: torch.dtype) -> float:
    """Eigenvalues below this may be 0; whether they are is decided by looking for parts."""
    return 1e-8 if dtype == torch.float64 else 1e-4
