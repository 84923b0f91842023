"""How good eigenfunctions are: Rayleigh quotients, orthogonality, residuals, and angles to the exact eigenspace.

All figures are computed in float64, on a graph that training has not seen where the caller has one to spare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.methods.exact import MOST_EXACT_NODES, ExactSpaces
from spectral_bench.methods.graphs.kernel import DenseKernel, Kernel, SparseKernel
from spectral_bench.methods.health import Check
from spectral_bench.methods.interface import PatchBatch, Spectral

LEAST_VARYING = 2
_AVERAGED = ("rayleigh_mean", "eigenvalue_mean")
_LEAST_IS_WORST = ("order",)
_MODERATE = 100  # powers of two within which squares, and sums of them, stay in range
_EQUAL = 1e-6  # difference of two Rayleigh quotients, as part of the largest, that tells no order
_CONSTANT = 1e-3  # an output varies if its standard deviation is more than this part of its root mean square

Matrix = NDArray[np.float64]


def rayleigh_quotients(functions: Tensor, kernel: Kernel) -> Matrix:
    """psi_j^T kernel psi_j / psi_j^T psi_j of (N, K) functions, (K,); NaN for a function that is 0 everywhere."""
    return _quotients(*_with_image(functions, kernel))


def order(quotients: Matrix) -> float:
    """Kendall's correlation of position and rank of (n,) Rayleigh quotients: 1 descending, -1 ascending, about 0 mixed.

    It is 1 - 2 s, s the share of all pairs whose later quotient is the larger one. Quotients that differ by less than
    1e-6 of the largest tell no order and count as being in it. NaN where one is not finite.

    Raises:
        ValueError: fewer than two quotients.
    """
    count = len(quotients)
    if count < 2:
        raise ValueError(f"order of {count} Rayleigh quotients: expected two or more")
    if not np.isfinite(quotients).all():
        return math.nan
    rises = quotients - quotients[:, None] > _EQUAL * np.abs(quotients).max()
    return 1 - 4 * int(np.triu(rises).sum()) / (count * (count - 1))


def orthogonality_error(functions: Tensor) -> float:
    """The largest cosine between two of (N, K) functions, in absolute value; 0 for a single one."""
    unit = _unit_columns(functions)
    gram = np.abs(unit.T @ unit)
    np.fill_diagonal(gram, 0.0)
    return float(gram.max())


def eigen_residuals(functions: Tensor, kernel: Kernel) -> Matrix:
    """|kernel psi_j - r_j psi_j| / |psi_j| with the Rayleigh quotients r_j, (K,), in units of the kernel."""
    return _residuals(*_with_image(functions, kernel))


def principal_angles(functions: Tensor, eigenvectors: Matrix) -> Matrix:
    """Angles in degrees, ascending, between the spans of (N, K) functions and of (N, K) eigenvectors (Golub).

    Functions that depend on each other span less than K dimensions; each dimension short counts as 90 degrees.
    """
    values = _unit_columns(functions)
    if not np.isfinite(values).all():
        return np.full(eigenvectors.shape[1], np.nan)
    found = np.sort(np.degrees(scipy.linalg.subspace_angles(values, eigenvectors))) if values.any() else np.empty(0)
    return np.concatenate([found, np.full(eigenvectors.shape[1] - len(found), 90.0)])


def nearest_eigenspace(functions: Tensor, above: Matrix, equal: Matrix) -> Matrix:
    """Of the exact eigenspaces that ties allow, the one that (N, n) functions are held against: (N, n) eigenvectors.

    It holds all r eigenvectors of larger eigenvalues, and the n - r directions among the tied ones that lie nearest to
    the functions' span.

    Args:
        functions: finite.
        above: (N, r) eigenvectors of the larger eigenvalues.
        equal: (N, t) of those that are equal, t >= n - r.
    """
    span = scipy.linalg.orth(_unit_columns(functions))
    turn = np.linalg.svd(span.T @ equal)[2]  # directions among the tied, the nearest to the span first
    return np.concatenate([above, equal @ turn[: functions.shape[1] - above.shape[1]].T], 1)


def varying_functions(functions: Tensor) -> int:
    """How many of (N, K) functions are not constant. Without noise, NeuralEF's objective prefers constant outputs."""
    values = _moderate(functions).double()
    size = values.square().mean(0).sqrt()
    return int((values.std(0, correction=0) > _CONSTANT * size).sum())


