"""One training step of NeuralEF at CamVid's size: 8 images of 22 x 30 patches, 576 channels, bfloat16 psi.

``pytest benchmarks/bench_psi.py`` prints the times of the whole step (graph, network, loss, Adam) and of the head's
orthogonal weight beside torch's own parametrisations, each forward and backward.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import orthogonal

from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.neuralef.psi import OrthogonalHead
from spectral_bench.methods.testing import MemorySource, fit_context

GRID, CHANNELS, IMAGES = (22, 30), (64, 192, 320), 8


@pytest.fixture(scope="module")
def source() -> MemorySource:
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(40, sum(CHANNELS), generator=generator)
    groups = torch.randint(40, (IMAGES, *GRID), generator=generator)
    features = middles[groups] + 0.7 * torch.randn(IMAGES, *GRID, sum(CHANNELS), generator=generator)
    return MemorySource(features.split(CHANNELS, -1), torch.rand(IMAGES, *GRID, 3, generator=generator))


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("k", [64, 256])
def test_training_step(benchmark: Any, source: MemorySource, k: int) -> None:
    method = NeuralEF(NeuralEFParams(k=k, batch_size=IMAGES))
    context, batch = fit_context(precision="bfloat16"), source.batch(range(IMAGES))
    method._statistics = source.statistics()
    method.psi = psi = method._initial(source.channels, context)
    optimiser = torch.optim.Adam(psi.parameters(), lr=1e-3, fused=True)

    def step() -> Tensor:
        loss = method._step(0, 100, batch, context).loss
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        return loss.detach()

    assert benchmark.pedantic(step, rounds=5, warmup_rounds=1).isfinite()


@pytest.mark.benchmark(group="orthogonal weight, forward and backward")
@pytest.mark.parametrize("kind", ["ours", "householder", "matrix_exp", "cayley"])
@pytest.mark.parametrize("k", [64, 256])
def test_orthogonal_weight(benchmark: Any, k: int, kind: str) -> None:
    width, target = sum(CHANNELS), torch.randn(k, sum(CHANNELS))
    head = OrthogonalHead(width, k)
    layer = None if kind == "ours" else orthogonal(nn.Linear(width, k, bias=False), orthogonal_map=kind)

    def forward_and_backward() -> None:
        with parametrize.cached():
            weight = head.weight() if layer is None else layer.get_parameter("weight")
            (weight * target).sum().backward()

    benchmark.pedantic(forward_and_backward, rounds=5, warmup_rounds=1)
