"""Functions of a span are turned into single eigenfunctions, with less noise than an average alone has."""

import pytest
import torch
from torch import Tensor

from spectral_bench.methods.separation import separation
from spectral_bench.methods.spin.spectrum import whitening


def cosines(rotation: Tensor) -> Tensor:
    """Of each column with the unit vector of its place."""
    return rotation.diagonal().abs()


def turn(size: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(
        torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ).Q


def test_a_rotated_span_is_turned_back_and_ordered() -> None:
    values = torch.tensor([0.9, 0.5, 0.2, -0.3], dtype=torch.float64)
    mixed = turn(4)
    pi = mixed @ torch.diag(values) @ mixed.T
    rotation, found = separation(torch.eye(4, dtype=torch.float64)[None], pi[None])
    torch.testing.assert_close(found, values)
    torch.testing.assert_close((mixed.T @ rotation).abs(), torch.eye(4, dtype=torch.float64), atol=1e-8, rtol=0)


def test_of_one_batch_near_the_average_it_is_its_own_generalised_problem() -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(4, 4, generator=generator, dtype=torch.float64) * 1e-3
    sigma = torch.eye(4, dtype=torch.float64) + noise + noise.T
    pi = torch.diag(torch.tensor([0.9, 0.88, 0.86, 0.84], dtype=torch.float64)) + (noise + noise.T) * 0.5
    rotation, _ = separation(sigma[None], pi[None])
    white = whitening(sigma)
    exact = (white.T @ torch.linalg.eigh(white @ pi @ white.T).eigenvectors).flip(1)
    unit = exact / exact.norm(dim=0)
    assert (rotation * unit).sum(0).abs().min() > 0.9999


def sampled(kernel: Tensor, functions: Tensor, batches: int, points: int) -> tuple[Tensor, Tensor]:
    """Moments of batches of uniform draws from a population whose (M, M) kernel and (M, n) functions are given."""
    generator = torch.Generator().manual_seed(0)
    sigmas, pis = [], []
    for _ in range(batches):
        drawn = torch.randint(len(kernel), (points,), generator=generator)
        y = functions[drawn]
        sigmas.append(y.T @ y / points)
        pis.append(y.T @ kernel[drawn][:, drawn] @ y / points**2)
    return torch.stack(sigmas), torch.stack(pis)


def test_what_is_known_of_the_noise_is_taken_off() -> None:
    """A Gaussian kernel on the line, of which two eigenvalues are close: the mean of Y' K Y is further off."""
    x = torch.linspace(0, 1, 400, dtype=torch.float64)
    kernel = torch.exp(-((x[:, None] - x) ** 2) / 0.02)
    values, vectors = torch.linalg.eigh(kernel / 400)
    functions = vectors.flip(1)[:, :6] * 20  # mean square 1
    mixed = functions @ turn(6, 1)
    sigmas, pis = sampled(kernel, mixed, 48, 96)
    rotation, found = separation(sigmas, pis)
    plain = torch.linalg.eigh(pis.mean(0)).eigenvectors.flip(1)
    ours, alone = (cosines(turn(6, 1) @ r) for r in (rotation, plain))
    assert (1 - ours).max() < 0.2 * (1 - alone).max()
    assert ours.min() > 0.99
    torch.testing.assert_close(found, values.flip(0)[:6], atol=0.02, rtol=0)


def test_noise_that_the_functions_do_not_share_is_left_alone() -> None:
    """Y' K Y that is exact in every batch: nothing of Y' Y may be taken off."""
    values = torch.diag(torch.tensor([0.8, 0.79, 0.5], dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20, 3, 3, generator=generator, dtype=torch.float64) * 0.1
    sigmas = torch.eye(3, dtype=torch.float64) + noise + noise.mT
    rotation, found = separation(sigmas, values.expand(20, 3, 3))
    torch.testing.assert_close(found, values.diagonal())
    assert cosines(rotation).min() > 1 - 1e-12


def test_noise_of_pairs_is_taken_off_too() -> None:
    """Of the same kernel, with fewer batches: what the first order leaves turns the functions of close eigenvalues."""
    x = torch.linspace(0, 1, 400, dtype=torch.float64)
    kernel = torch.exp(-((x[:, None] - x) ** 2) / 0.02)
    functions = torch.linalg.eigh(kernel / 400).eigenvectors.flip(1)[:, :6] * 20
    first, second = (
        cosines(turn(6, 1) @ separation(*sampled(kernel, functions @ turn(6, 1), 12, 96), orders=orders)[0])
        for orders in (1, 2)
    )
    assert (1 - second).max() < 0.2 * (1 - first).max()


@pytest.mark.parametrize("batches", [1, 20])
def test_a_kernel_of_the_functions_alone_is_separated_without_error(batches: int) -> None:
    """K = sum_m l_m y_m y_m': all of its noise is known, whatever the draw, if there are batches to compare."""
    values = torch.diag(torch.tensor([0.8, 0.79, 0.5], dtype=torch.float64))
    generator = torch.Generator().manual_seed(1)
    sigmas = []
    for _ in range(batches):
        y = torch.randn(200, 3, generator=generator, dtype=torch.float64)
        sigmas.append(y.T @ y / 200)
    sigma = torch.stack(sigmas)
    rotation, found = separation(sigma, sigma @ values @ sigma, orders=2)
    if batches == 1:  # no share can be told from one: it stays with the half of the first order
        assert torch.equal(rotation, separation(sigma, sigma @ values @ sigma)[0])
    else:
        torch.testing.assert_close(found, values.diagonal(), atol=1e-3, rtol=0)
        assert cosines(rotation).min() > 1 - 1e-4
