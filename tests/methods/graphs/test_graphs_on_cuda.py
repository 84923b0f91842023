"""The same graphs, products and loss on a CUDA device as on the CPU, and the same bits each time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spectral_bench.common.geometry import Crop
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.graphs.kernel import SparseKernel
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.neuralef.loss import neuralef_loss, normalise_columns

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def draw_batch() -> PatchBatch:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 12, 14, 32, generator=generator)
    features.view(-1, 32)[::9] = features[0, 0, 0].clone()
    features[1, 2, 3] = 0
    pixels = torch.randint(5, (3, 12, 14, 3), generator=generator) / 8
    return PatchBatch((features,), pixels, ("a", "b", "c"), (Crop.whole(192, 224),) * 3)


@pytest.mark.parametrize("kind", ["knn", "mutual", "epsilon", "full"])
def test_kernels_equal_those_of_the_cpu(kind: str) -> None:
    options = GraphOptions(kind, epsilon=0.2)  # type: ignore[arg-type]
    kernels = [
        batch_kernel(draw_batch().to(device), neighbours=20, alpha=0.3, options=options) for device in ("cpu", "cuda")
    ]
    x = torch.randn(504, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(kernels[1].apply(x.cuda()).cpu(), kernels[0].apply(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(kernels[1].dense().cpu(), kernels[0].dense(), rtol=1e-4, atol=1e-5)


def loss_and_gradient() -> tuple[SparseKernel, Tensor, Tensor]:
    kernel = batch_kernel(draw_batch().to("cuda"), neighbours=20, alpha=0.3)
    assert isinstance(kernel, SparseKernel)
    psi = torch.randn(504, 16, generator=torch.Generator().manual_seed(2)).softmax(1).cuda().requires_grad_()
    loss = neuralef_loss(normalise_columns(psi, 0.01), kernel, 0.3).loss
    loss.backward()
    assert psi.grad is not None
    return kernel, loss.detach(), psi.grad


def test_repeating_a_step_gives_the_same_bits() -> None:
    (first, loss, gradient), (again, same_loss, same_gradient) = loss_and_gradient(), loss_and_gradient()
    assert torch.equal(sparse.keys_of(first.matrix), sparse.keys_of(again.matrix))
    assert torch.equal(first.matrix.values(), again.matrix.values())
    assert torch.equal(loss, same_loss)
    assert torch.equal(gradient, same_gradient)
