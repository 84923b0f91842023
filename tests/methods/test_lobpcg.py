"""Conjugate gradients on the graphs of images, against dense float64."""

from __future__ import annotations

import threading
import warnings
from typing import Any, get_args

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from scipy.linalg import eigh, subspace_angles
from torch import Tensor

from spectral_bench.methods.deep_spectral.affinity import image_affinity
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.eigensolvers import Solver, largest_eigenpairs, tolerance
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.laplacian import smallest_eigenpairs

SIDE = 30
COUNT = 14


def image(noise: float, colour_weight: float) -> Tensor:
    """The float32 graph of blocks of 5 x 5 patches in eight kinds, whose features differ from 1 by the noise."""
    generator = torch.Generator().manual_seed(0)
    kinds = (
        torch.randint(8, (SIDE // 5, SIDE // 5), generator=generator).repeat_interleave(5, 0).repeat_interleave(5, 1)
    )
    centres, colours = torch.randn(8, 64, generator=generator), torch.rand(8, 3, generator=generator)
    features = 1 + noise * (centres[kinds] + 0.5 * torch.randn(SIDE, SIDE, 64, generator=generator))
    pixels = (colours[kinds] + 0.05 * torch.rand(SIDE, SIDE, 3, generator=generator)).clamp(0, 1)
    colour = GraphOptions(pixel_near=20, pixel_far=10, near_weight=2.0, far_weight=0.1)
    return image_affinity(features, pixels, colour_weight=colour_weight, colour=colour)


def rounding(dtype: torch.dtype, nodes: int) -> float:
    """How far the eigenvalues of two backward stable solvers may be apart: storing in ``dtype``, solving in float64."""
    return 2 * torch.finfo(dtype).eps + 2 * nodes * torch.finfo(torch.float64).eps


def reference(affinity: Tensor, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Values and vectors without the trivial ones in dense float64, and the roots of the degrees."""
    weights = affinity.double().numpy()
    degrees = weights.sum(1)
    values, vectors = eigh(np.diag(degrees) - weights, np.diag(degrees))
    return values[1 : count + 1], vectors[:, 1 : count + 1], np.sqrt(degrees)[:, None]


@pytest.mark.parametrize("solver", get_args(Solver))
@pytest.mark.parametrize("noise", [0.5, 0.2, 0.03])
def test_every_solver_converges_on_images_with_colours_in_float32(solver: Solver, noise: float) -> None:
    affinity = image(noise, DeepSpectralParams().colour_weight)
    found = smallest_eigenpairs(affinity, COUNT, solver=solver)
    assert found.vectors.dtype == torch.float32
    assert found.residual <= 1e-4
    values, vectors, root = reference(affinity, COUNT)
    np.testing.assert_allclose(found.values.double().numpy(), values, rtol=0, atol=1e-5)
    exact = np.degrees(subspace_angles(found.vectors.double().numpy() * root, vectors * root).max())
    assert exact < 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [0.1, 0.01])
def test_vectors_are_right_where_patches_are_nearly_alike(noise: float, dtype: torch.dtype) -> None:
    """All eigenvalues but the trivial one are down to 3e-5: a residual of 1e-6 of the norm would say nothing."""
    affinity = image(noise, 0.0)
    found = smallest_eigenpairs(affinity.to(dtype), COUNT, solver="lobpcg")
    values, vectors, root = reference(affinity, COUNT)
    assert (1 - values).max() < 2 * noise**2
    assert found.residual <= tolerance(dtype)
    assert np.degrees(subspace_angles(found.vectors.double().numpy() * root, vectors * root).max()) < 0.5
    error = np.abs(found.values.double().numpy() - values).max()
    assert error <= 1e-4 * (1 - values).max() + rounding(dtype, SIDE**2)


def test_vectors_are_right_where_two_halves_of_alike_patches_are_loosely_joined() -> None:
    """One eigenvalue of 0.98 and all others below 4e-5: each residual is held to its own."""
    generator = torch.Generator().manual_seed(0)
    kinds, centres = torch.randint(8, (400,), generator=generator), torch.randn(8, 64, generator=generator)
    features = 0.01 * (centres[kinds] + 0.5 * torch.randn(400, 64, generator=generator))
    features[:200, 0] += 8
    features[200:, :2] += torch.tensor([0.08, 8.0])
    unit = torch.nn.functional.normalize(features, dim=1)
    affinity = (unit @ unit.T).clamp_min(0)
    values, vectors, root = reference(affinity, COUNT)
    assert 1 - values[0] > 0.9
    assert 1 - values[1] < 1e-4
    found = smallest_eigenpairs(affinity, COUNT, solver="lobpcg")
    assert np.degrees(subspace_angles(found.vectors.double().numpy() * root, vectors * root).max()) < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [0.3, 0.01])
def test_nodes_without_edges_do_not_disturb_the_others(noise: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    centres, kinds = torch.randn(5, 32, generator=generator), torch.randint(5, (324,), generator=generator)
    features = 1 + noise * (centres[kinds] + 0.5 * torch.randn(324, 32, generator=generator))
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    unit[:40] = 0
    affinity = (unit @ unit.T).clamp_min(0)
    batch = torch.stack([affinity, affinity.flip(0, 1)]).to(dtype)
    found = smallest_eigenpairs(batch, COUNT, solver="lobpcg")
    values, vectors, root = reference(batch[0, 40:, 40:], COUNT)
    assert found.vectors.dtype == dtype
    for got, kept in zip(found.vectors, (slice(40, None), slice(None, -40)), strict=True):
        inner = got[kept].double().numpy()[:: 1 if kept.start else -1]
        assert np.degrees(subspace_angles(inner * root, vectors * root).max()) < 0.5
        assert int((got != 0).any(1).sum()) == 284
    np.testing.assert_allclose(found.values[0].double().numpy(), values, rtol=0, atol=rounding(dtype, 284))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_spectrum_that_is_mostly_zero_converges(dtype: torch.dtype) -> None:
    """Features in six directions: of 14 eigenvalues nine are 0, and any vectors of their space will do."""
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.rand(6, 16, generator=generator, dtype=torch.float64), dim=1)
    rows = unit[torch.randint(6, (300,), generator=generator)]
    affinity = rows @ rows.T
    found = smallest_eigenpairs(affinity.to(dtype), COUNT, solver="lobpcg")
    values = reference(affinity, COUNT)[0]
    assert found.residual <= tolerance(dtype)
    np.testing.assert_allclose(
        found.values.double().numpy(), values, rtol=0, atol=14 * torch.finfo(dtype).eps + rounding(dtype, 300)
    )


def test_a_residual_is_relative_to_the_largest_wanted_eigenvalue(monkeypatch: pytest.MonkeyPatch) -> None:
    affinity = image(0.1, 0.0).double()
    inner = scipy.sparse.linalg.lobpcg

    def stops_early(matrix: Any, start: Any, **options: Any) -> Any:
        return inner(matrix, start, **{**options, "maxiter": 1})

    monkeypatch.setattr(scipy.sparse.linalg, "lobpcg", stops_early)
    monkeypatch.setattr("spectral_bench.methods.lobpcg._ROUNDS", 2)
    with pytest.raises(NumericalError, match=r"lobpcg did not converge: residual .*, expected at most 1e-05"):
        smallest_eigenpairs(affinity, COUNT, solver="lobpcg")


@pytest.mark.parametrize("spoilt", [np.linalg.LinAlgError("singular"), None])
def test_a_block_that_degenerates_is_an_error(monkeypatch: pytest.MonkeyPatch, spoilt: Exception | None) -> None:
    def degenerates(matrix: Any, start: Any, **_: Any) -> Any:
        if spoilt is not None:
            raise spoilt
        return start[0], np.full_like(start, np.nan)

    monkeypatch.setattr(scipy.sparse.linalg, "lobpcg", degenerates)
    with pytest.raises(NumericalError, match="lobpcg did not converge: "):
        smallest_eigenpairs(image(0.5, 0.0), 4, solver="lobpcg")


def test_threads_leave_the_filters_of_warnings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thread comes out of scipy while the second is still in: each would restore what it had found."""
    inner, inside, first_done = scipy.sparse.linalg.lobpcg, threading.Barrier(2), threading.Event()
    met = threading.local()

    def in_turn(*args: Any, **options: Any) -> Any:
        if not hasattr(met, "yes"):
            met.yes = True
            inside.wait(300)
        if threading.current_thread().name == "second":
            first_done.wait(300)
        return inner(*args, **options)

    def first() -> None:
        solve()
        first_done.set()

    def solve() -> None:
        largest_eigenpairs(matrix, 2, solver="lobpcg")

    generator = torch.Generator().manual_seed(0)
    matrix = torch.diag(torch.rand(60, generator=generator)).double()
    monkeypatch.setattr(scipy.sparse.linalg, "lobpcg", in_turn)
    before = list(warnings.filters)
    threads = [threading.Thread(target=first, name="first"), threading.Thread(target=solve, name="second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
