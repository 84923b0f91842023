"""The exact eigenspace that functions are held against: computed once a graph, and kept where a folder is at hand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from numpy.typing import NDArray

from spectral_bench.common.files import write_bytes
from spectral_bench.methods.arpack import arpack
from spectral_bench.methods.completeness import completed
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.kernel import Kernel, SparseKernel
from spectral_bench.methods.interface import offers
from spectral_bench.methods.threads import each_on_one_thread

if TYPE_CHECKING:
    from torch import Tensor

    from spectral_bench.methods.interface import PatchBatch, Spectral

MOST_EXACT_NODES = 4096  # dense float64 eigenvectors of more take minutes and gigabytes
_TIED = 1e-6  # gap between eigenvalues, as part of the largest, that single precision does not tell from none
_NODES_A_PAIR = 8  # where a graph has fewer, the dense solver is the faster one
_VERSION = "1"  # of how spaces are computed and written

Matrix = NDArray[np.float64]


def exact_eigenspace(kernel: Kernel, count: int) -> tuple[Matrix, Matrix]:
    """The ``count`` largest eigenvalues, descending, and their (N, count) orthonormal eigenvectors.

    Raises:
        ValueError: the kernel has more than ``MOST_EXACT_NODES`` nodes or fewer than ``count``.
        NumericalError: the kernel is not finite.
    """
    size = kernel.size
    if not 1 <= count <= size or size > MOST_EXACT_NODES:
        raise ValueError(f"{count} exact eigenvectors of {size} nodes: expected 1 to N <= {MOST_EXACT_NODES}")
    values, vectors = scipy.linalg.eigh(_finite(kernel), subset_by_index=(size - count, size - 1))
    return values[::-1].copy(), vectors[:, ::-1].copy()


def tied_eigenspace(kernel: Kernel, values: Matrix) -> tuple[Matrix, Matrix] | None:
    """Where the n largest eigenvalues end within equal ones, all vectors that may stand in an exact eigenspace.

    Eigenvalues count as equal if they differ by no more than 1e-6 of the largest of the n in absolute value, or than
    rounding does.

    Args:
        kernel: as for ``exact_eigenspace``.
        values: its n largest eigenvalues, descending.

    Returns:
        (N, r) eigenvectors of the r < n eigenvalues above the last, and (N, t) of all t > n - r that equal the last;
        None where the eigenvalue after the last is smaller, so that the exact eigenspace is unique.
    """
    size, count = kernel.size, len(values)
    if count == size:
        return None
    matrix = _finite(kernel)
    width = _width(values, matrix)
    (following,) = scipy.linalg.eigvalsh(matrix, subset_by_index=(size - count - 1, size - count - 1))
    if values[-1] - following > width:
        return None
    every, vectors = scipy.linalg.eigh(matrix)
    above, equal = every > values[-1] + width, np.abs(every - values[-1]) <= width
    return vectors[:, above], vectors[:, equal]


def _width(values: Matrix, matrix: Matrix) -> float:
    """Eigenvalues that differ by no more count as equal."""
    rounding = len(matrix) * np.finfo(np.float64).eps * np.abs(matrix).sum(0).max()
    return float(max(_TIED * np.abs(values).max(), rounding))


@dataclass(frozen=True)
class ExactSpace:
    """The eigenspace of the n largest eigenvalues of a kernel of N nodes.

    Attributes:
        values: (n,) eigenvalues, descending.
        vectors: (N, n) orthonormal eigenvectors.
        tied: where the last eigenvalue equals the next: see ``tied_eigenspace``.
    """

    values: Matrix
    vectors: Matrix
    tied: tuple[Matrix, Matrix] | None = None


class ExactSpaces:
    """Exact eigenspaces by the content of their kernel, kept in a folder: runs that share a graph decompose it once.

    They are computed on one thread, so that a figure does not depend on which run came first. A file that is torn is
    made anew; processes that miss the same space at once each write the same file. Sparse kernels of methods that say
    what theirs depend on are kept, too.
    """

    def __init__(self, folder: Path | None = None, code: str = "") -> None:
        """Args:
        folder: where spaces and kernels are kept; None: nowhere.
        code: names the code that makes kernels, of which no other is given those that it made.
        """
        self.folder = folder
        self._code = code

    def kernel(self, method: Spectral, batch: PatchBatch) -> Kernel:
        """The kernel of a method on a batch, found once for all runs of its class with the same ``kernel_settings``.

        Settings of other than plain values, of which ``repr`` may not tell all, keep nothing.

        Raises:
            NumericalError: as ``method.kernel``.
        """
        settings: object = getattr(method, "kernel_settings", None)
        its_own = settings is not None and offers(method, "kernel_settings", ("kernel",))
        if self.folder is None or not (its_own and _is_plain(settings)):
            return method.kernel(batch)
        seen = batch.shared("content", lambda: _content(batch))
        known_by = _VERSION, self._code, type(method).__qualname__, settings, seen
        name = hashlib.blake2b(repr(known_by).encode(), digest_size=16).hexdigest()
        path = self.folder / f"kernel-{name}.npz"
        known = _read_kernel(path)
        if known is not None:
            return SparseKernel(known.matrix.to(batch.pixels.device))
        kernel = method.kernel(batch)
        if type(kernel) is SparseKernel:  # of a class of its own, the matrix may not be all
            write_bytes(path, _written_kernel(kernel.matrix))
        return kernel

    def of(self, kernel: Kernel, count: int) -> ExactSpace:
        """The space of the ``count`` largest eigenvalues.

        Raises:
            ValueError: as for ``exact_eigenspace``.
            NumericalError: the kernel is not finite.
        """
        path = None if self.folder is None else self.folder / f"{_digest(kernel, count)}.npz"
        known = None if path is None else _read(path)
        if known is not None:
            return known
        (space,) = each_on_one_thread(lambda one: _computed(one, count), [kernel])
        if path is not None:
            write_bytes(path, _written(space))
        return space


def _is_plain(settings: object) -> bool:
    """Whether ``repr`` tells all of settings, as it does not of tensors, arrays and most objects."""
    if isinstance(settings, dict):
        return all(map(_is_plain, (*settings, *settings.values())))
    if isinstance(settings, (tuple, list)):
        return all(map(_is_plain, settings))
    return settings is None or isinstance(settings, (bool, int, float, str))


def _computed(kernel: Kernel, count: int) -> ExactSpace:
    size, matrix = kernel.size, _finite(kernel)
    if count == size:
        return ExactSpace(*exact_eigenspace(kernel, count))
    iterates = isinstance(kernel, SparseKernel) and _NODES_A_PAIR * (count + 1) <= size <= MOST_EXACT_NODES
    values, vectors = (_by_lanczos if iterates else exact_eigenspace)(kernel, count + 1)
    if values[count - 1] - values[count] > _width(values[:count], matrix):
        return ExactSpace(values[:count].copy(), vectors[:, :count].copy())
    values, vectors = exact_eigenspace(kernel, count)
    return ExactSpace(values, vectors, tied_eigenspace(kernel, values))


def _by_lanczos(kernel: Kernel, count: int) -> tuple[Matrix, Matrix]:
    """As ``exact_eigenspace``, of a sparse kernel: to rounding, and shown to leave out none."""
    assert isinstance(kernel, SparseKernel)
    held = sparse.to_scipy(kernel.matrix.double().cpu())
    held = scipy.sparse.tril(held) + scipy.sparse.tril(held, -1).T.tocsr()  # rounding differs; LAPACK reads this half
    dense = held.toarray()
    generator = np.random.default_rng(0)
    start = generator.standard_normal(kernel.size)
    try:
        pairs = arpack(held, count, start=start, generator=generator, tolerance=0.0)
        values, vectors = completed(dense, *pairs, generator=generator)
    except NumericalError:  # clustered eigenvalues can keep it from convergence to rounding, which LAPACK reaches
        return exact_eigenspace(kernel, count)
    return values.astype(np.float64, copy=False), vectors.astype(np.float64, copy=False)


def _finite(kernel: Kernel) -> Matrix:
    """The kernel's (N, N) matrix in float64. Raises ``NumericalError`` where it is not finite."""
    matrix: Matrix = kernel.dense().double().cpu().numpy()
    if not np.isfinite(matrix).all():
        raise NumericalError("the kernel holds NaN or infinite values")
    return matrix


