from __future__ import annotations

import dense_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.common.geometry import Crop
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.kernel import DenseKernel, combined
from spectral_bench.methods.graphs.pixels import pixel_graph
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.neuralef.loss import (
    Normalisation,
    Penalty,
    gradient_norms,
    neuralef_loss,
    normalise_columns,
)

BATCHES = st.fixed_dictionaries(
    {
        "images": st.integers(1, 3),
        "height": st.integers(1, 3),
        "width": st.integers(2, 5),
        "repeats": st.integers(0, 4),
        "isolated": st.integers(0, 2),
        "seed": st.integers(0, 2**31),
    }
)


def draw_batch(images: int, height: int, width: int, repeats: int, isolated: int, seed: int) -> PatchBatch:
    """A batch with duplicate patches and, where asked for, patches without any neighbour in the feature graph."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(images, height, width, 5, generator=generator)
    flat = features.view(-1, 5)
    flat[: min(repeats, len(flat))] = flat[-1].clone()
    for node in range(min(isolated, len(flat))):
        flat[node] = 0
    pixels = torch.randint(3, (images, height, width, 3), generator=generator) / 4
    return PatchBatch((features,), pixels, ("a",) * images, (Crop.whole(16, 16),) * images)


def unambiguous(batch: PatchBatch, k: int) -> bool:
    """Whether float32 and float64 must agree on the neighbours: no near ties that are not ties, none with 0."""
    similarity = reference.cosine_similarities(batch.features[-1].flatten(0, 2).double().numpy())
    np.fill_diagonal(similarity, -2)
    ordered = np.sort(similarity, 1)[:, ::-1]
    gaps = ordered[:, k - 1 : k] - ordered[:, k : k + 1] if k < ordered.shape[1] - 1 else np.zeros(1)
    return not ((gaps > 0) & (gaps < 1e-4)).any() and not ((abs(similarity) > 0) & (abs(similarity) < 1e-3)).any()


def relative(value: Tensor, expected: np.ndarray | float) -> float:
    target = torch.as_tensor(expected, dtype=torch.float64)
    return float((value.detach().double() - target).norm() / target.norm().clamp_min(1e-300))


def gradient_error(gradient: Tensor | None, expected: np.ndarray, loss: float, psi: Tensor) -> float:
    """Relative error; where normalised columns leave (almost) no gradient, relative to the loss over psi's length."""
    assert gradient is not None
    scale = max(float(np.linalg.norm(expected)), abs(loss) / float(psi.detach().norm()))
    return float(np.linalg.norm(gradient.double().numpy() - expected)) / scale


def literal_kernel(batch: PatchBatch, k: int, alpha: float) -> np.ndarray:
    features = batch.features[-1].flatten(0, 2).double().numpy()
    return reference.kernel(features, batch.pixels.double().numpy(), k, alpha)


@given(BATCHES, st.integers(1, 8), st.integers(1, 6), st.sampled_from([0.0, 0.08, 1.7]), st.sampled_from(["t", "raw"]))
@settings(deadline=None, max_examples=60)
def test_loss_and_gradient_equal_the_literal_equations(
    sizes: dict[str, int], k: int, outputs: int, beta: float, form: str
) -> None:
    batch = draw_batch(**sizes)
    assume(unambiguous(batch, k))
    expected_kernel = literal_kernel(batch, k, 0.3)
    assume(expected_kernel.any())
    psi = torch.randn(len(expected_kernel), outputs, generator=torch.Generator().manual_seed(sizes["seed"])).softmax(1)
    t = 0.01 if form == "t" else None
    loss, gradient = reference.loss_and_gradient(psi.double().numpy(), expected_kernel, beta, t=t)

    single = psi.clone().requires_grad_()
    scaled = normalise_columns(single, t) if t is not None else single
    terms = neuralef_loss(scaled, batch_kernel(batch, neighbours=k, alpha=0.3), beta)
    terms.loss.backward()
    assert relative(terms.loss, loss) < 1e-5
    assert gradient_error(single.grad, gradient, loss, psi) < 1e-5

    double = psi.double().requires_grad_()
    scaled = normalise_columns(double, t) if t is not None else double
    features = feature_graph(batch.features[-1].flatten(0, 2).double(), neighbours=k)
    terms = neuralef_loss(scaled, combined(features, pixel_graph(batch.pixels, dtype=torch.float64), 0.3), beta)
    terms.loss.backward()
    assert relative(terms.loss, loss) < 1e-10
    assert gradient_error(double.grad, gradient, loss, psi) < 1e-10


