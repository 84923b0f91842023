from __future__ import annotations

import dense_reference as reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.full import FullKernel
from spectral_bench.methods.graphs.kernel import DenseKernel, Kernel, SparseKernel, combined, inverse_root, normalised
from spectral_bench.methods.graphs.pixels import pixel_graph


def draw(n: int, c: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, c, generator=generator, dtype=dtype)
    rows[0] = 0  # isolated
    return rows


def test_inverse_root_of_no_degree_is_zero() -> None:
    assert inverse_root(torch.tensor([0.0, 4.0, 0.25])).tolist() == [0.0, 0.5, 2.0]


@given(st.integers(2, 20), st.integers(1, 8), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_normalisation_equals_the_literal_one(n: int, k: int, seed: int) -> None:
    affinity = feature_graph(draw(n, 3, seed), neighbours=k)
    expected = torch.from_numpy(reference.normalised(affinity.to_dense().numpy()))
    torch.testing.assert_close(normalised(affinity).to_dense(), expected, rtol=1e-12, atol=1e-14)


def test_the_eigenvalues_of_a_normalised_graph_lie_between_minus_one_and_one() -> None:
    matrix = normalised(feature_graph(draw(40, 5, 0), neighbours=6)).to_dense()
    values = torch.linalg.eigvalsh(matrix)
    assert values[-1].item() == pytest.approx(1.0, abs=1e-12)
    assert values[0] >= -1 - 1e-12


def test_two_parts_far_from_each_other_have_the_eigenvalue_one_twice() -> None:
    axes = torch.eye(2, dtype=torch.float64).repeat_interleave(10, 0)
    spread = axes + 0.1 * axes * torch.rand(20, 1, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.eigvalsh(normalised(feature_graph(spread, neighbours=9)).to_dense())
    assert int((values > 1 - 1e-10).sum()) == 2


def test_combination_adds_the_weighted_pixels() -> None:
    features = feature_graph(draw(12, 4, 1), neighbours=3)
    pixels = pixel_graph(torch.rand(1, 3, 4, 3, generator=torch.Generator().manual_seed(1)), dtype=torch.float64)
    kernel = combined(features, pixels, 0.3)
    expected = reference.normalised(features.to_dense().numpy())
    expected = expected + 0.3 * reference.normalised(pixels.to_dense().numpy())
    torch.testing.assert_close(kernel.dense(), torch.from_numpy(expected), rtol=1e-12, atol=1e-14)
    assert torch.equal(combined(features).dense(), normalised(features).to_dense())


def full_reference(features: Tensor) -> Tensor:
    return torch.from_numpy(reference.normalised(reference.threshold_affinity(features.numpy(), -1.0)))


def every_kernel() -> list[Kernel]:
    features = draw(15, 4, 2)
    matrix = combined(feature_graph(features, neighbours=4))
    return [matrix, DenseKernel(full_reference(features)), FullKernel.of(features), FullKernel.of(features, matrix)]


@pytest.mark.parametrize("kernel", every_kernel(), ids=["sparse", "dense", "full", "full+sparse"])
def test_every_kernel_applies_its_dense_matrix_without_gradient(kernel: Kernel) -> None:
    x = torch.randn(kernel.size, 3, dtype=torch.float64, requires_grad=True)
    before = x.detach().clone()
    product = kernel.apply(x)
    assert not product.requires_grad
    torch.testing.assert_close(product, kernel.dense() @ x.detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(kernel.dense(), kernel.dense().T)
    assert torch.equal(x.detach(), before)
    assert torch.equal(kernel.apply(x), product)


@pytest.mark.parametrize("block", [2**23, 15 * 4])
def test_the_full_kernel_equals_the_literal_one_in_any_number_of_blocks(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectral_bench.methods.graphs.blocks.CPU_ELEMENTS", block)
    features = draw(15, 4, 3)
    kernel = FullKernel.of(features)
    torch.testing.assert_close(kernel.dense(), full_reference(features), rtol=1e-12, atol=1e-14)
    assert torch.equal(kernel.dense()[0], torch.zeros(15, dtype=torch.float64))


def test_a_graph_without_edges_gives_a_kernel_of_zeros() -> None:
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    for kernel in (combined(feature_graph(opposite, neighbours=1)), FullKernel.of(opposite)):
        assert kernel.apply(torch.ones(2, 3)).tolist() == [[0.0] * 3] * 2


def test_a_kernel_of_float32_features_is_float32() -> None:
    kernel = combined(feature_graph(draw(9, 3, 0, torch.float32), neighbours=2))
    assert isinstance(kernel, SparseKernel)
    assert kernel.dense().dtype == torch.float32
    assert sparse.row_sums(kernel.matrix).dtype == torch.float32
