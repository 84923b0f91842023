from __future__ import annotations

from typing import get_args

import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh, subspace_angles
from spectra import with_spectrum
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.eigensolvers import Solver, largest_eigenpairs, residuals, tolerance
from spectral_bench.methods.errors import NumericalError

SOLVERS = list(get_args(Solver))


def decaying(size: int, seed: int = 0) -> Tensor:
    return with_spectrum(
        torch.cat([torch.tensor([0.9, 0.8, 0.65, 0.5, 0.45]), torch.linspace(0.3, -0.8, size - 5)]), seed
    )


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_solver_agrees_with_dense_double_precision(solver: Solver, dtype: torch.dtype) -> None:
    matrix = decaying(200)
    found = largest_eigenpairs(matrix.to(dtype), 5, solver=solver)
    assert found.vectors.dtype == dtype
    values, vectors = eigh(matrix.numpy())
    torch.testing.assert_close(found.values.double(), torch.from_numpy(values[:-6:-1].copy()), rtol=0, atol=1e-5)
    limit = tolerance(dtype)
    wide = found.vectors.double()
    assert float(residuals(matrix @ wide, found.values.double(), wide).max()) <= limit
    assert found.residual <= limit
    assert subspace_angles(found.vectors.double().numpy(), vectors[:, -5:]).max() < 100 * limit
    torch.testing.assert_close(found.vectors.norm(dim=0), torch.ones(5, dtype=dtype))


@given(st.integers(2, 40), st.integers(0, 2**31), st.sampled_from(SOLVERS), st.data())
@settings(deadline=None, max_examples=50)
def test_small_matrices_of_any_spectrum(size: int, seed: int, solver: Solver, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, size - 1))
    values = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    matrix = with_spectrum(values, seed)
    found = largest_eigenpairs(matrix, count, solver=solver)
    torch.testing.assert_close(found.values, values.sort(descending=True).values[:count], rtol=0, atol=1e-8)
    assert found.residual < 1e-5


@pytest.mark.parametrize("solver", SOLVERS)
def test_repeated_eigenvalues_are_all_found(solver: Solver) -> None:
    matrix = with_spectrum(torch.cat([torch.full((3,), 0.9), torch.full((2,), 0.5), torch.linspace(0.2, -1, 95)]))
    found = largest_eigenpairs(matrix, 5, solver=solver)
    torch.testing.assert_close(found.values, torch.tensor([0.9, 0.9, 0.9, 0.5, 0.5]).double(), rtol=0, atol=1e-6)
    gram = found.vectors.T @ found.vectors
    torch.testing.assert_close(gram, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_equals_its_matrices_one_by_one(solver: Solver) -> None:
    batch = torch.stack([decaying(80, seed) for seed in range(3)])
    before = batch.clone()
    together = largest_eigenpairs(batch, 4, solver=solver, seed=5)
    assert together.values.shape == (3, 4)
    assert together.vectors.shape == (3, 80, 4)
    for index in range(3):
        alone = largest_eigenpairs(batch[index], 4, solver=solver, seed=5)
        assert torch.equal(alone.values, together.values[index])
        assert torch.equal(alone.vectors, together.vectors[index])
    assert torch.equal(batch, before)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_seed_gives_the_same_bits_and_signs_are_fixed(solver: Solver) -> None:
    matrix = decaying(90)
    first, again = (largest_eigenpairs(matrix, 3, solver=solver, seed=1) for _ in range(2))
    assert torch.equal(first.vectors, again.vectors)
    peaks = first.vectors.gather(0, first.vectors.abs().argmax(0, keepdim=True))
    assert bool((peaks > 0).all())
    other = largest_eigenpairs(matrix, 3, solver=solver, seed=2)
    torch.testing.assert_close(first.vectors, other.vectors, rtol=0, atol=1e-3)


def test_the_dense_call_for_accelerators_gives_the_same() -> None:
    matrix = decaying(30)
    values, vectors = torch.linalg.eigh(matrix)
    found = largest_eigenpairs(matrix, 4, solver="eigh")
    torch.testing.assert_close(found.values, values[-4:].flip(0))
    torch.testing.assert_close((found.vectors * vectors[:, -4:].flip(1)).sum(0).abs(), torch.ones(4).double())


def test_a_solver_that_stops_early_is_an_error_not_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def stops_early(matrix: object, start: object, **_: object) -> tuple[object, object]:
        return start[0], start / (start**2).sum(0) ** 0.5  # type: ignore[index, operator]

    monkeypatch.setattr(scipy.sparse.linalg, "lobpcg", stops_early)
    monkeypatch.setattr("spectral_bench.methods.lobpcg._ROUNDS", 3)
    with pytest.raises(NumericalError, match=r"lobpcg did not converge: residual .* expected at most 1e-05"):
        largest_eigenpairs(decaying(200), 3, solver="lobpcg")


def test_arpack_giving_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_up(*_: object, **__: object) -> None:
        raise scipy.sparse.linalg.ArpackError(-9999)

    monkeypatch.setattr(scipy.sparse.linalg, "eigsh", gives_up)
    with pytest.raises(NumericalError, match="arpack did not converge"):
        largest_eigenpairs(decaying(50), 3)


@pytest.mark.parametrize("count", [0, 10, 11, -1])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"{count} eigenpairs of a matrix of 10 rows: expected 1 to 9"):
        largest_eigenpairs(torch.eye(10), count)


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match='unknown eigensolver "arpak"; did you mean "arpack"'):
        largest_eigenpairs(torch.eye(4), 1, solver="arpak")  # type: ignore[arg-type]
    with pytest.raises(NumericalError, match="holds NaN or infinite values"):
        largest_eigenpairs(torch.full((4, 4), float("nan")), 1)