def random_kernel(size: int, seed: int) -> DenseKernel:
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return DenseKernel(root @ root.T / size)


@given(st.integers(2, 10), st.integers(1, 6), st.floats(0, 2), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_the_ratio_penalty_equals_the_literal_one(size: int, outputs: int, beta: float, seed: int) -> None:
    kernel = random_kernel(size, seed)
    psi = torch.randn(size, outputs, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    loss, gradient = reference.loss_and_gradient(psi.numpy(), kernel.matrix.numpy(), beta, ratio=True)
    psi.requires_grad_()
    terms = neuralef_loss(psi, kernel, beta, "ratio")
    terms.loss.backward()
    assert terms.alignment.item() == pytest.approx(-1.0)
    assert terms.loss.item() == pytest.approx(loss, rel=1e-10)
    assert relative(psi.grad, gradient) < 1e-10


@pytest.mark.parametrize("penalty", ["fixed", "ratio"])
def test_eigenfunctions_are_stationary_on_the_sphere(penalty: Penalty) -> None:
    """At the leading eigenvectors in order, no gradient is left but along the vectors themselves."""
    kernel = random_kernel(12, 0)
    psi = torch.linalg.eigh(kernel.matrix).eigenvectors.flip(1)[:, :4].clone().requires_grad_()
    neuralef_loss(psi, kernel, 1.0, penalty).loss.backward()
    tangent = psi.grad - psi.detach() * (psi.grad * psi.detach()).sum(0)
    torch.testing.assert_close(tangent, torch.zeros_like(tangent), rtol=0, atol=1e-12)


def test_the_penalty_pushes_no_function_away_from_those_after_it() -> None:
    kernel = random_kernel(8, 1)
    psi = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(neuralef_loss(psi, kernel, 1.0).penalty, psi)
    assert torch.equal(gradient[:, 0], torch.zeros(8, dtype=torch.float64))
    assert float(gradient[:, 1:].abs().min()) > 0


@pytest.mark.parametrize("penalty", ["fixed", "ratio"])
def test_terms_add_up_and_arguments_are_left_alone(penalty: Penalty) -> None:
    kernel = random_kernel(9, 2)
    psi = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    psi_before, kernel_before = psi.detach().clone(), kernel.matrix.clone()
    first, second = neuralef_loss(psi, kernel, 0.5, penalty), neuralef_loss(psi, kernel, 0.5, penalty)
    first.loss.backward()
    assert torch.equal(first.loss, second.loss)
    torch.testing.assert_close(first.loss, first.alignment + first.penalty)
    assert torch.equal(psi.detach(), psi_before)
    assert torch.equal(kernel.matrix, kernel_before)
    expected = (psi.detach() * (kernel.matrix @ psi.detach())).sum(0)
    torch.testing.assert_close(first.rayleigh, expected)
    assert not first.rayleigh.requires_grad


def test_gradient_norms_are_those_of_each_term_and_leave_no_trace() -> None:
    kernel = random_kernel(9, 3)
    weights = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    inputs = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    unused = torch.ones(2, requires_grad=True)
    psi = inputs @ weights
    terms = neuralef_loss(psi, kernel, 0.3)
    norms = gradient_norms(terms, [weights, unused])
    assert weights.grad is None
    pulled = kernel.matrix @ psi.detach()
    quotients = psi.detach().T @ pulled
    assert norms["alignment"] == pytest.approx(float((inputs.T @ pulled * 2 / 4).norm()))
    assert norms["penalty"] == pytest.approx(float((inputs.T @ pulled @ quotients.triu(1) * 2 * 0.3 / 4).norm()))
    assert gradient_norms(terms, unused) == {"alignment": 0.0, "penalty": 0.0}
    terms.loss.backward()  # the graph is still there
    assert gradient_norms_of_psi(psi.detach(), kernel) == pytest.approx(float((pulled * 2 / 4).norm()))


def gradient_norms_of_psi(psi: Tensor, kernel: DenseKernel) -> float:
    outputs = psi.clone().requires_grad_()
    return gradient_norms(neuralef_loss(outputs, kernel, 0.3), outputs)["alignment"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_outputs_are_widened_even_inside_autocast(dtype: torch.dtype) -> None:
    kernel = DenseKernel(random_kernel(16, 4).matrix.float())
    psi = torch.randn(16, 3, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    outside = neuralef_loss(normalise_columns(psi, 0.01), kernel, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = neuralef_loss(normalise_columns(psi, 0.01), kernel, 0.5)
    assert inside.loss.dtype == torch.float32
    assert torch.equal(inside.loss, outside.loss)
    inside.loss.backward()
    assert psi.grad.dtype == dtype


def test_clamped_normalisation_never_amplifies() -> None:
    psi = torch.tensor([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]])
    scaled = normalise_columns(psi, 0.04)
    torch.testing.assert_close(scaled, torch.tensor([[0.12, 0.06, 0.0], [0.16, 0.08, 0.0]]))
    full = normalise_columns(psi, 0.04, "full")
    torch.testing.assert_close(full, torch.tensor([[0.12, 0.12, 0.0], [0.16, 0.16, 0.0]]))
    torch.testing.assert_close(normalise_columns(psi, 0.04, "none"), psi * 0.2)


def test_the_clamped_loss_of_light_columns_depends_on_how_many_patches_there_are() -> None:
    """Known of the released objective: a batch repeated twice has a different loss while norms are below 1."""
    kernel = random_kernel(6, 5).matrix
    twice = torch.block_diag(kernel, kernel)
    light = torch.full((6, 2), 0.1, dtype=torch.float64)

    def value(psi: Tensor, matrix: Tensor, normalisation: Normalisation) -> float:
        return neuralef_loss(normalise_columns(psi, 0.01, normalisation), DenseKernel(matrix), 0.0).loss.item()

    assert value(light.repeat(2, 1), twice, "clamped") == pytest.approx(2 * value(light, kernel, "clamped"))
    assert value(light.repeat(2, 1), twice, "full") == pytest.approx(value(light, kernel, "full"))


@given(st.integers(1, 6), st.integers(1, 4), st.floats(1e-3, 4), st.sampled_from(["clamped", "full", "none"]))
@settings(deadline=None, max_examples=30)
def test_normalisation_has_a_correct_gradient(n: int, k: int, t: float, normalisation: Normalisation) -> None:
    psi = torch.randn(n, k, generator=torch.Generator().manual_seed(n * 7 + k), dtype=torch.float64) + 0.1
    assume(bool(((psi.norm(dim=0) - 1).abs() > 1e-3).all()) and bool((psi.norm(dim=0) > 1e-2).all()))
    assert torch.autograd.gradcheck(lambda x: normalise_columns(x, t, normalisation), psi.requires_grad_())


@pytest.mark.parametrize("normalisation", ["clamped", "full", "none"])
def test_a_column_of_zeros_gives_no_nan(normalisation: Normalisation) -> None:
    psi = torch.zeros(5, 2, dtype=torch.float64, requires_grad=True)
    for penalty in ("fixed", "ratio"):
        terms = neuralef_loss(normalise_columns(psi, 0.01, normalisation), random_kernel(5, 0), 1.0, penalty)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(terms.loss, psi)
        assert terms.loss.item() == 0
        assert bool(gradient.isfinite().all())


def test_isolated_nodes_get_no_gradient_and_no_nan() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [0.0, 0.0]])
    psi = torch.rand(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    neuralef_loss(psi, combined(feature_graph(features, neighbours=2)), 0.5).loss.backward()
    assert bool(psi.grad.isfinite().all())
    assert torch.equal(psi.grad[2:], torch.zeros(2, 3))
    assert float(psi.grad[:2].abs().min()) > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_an_error(value: float) -> None:
    psi = torch.ones(4, 2, dtype=torch.float64)
    psi[1, 1] = value
    with pytest.raises(NumericalError, match="loss of NeuralEF is not finite"):
        neuralef_loss(psi, random_kernel(4, 0), 0.1)


@pytest.mark.parametrize("shape", [(3, 2), (4,), (4, 2, 1)])
def test_outputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(4, K\) outputs"):
        neuralef_loss(torch.ones(shape), random_kernel(4, 0), 0.1)
