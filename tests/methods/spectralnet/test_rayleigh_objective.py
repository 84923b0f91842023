"""SpectralNet's loss and gradient against float64 autograd of the objective as it is written, and its average."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.spectralnet.objective import rayleigh_terms
from spectral_bench.methods.spin.averages import CovarianceAverage

CPU = torch.device("cpu")


def problem(seed: int, functions: int = 3, points: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Functions, an affinity and its normalised Laplacian, float64."""
    generator = torch.Generator().manual_seed(seed)
    affinity = torch.rand(points, points, generator=generator, dtype=torch.float64)
    affinity = affinity + affinity.T
    root = affinity.sum(0).rsqrt()
    laplacian = torch.eye(points, dtype=torch.float64) - root[:, None] * affinity * root
    return torch.randn(points, functions, generator=generator, dtype=torch.float64), affinity, laplacian


def written(u: Tensor, affinity: Tensor, covariance: Tensor) -> Tensor:
    """sum_ij A_ij |y_i / d_i^1/2 - y_j / d_j^1/2|^2 / (2 N), Y = u C^-T, C C^T the covariance."""
    y = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), u.T, upper=False).T
    scaled = y / affinity.sum(0).sqrt()[:, None]
    return (affinity * (scaled[:, None] - scaled[None]).square().sum(-1)).sum() / (2 * len(u))


def gradient(u: Tensor, laplacian: Tensor, average: CovarianceAverage | None = None) -> tuple[Tensor, Tensor]:
    leaf = u.clone().requires_grad_()
    loss = rayleigh_terms(leaf, laplacian @ u, average).loss
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), functions=st.integers(1, 5))
def test_without_an_average_the_gradient_passes_through_the_batchs_own_factor(seed: int, functions: int) -> None:
    u, affinity, laplacian = problem(seed, functions)
    leaf = u.clone().requires_grad_()
    literal = written(leaf, affinity, leaf.T @ leaf / len(u))
    loss, found = gradient(u, laplacian)
    torch.testing.assert_close(loss, literal.detach())
    torch.testing.assert_close(found, torch.autograd.grad(literal, leaf)[0], rtol=1e-6, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), functions=st.integers(1, 5))
def test_with_one_the_factor_is_a_constant_and_outputs_are_not_shrunk(seed: int, functions: int) -> None:
    u, affinity, laplacian = problem(seed, functions)
    before, _, _ = problem(seed + 1, functions)
    average = CovarianceAverage(functions, 0.7, CPU)
    gradient(before, laplacian, average)
    leaf = u.clone().requires_grad_()
    literal = written(leaf, affinity, before.T @ before / len(before))
    loss, found = gradient(u, laplacian, average)
    torch.testing.assert_close(loss, literal.detach())
    (whole,) = torch.autograd.grad(literal, leaf)
    within = u @ torch.linalg.pinv(u) @ whole
    torch.testing.assert_close(found, whole - within, rtol=1e-6, atol=1e-9)


def test_the_average_is_the_weighted_mean_and_the_first_batch_takes_its_own() -> None:
    average = CovarianceAverage(2, 0.6, CPU)
    sigmas = [torch.diag(torch.tensor([float(i), 1.0], dtype=torch.float64)) for i in range(1, 5)]
    given_ = [average.next(sigma) for sigma in sigmas]
    assert torch.equal(given_[0], sigmas[0])
    weights = torch.tensor([0.36, 0.6, 1.0], dtype=torch.float64)
    expected = sum(w * s for w, s in zip(weights / weights.sum(), sigmas[:3], strict=True))
    torch.testing.assert_close(given_[3], expected)
    restored = CovarianceAverage(2, 0.6, CPU)
    restored.load_state_dict(average.state_dict())
    assert torch.equal(restored.next(sigmas[0]), average.next(sigmas[0]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        CovarianceAverage(2, 0.0, CPU)


def test_the_loss_is_of_the_span_alone_and_at_rest_on_an_eigenspace() -> None:
    u, _, laplacian = problem(0)
    mix = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(gradient(u @ mix, laplacian)[0], gradient(u, laplacian)[0])
    values, vectors = torch.linalg.eigh(laplacian)
    loss, found = gradient(vectors[:, :3] @ mix, laplacian)
    torch.testing.assert_close(loss, values[:3].sum())
    assert found.abs().max() < 1e-10
    terms = rayleigh_terms(vectors[:, :3] @ mix, laplacian @ vectors[:, :3] @ mix)
    torch.testing.assert_close(terms.quotients, values[:3])


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_descent_finds_the_eigenspace_of_a_small_graph(decay: float) -> None:
    u, affinity, _ = problem(2)
    affinity[:12, 12:] *= 0.1  # two halves, so that there is a gap
    affinity[12:, :12] *= 0.1
    root = affinity.sum(0).rsqrt()
    laplacian = torch.eye(24, dtype=torch.float64) - root[:, None] * affinity * root
    values, vectors = torch.linalg.eigh(laplacian)
    u, average = u[:, :2], CovarianceAverage(2, decay, CPU) if decay else None
    for _ in range(600):
        u = u - 0.5 * gradient(u, laplacian, average)[1]
    overlap = torch.linalg.qr(u).Q.T @ vectors[:, :2]
    assert values[2] - values[1] > 0.3
    assert torch.linalg.svdvals(overlap).min() > 0.9999


def test_what_is_not_finite_or_dependent_is_refused() -> None:
    u, _, laplacian = problem(0)
    broken = u.clone()
    broken[3, 1] = float("nan")
    average = CovarianceAverage(3, 0.5, CPU)
    with pytest.raises(NumericalError, match="the functions of SpectralNet hold NaN"):
        rayleigh_terms(broken, laplacian @ u, average)
    with pytest.raises(NumericalError, match="image of the functions of SpectralNet holds NaN"):
        rayleigh_terms(u, broken, average)
    assert int(average.batches) == 0
    u[:, 2] = u[:, 0]
    with pytest.raises(NumericalError, match="function 3 of the 3 functions of SpectralNet is 0 or a combination"):
        rayleigh_terms(u, laplacian @ u)