def spectral_checks(
    functions: Tensor,
    kernel: Kernel,
    *,
    exact: bool = True,
    limits: Mapping[str, float] | None = None,
    spaces: ExactSpaces | None = None,
) -> tuple[Check, ...]:
    """The spectral health of (N, n) functions on a kernel of N nodes.

    Names: ``varying_functions``, ``rayleigh_mean``, ``order`` of two functions or more, ``orthogonality_error``,
    ``residual_largest`` and, with ``exact``, ``eigenvalue_mean`` of the n largest eigenvalues and ``angle_largest`` in
    degrees. What is not finite has failed, and so have functions of which fewer than two vary, and a kernel that is 0.
    Outputs that are 0 everywhere are left out of quotients and residuals, and count as 90 degrees. Other values are for
    information, as a method may be published without being one that finds eigenfunctions, unless ``limits`` names the
    most allowed, of ``order`` the least. Where the n-th and the next eigenvalue are equal, the angle is that to the
    nearest exact eigenspace, and a note says so.

    Raises:
        NumericalError: with ``exact``, the kernel is not finite.
    """
    return _checks([_looked_at(functions, kernel, spaces or ExactSpaces(), exact=exact)], limits or {})


def method_checks(
    method: Spectral,
    graphs: Sequence[PatchBatch],
    *,
    limits: Mapping[str, float] | None = None,
    spaces: ExactSpaces | None = None,
    functions: Sequence[Tensor | None] = (),
) -> tuple[Check, ...]:
    """The spectral health of a fitted method on some images that it was not trained on.

    Names are those of ``spectral_checks``, and ``graph_patches``, the nodes of the largest graph. A graph of more than
    ``MOST_EXACT_NODES`` nodes, or of fewer nodes than functions, goes without exact eigenvectors; where others have
    them, the figures that need them are those of the others.

    Args:
        method: the fitted method.
        graphs: images that make one graph each; of several graphs the worst figure counts, and the mean of Rayleigh
            quotients and eigenvalues.
        limits: the most allowed of a figure, by name.
        spaces: where exact eigenspaces are kept; None: nowhere.
        functions: of each graph the (B, n, h, w) eigenfunctions where they are known already; empty: of none.

    Raises:
        ValueError: there are no graphs.
        NumericalError: a kernel that is to be decomposed is not finite, or the method says so of its functions or
            kernel. Functions that are not finite are no error here: their checks have failed.
    """
    if not graphs:
        raise ValueError("spectral health of no graphs: expected one or more")
    found, most, spaces = [], 0, spaces or ExactSpaces()
    for batch, known in zip(graphs, functions or [None] * len(graphs), strict=True):
        values = (method.eigenfunctions(batch) if known is None else known).permute(0, 2, 3, 1).flatten(0, 2)
        nodes, columns = values.shape
        most = max(most, nodes)
        exact = columns <= nodes <= MOST_EXACT_NODES
        found.append(_looked_at(values, spaces.kernel(method, batch), spaces, exact=exact))
    return Check("graph_patches", float(most), None, passed=True), *_checks(found, limits or {})


@dataclass(frozen=True)
class _Graph:
    """What was found on one graph: figures by name, of how many functions, and what has to be said of the kernel."""

    figures: Mapping[str, float]
    columns: int
    empty: bool
    tied: bool = False


def _looked_at(functions: Tensor, kernel: Kernel, spaces: ExactSpaces, *, exact: bool) -> _Graph:
    """The figures of one graph; where it is decomposed, all are computed on the CPU with its kernel in float64."""
    finite, columns = bool(functions.isfinite().all()), functions.shape[1]
    varying = {"varying_functions": float(varying_functions(functions)) if finite else math.nan}
    if not exact:
        return _Graph(varying | _plain_figures(functions, kernel), columns, _maps_to_zero(functions, kernel))
    wide, precise = functions.detach().double().cpu(), _in_double(kernel)
    space = spaces.of(kernel, columns)
    tied = space.tied if finite else None
    vectors = space.vectors if tied is None else nearest_eigenspace(wide, *tied)
    exact_figures = {
        "eigenvalue_mean": float(space.values.mean()),
        "angle_largest": float(principal_angles(wide, vectors)[-1]),
    }
    matrix = precise.matrix
    empty = not bool((matrix.values() if isinstance(precise, SparseKernel) else matrix).any())
    return _Graph(varying | _plain_figures(wide, precise) | exact_figures, columns, empty, tied is not None)


def _in_double(kernel: Kernel) -> SparseKernel | DenseKernel:
    """The kernel on the CPU in float64; a sparse one stays so."""
    if isinstance(kernel, SparseKernel):
        return SparseKernel(kernel.matrix.cpu().double())
    return DenseKernel(kernel.dense().double().cpu())


def _maps_to_zero(functions: Tensor, kernel: Kernel) -> bool:
    """Whether a kernel that is too large to be looked at entry by entry is 0, as far as functions and 1 can tell."""
    values = torch.nn.functional.pad(functions, (0, 1), value=1.0)
    return not _with_image(values, kernel)[1].any()


