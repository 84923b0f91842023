from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

from spectral_bench.methods import exact
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.exact import ExactSpaces, exact_eigenspace, tied_eigenspace
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.kernel import DenseKernel, SparseKernel, combined


def sparse_kernel(nodes: int = 300, neighbours: int = 12, seed: int = 0) -> SparseKernel:
    features = torch.randn(nodes, 6, generator=torch.Generator().manual_seed(seed))
    return combined(feature_graph(features, neighbours=neighbours))


def twice(kernel: SparseKernel) -> SparseKernel:
    """Two copies side by side that are not joined: every eigenvalue comes twice."""
    dense = kernel.dense()
    both = torch.block_diag(dense, dense).to_sparse_csr()
    return SparseKernel(torch.sparse_csr_tensor(both.crow_indices().int(), both.col_indices().int(), both.values()))


def same_span(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.degrees(scipy.linalg.subspace_angles(one, other)).max()) < 1e-6


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 7, 30])
def test_lanczos_gives_what_lapack_gives(count: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = sparse_kernel(seed=seed)
    values, vectors = exact_eigenspace(kernel, count)
    monkeypatch.setattr(exact, "exact_eigenspace", None)  # not asked
    space = ExactSpaces().of(kernel, count)
    np.testing.assert_allclose(space.values, values, rtol=0, atol=1e-12)
    assert same_span(space.vectors, vectors)
    assert space.tied is None


def test_a_small_or_dense_graph_is_decomposed_by_lapack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "arpack", None)
    small = sparse_kernel(40)
    for kernel, count in ((small, 8), (small, 40), (DenseKernel(sparse_kernel().dense()), 3)):
        values, vectors = exact_eigenspace(kernel, count)
        space = ExactSpaces().of(kernel, count)
        np.testing.assert_allclose(space.values, values, atol=1e-12)
        assert same_span(space.vectors, vectors)


@pytest.mark.parametrize("count", [3, 4])
def test_repeated_eigenvalues_are_found_whole(count: int) -> None:
    """Of an even count both copies of each eigenvalue are in the space; an odd one cuts the last pair."""
    kernel = twice(sparse_kernel(200))
    space = ExactSpaces().of(kernel, count)
    values, vectors = exact_eigenspace(kernel, count)
    np.testing.assert_allclose(space.values, values, atol=1e-12)
    if count == 4:
        assert space.tied is None
        assert same_span(space.vectors, vectors)
    else:
        expected = tied_eigenspace(kernel, values)
        assert space.tied is not None
        assert expected is not None
        assert [part.shape for part in space.tied] == [(400, 2), (400, 2)]
        assert all(same_span(one, other) for one, other in zip(space.tied, expected, strict=True))


def test_what_lanczos_leaves_out_of_many_copies_is_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 equal eigenvalues it may give 15 and go on below them; all it gives is an eigenvector."""
    part = torch.randn(30, 6, generator=torch.Generator().manual_seed(3))
    kernel = combined(feature_graph(torch.block_diag(*[part] * 16), neighbours=8))
    values, vectors = exact_eigenspace(kernel, 16)
    monkeypatch.setattr(exact, "exact_eigenspace", None)  # not asked
    space = ExactSpaces().of(kernel, 16)
    np.testing.assert_allclose(space.values, values, rtol=0, atol=1e-12)
    assert same_span(space.vectors, vectors)
    assert space.tied is None


@pytest.mark.parametrize("kernel", [sparse_kernel(), twice(sparse_kernel(100))])
def test_a_space_is_kept_by_the_content_of_its_kernel(
    kernel: SparseKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = ExactSpaces(tmp_path)
    made = spaces.of(kernel, 5)
    (path,) = tmp_path.iterdir()
    copy = SparseKernel(kernel.matrix.clone())
    monkeypatch.setattr(exact, "_computed", None)  # read, not made
    read = spaces.of(copy, 5)
    assert np.array_equal(read.values, made.values)
    assert np.array_equal(read.vectors, made.vectors)
    assert (read.tied is None) == (made.tied is None)
    monkeypatch.undo()
    other = kernel.matrix.clone()
    other.values()[0] *= 1.5
    spaces.of(SparseKernel(other), 5)
    spaces.of(kernel, 4)
    assert len(list(tmp_path.iterdir())) == 3
    whole = path.read_bytes()
    for torn in (whole[:-40], b"", b"no archive", whole.replace(b"NUMPY", b"NUMBY")):
        path.write_bytes(torn)
        assert np.array_equal(spaces.of(kernel, 5).vectors, made.vectors)
        assert path.read_bytes() == whole
    assert len(list(tmp_path.iterdir())) == 3


def test_threads_change_no_bit() -> None:
    kernel, threads, found = sparse_kernel(600), torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            found.append(ExactSpaces().of(kernel, 10).vectors)
        finally:
            torch.set_num_threads(threads)
    assert np.array_equal(*found)


def test_a_kernel_that_is_not_finite_is_refused_before_any_iteration() -> None:
    kernel = sparse_kernel()
    kernel.matrix.values()[3] = float("nan")
    with pytest.raises(NumericalError, match="the kernel holds NaN or infinite values"):
        ExactSpaces().of(kernel, 5)
