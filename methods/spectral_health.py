"""How good eigenfunctions are: Rayleigh quotients, orthogonality, residuals, and angles to the exact eigenspace.

All figures are computed in float64, on a graph that training has not seen where the caller has one to spare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.graphs.kernel import DenseKernel, Kernel
from methods.health import Check
from methods.interface import PatchBatch, Spectral

MOST_EXACT_NODES = 4096  # dense float64 eigenvectors of more take minutes and gigabytes
LEAST_VARYING = 2
_AVERAGED = ("rayleigh_mean", "eigenvalue_mean")
_CONSTANT = 1e-3  # an output varies if its standard deviation is more than this part of its root mean square

Matrix = NDArray[np.float64]


def exact_eigenspace(kernel: Kernel, count: int) -> tuple[Matrix, Matrix]:
    """The ``count`` largest eigenvalues, descending, and their (N, count) orthonormal eigenvectors.

    Raises:
        ValueError: the kernel has more than ``MOST_EXACT_NODES`` nodes or fewer than ``count``.
    """
    size = kernel.size
    if not 1 <= count <= size or size > MOST_EXACT_NODES:
        raise ValueError(f"{count} exact eigenvectors of {size} nodes: expected 1 to N <= {MOST_EXACT_NODES}")
    matrix = kernel.dense().double().cpu().numpy()
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=(size - count, size - 1))
    return values[::-1].copy(), vectors[:, ::-1].copy()


def rayleigh_quotients(functions: Tensor, kernel: Kernel) -> Matrix:
    """psi_j^T kernel psi_j / psi_j^T psi_j of (N, K) functions, (K,); NaN for a function that is 0 everywhere."""
    return _quotients(*_with_image(functions, kernel))


def orthogonality_error(functions: Tensor) -> float:
    """The largest cosine between two of (N, K) functions, in absolute value; 0 for a single one."""
    unit = _unit_columns(functions.detach().double().cpu().numpy())
    gram = np.abs(unit.T @ unit)
    np.fill_diagonal(gram, 0.0)
    return float(gram.max())


def eigen_residuals(functions: Tensor, kernel: Kernel) -> Matrix:
    """|kernel psi_j - r_j psi_j| / |psi_j| with the Rayleigh quotients r_j, (K,), in units of the kernel."""
    values, image = _with_image(functions, kernel)
    return _norms(image - values * _quotients(values, image)) / _lengths(values)


def principal_angles(functions: Tensor, eigenvectors: Matrix) -> Matrix:
    """Angles in degrees, ascending, between the spans of (N, K) functions and of (N, K) eigenvectors (Golub).

    Functions that depend on each other span less than K dimensions; each dimension short counts as 90 degrees.
    """
    values = _unit_columns(functions.detach().double().cpu().numpy())
    if not np.isfinite(values).all():
        return np.full(eigenvectors.shape[1], np.nan)
    found = np.sort(np.degrees(scipy.linalg.subspace_angles(values, eigenvectors))) if values.any() else np.empty(0)
    return np.concatenate([found, np.full(eigenvectors.shape[1] - len(found), 90.0)])


def varying_functions(functions: Tensor) -> int:
    """How many of (N, K) functions are not constant. Without noise, NeuralEF's objective prefers constant outputs."""
    values = functions.detach().double()
    size = values.square().mean(0).sqrt()
    return int((values.std(0, correction=0) > _CONSTANT * size).sum())


def spectral_checks(
    functions: Tensor, kernel: Kernel, *, exact: bool = True, limits: Mapping[str, float] | None = None
) -> tuple[Check, ...]:
    """The spectral health of (N, n) functions on a kernel of N nodes.

    Names: ``varying_functions``, ``rayleigh_mean``, ``orthogonality_error``, ``residual_largest`` and, with ``exact``,
    ``eigenvalue_mean`` of the n largest eigenvalues and ``angle_largest`` in degrees. What is not finite has failed,
    and so have functions of which fewer than two vary. Outputs that are 0 everywhere are left out of quotients and
    residuals, and count as 90 degrees. Other values are for information, as a method may be published without being
    one that finds eigenfunctions, unless ``limits`` names the most allowed.
    """
    return _checks([_figures(functions, kernel, exact=exact)], functions.shape[1], limits or {})