def _plain_figures(functions: Tensor, kernel: Kernel) -> dict[str, float]:
    """Quotients and residuals are of the functions that are not 0 everywhere: a dead output has none."""
    alive = functions[:, (functions != 0).any(0)]
    if not alive.shape[1]:
        return dict.fromkeys(("rayleigh_mean", "orthogonality_error", "residual_largest"), math.nan)
    values, image = _with_image(alive, kernel)
    quotients = _quotients(values, image)
    return {
        "rayleigh_mean": float(quotients.mean()),
        **({"order": order(quotients)} if len(quotients) > 1 else {}),
        "orthogonality_error": orthogonality_error(alive),
        "residual_largest": float(_residuals(values, image).max()),
    }


def _checks(graphs: Sequence[_Graph], limits: Mapping[str, float]) -> tuple[Check, ...]:
    """One check a figure, of several graphs the worst value; NaN is the worst of all."""
    checks = []
    for name in dict.fromkeys(name for graph in graphs for name in graph.figures):
        having = [graph for graph in graphs if name in graph.figures]
        values = np.array([graph.figures[name] for graph in having])
        if name == "varying_functions":
            checks.append(_varying_check(float(values.min()), having[int(values.argmin())].columns))
            continue
        check = _judged(name, _worst(name, values), limits)
        checks.append(_remarked(check, graphs))
    return tuple(checks)


def _worst(name: str, values: Matrix) -> float:
    if name in _AVERAGED:
        return float(values.mean())
    return float(values.min() if name in _LEAST_IS_WORST else values.max())


def _remarked(check: Check, graphs: Sequence[_Graph]) -> Check:
    """The check with what else is to be said of it; a kernel that is 0 on every graph has failed."""
    tied = sum(graph.tied for graph in graphs)
    if check.name == "rayleigh_mean" and all(graph.empty for graph in graphs):
        return replace(check, passed=False, note="the kernel is 0: no two patches are joined, so nothing can be learnt")
    if check.name == "angle_largest" and tied:
        where = "" if len(graphs) == 1 else f" in {tied} of {len(graphs)} graphs"
        note = f"the last eigenvalue equals the next{where}: held against the nearest exact eigenspace"
        return replace(check, note="; ".join(part for part in (check.note, note) if part))
    return check


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
    least = name in _LEAST_IS_WORST
    passed = limit is None or (value >= limit if least else value <= limit)
    note = "" if passed else f"{value:.3g}, expected at {'least' if least else 'most'} {limit:.3g}"
    return Check(name, value, limit, passed, note)


def _with_image(functions: Tensor, kernel: Kernel) -> tuple[Matrix, Matrix]:
    """Functions, of moderate size, and their products with the kernel, which is applied in its own precision."""
    wide = _moderate(functions).to(torch.promote_types(functions.dtype, torch.float32))
    return wide.double().cpu().numpy(), kernel.apply(wide).double().cpu().numpy()


def _moderate(functions: Tensor) -> Tensor:
    """Functions as they are, but for those whose squares would leave the range: these times a power of two each.

    No figure depends on the length of a function.
    """
    values = functions.detach()
    exponents = torch.frexp(values.double().abs().amax(0)).exponent
    extreme = (exponents.abs() > _MODERATE) & values.isfinite().all(0)
    if not bool(extreme.any()):
        return values
    shift = torch.where(extreme, -exponents, 0).clamp(-1000, 1000)  # twice that is out of range
    return torch.ldexp(values.double(), shift).to(values.dtype)


def _norms(values: Matrix) -> Matrix:
    return np.asarray(np.linalg.norm(values, axis=0), dtype=np.float64)


def _lengths(values: Matrix) -> Matrix:
    """Norms of columns, NaN for a column of zeros."""
    lengths = _norms(values)
    return np.where(lengths > 0, lengths, np.nan)


def _quotients(values: Matrix, image: Matrix) -> Matrix:
    with np.errstate(invalid="ignore"):  # infinite functions give NaN, and the check that looks at it fails
        return np.asarray((values * image).sum(0) / _lengths(values) ** 2, dtype=np.float64)


def _residuals(values: Matrix, image: Matrix) -> Matrix:
    return _norms(image - values * _quotients(values, image)) / _lengths(values)


def _unit_columns(functions: Tensor) -> Matrix:
    """(N, K) functions of norm 1, in float64; those that are 0 everywhere stay so, and NaN spoils all."""
    values = _moderate(functions).double().cpu().numpy()
    return np.nan_to_num(values / _lengths(values), nan=0.0) if np.isfinite(values).all() else values * np.nan