def _digest(kernel: Kernel, count: int) -> str:
    """Of all that a space depends on."""
    digest = hashlib.blake2b(f"{_VERSION} {count} {kernel.size}".encode(), digest_size=16)
    matrix = kernel.matrix if isinstance(kernel, SparseKernel) else None
    parts = (kernel.dense(),) if matrix is None else (matrix.crow_indices(), matrix.col_indices(), matrix.values())
    for part in parts:
        held = part.detach().cpu().contiguous()
        digest.update(str(held.dtype).encode())
        digest.update(held.numpy().data)
    return digest.hexdigest()


def _content(batch: PatchBatch) -> str:
    """Of all that a kernel may depend on, and of the kind of device, whose sums have last bits of their own."""
    digest = hashlib.blake2b(f"{batch.pixels.device.type} {len(batch)} {batch.grid}".encode(), digest_size=16)
    for part in (*batch.features, batch.pixels, batch.antialiased, batch.fine):
        if part is not None:
            held = part.detach().cpu().contiguous()
            digest.update(f"{held.dtype} {tuple(held.shape)}".encode())
            digest.update(held.numpy().data)
    return digest.hexdigest()


def _written_kernel(matrix: Tensor) -> bytes:
    crow, col, values = (part.cpu().numpy() for part in (matrix.crow_indices(), matrix.col_indices(), matrix.values()))
    stream = BytesIO()
    np.savez(stream, crow=crow, col=col, values=values)
    return stream.getvalue()


def _read_kernel(path: Path) -> SparseKernel | None:
    """A kernel that was kept; None where there is none, or where its file is torn."""
    try:
        with np.load(path, allow_pickle=False) as held:
            return SparseKernel(sparse.csr(*(torch.from_numpy(held[name]) for name in ("crow", "col", "values"))))
    except Exception:  # as for spaces
        return None


def _written(space: ExactSpace) -> bytes:
    above, equal = space.tied or (np.empty((0, 0)), np.empty((0, 0)))
    stream = BytesIO()
    np.savez(stream, values=space.values, vectors=space.vectors, above=above, equal=equal)
    return stream.getvalue()


def _read(path: Path) -> ExactSpace | None:
    """A space that was kept; None where there is none, or where its file is torn."""
    try:
        with np.load(path, allow_pickle=False) as held:
            values, vectors, above, equal = (held[name] for name in ("values", "vectors", "above", "equal"))
    except Exception:  # what a reader makes of a torn or altered archive is of almost any kind
        return None
    return ExactSpace(values, vectors, (above, equal) if equal.size else None)