def method_checks(
    method: Spectral, graphs: Sequence[PatchBatch], *, limits: Mapping[str, float] | None = None
) -> tuple[Check, ...]:
    """The spectral health of a fitted method on some images that it was not trained on.

    Names are those of ``spectral_checks``, and ``graph_patches``, the nodes of the largest graph. A graph of more than
    ``MOST_EXACT_NODES`` nodes, or of fewer nodes than functions, goes without exact eigenvectors.

    Args:
        method: the fitted method.
        graphs: images that make one graph each; of several graphs the worst figure counts, and the mean of Rayleigh
            quotients and eigenvalues.
        limits: the most allowed of a figure, by name.

    Raises:
        NumericalError: functions or kernel are not finite.
    """
    found, columns, most = [], 0, 0
    for batch in graphs:
        functions = method.eigenfunctions(batch).permute(0, 2, 3, 1).flatten(0, 2)
        nodes, columns = functions.shape
        most = max(most, nodes)
        found.append(_figures(functions, method.kernel(batch), exact=columns <= nodes <= MOST_EXACT_NODES))
    return Check("graph_patches", float(most), None, passed=True), *_checks(found, columns, limits or {})


def _figures(functions: Tensor, kernel: Kernel, *, exact: bool) -> dict[str, float]:
    """The figures of one graph by name; where it is decomposed, all are computed with its matrix in float64."""
    finite = bool(functions.isfinite().all())
    varying = {"varying_functions": float(varying_functions(functions)) if finite else math.nan}
    if not exact:
        return varying | _plain_figures(functions, kernel)
    wide, dense = functions.detach().double().cpu(), DenseKernel(kernel.dense().double().cpu())
    values, vectors = exact_eigenspace(dense, wide.shape[1])
    exact_figures = {
        "eigenvalue_mean": float(values.mean()),
        "angle_largest": float(principal_angles(wide, vectors)[-1]),
    }
    return varying | _plain_figures(wide, dense) | exact_figures


def _plain_figures(functions: Tensor, kernel: Kernel) -> dict[str, float]:
    """Quotients and residuals are of the functions that are not 0 everywhere: a dead output has none."""
    alive = functions[:, (functions != 0).any(0)]
    if not alive.shape[1]:
        return dict.fromkeys(("rayleigh_mean", "orthogonality_error", "residual_largest"), math.nan)
    return {
        "rayleigh_mean": float(rayleigh_quotients(alive, kernel).mean()),
        "orthogonality_error": orthogonality_error(alive),
        "residual_largest": float(eigen_residuals(alive, kernel).max()),
    }


def _checks(graphs: Sequence[Mapping[str, float]], columns: int, limits: Mapping[str, float]) -> tuple[Check, ...]:
    """One check a figure, of several graphs the worst value; NaN is the worst of all."""
    checks = []
    for name in graphs[0]:
        values = np.array([figures[name] for figures in graphs])
        if name == "varying_functions":
            checks.append(_varying_check(float(values.min()), columns))
        else:
            checks.append(_judged(name, float(values.mean() if name in _AVERAGED else values.max()), limits))
    return tuple(checks)


def _varying_check(value: float, columns: int) -> Check:
    if not math.isfinite(value):
        return Check("varying_functions", None, float(LEAST_VARYING), False, "not finite")
    enough = value >= LEAST_VARYING
    note = "" if enough else f"collapsed: {columns - int(value)} of {columns} outputs are constant"
    return Check("varying_functions", value, float(LEAST_VARYING), enough, note)


def _judged(name: str, value: float, limits: Mapping[str, float]) -> Check:
    limit = limits.get(name)
    if not math.isfinite(value):
        return Check(name, None, limit, False, "not finite")
    passed = limit is None or value <= limit
    return Check(name, value, limit, passed, "" if passed else f"{value:.3g}, expected at most {limit:.3g}")


def _with_image(functions: Tensor, kernel: Kernel) -> tuple[Matrix, Matrix]:
    """Functions and their products with the kernel, which is applied in its own precision."""
    wide = functions.detach().to(torch.promote_types(functions.dtype, torch.float32))
    return wide.double().cpu().numpy(), kernel.apply(wide).double().cpu().numpy()


def _norms(values: Matrix) -> Matrix:
    return np.asarray(np.linalg.norm(values, axis=0), dtype=np.float64)


def _lengths(values: Matrix) -> Matrix:
    """Norms of columns, NaN for a column of zeros."""
    lengths = _norms(values)
    return np.where(lengths > 0, lengths, np.nan)


def _quotients(values: Matrix, image: Matrix) -> Matrix:
    with np.errstate(invalid="ignore"):  # infinite functions give NaN, and the check that looks at it fails
        return np.asarray((values * image).sum(0) / _lengths(values) ** 2, dtype=np.float64)


def _unit_columns(values: Matrix) -> Matrix:
    return np.nan_to_num(values / _lengths(values), nan=0.0) if np.isfinite(values).all() else values * np.nan
