"""Networks learn the eigenfunctions of a differential operator with a known spectrum: the benchmark's run, shorter."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from benchmark_scripts import load_script


@pytest.fixture(scope="module")
def box() -> ModuleType:
    return load_script("exactness_box")


def test_the_operator_is_minus_the_second_derivative(box: ModuleType) -> None:
    x = torch.linspace(0.1, 3, 20, dtype=torch.float64)[:, None].requires_grad_()
    values, image = box.BoxOperator().apply(lambda at: torch.cat([torch.sin(2 * at), at**3], 1), x)
    torch.testing.assert_close(image, torch.cat([4 * torch.sin(2 * x), -6 * x], 1).detach())
    assert values.requires_grad
    assert not image.requires_grad


def test_angles_tell_swapped_functions_from_ordered_ones(box: ModuleType) -> None:
    class Sines(torch.nn.Module):
        def __init__(self, order: list[int]) -> None:
            super().__init__()
            self.order = torch.tensor(order, dtype=torch.float64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x * self.order)

    assert max(box.angles(Sines([1, 2, 3, 4]))) < 1e-4
    assert box.angles(Sines([1, 3, 2, 4])) == pytest.approx([0, 90, 90, 0], abs=1e-4)


def test_functions_vanish_at_the_ends(box: ModuleType) -> None:
    functions = box.BoxFunctions(3, torch.Generator().manual_seed(0))
    ends = torch.tensor([[0.0], [math.pi]], dtype=torch.float64)
    assert torch.equal(functions(ends), torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.slow
def test_four_functions_are_found_in_order(box: ModuleType) -> None:
    progress = box.train(steps=500, every=500)
    assert max(progress.angles) < 3
    assert progress.eigenvalues == pytest.approx([1, 4, 9, 16], rel=0.02)


@pytest.mark.nightly
def test_with_averages_the_first_function_settles_before_the_last(box: ModuleType) -> None:
    progress = box.train(steps=300, every=300, decay=0.9)
    assert progress.angles[0] < 10
    assert progress.angles[0] < progress.angles[3]


@pytest.mark.nightly
def test_with_averages_four_functions_come_out_in_order_too(box: ModuleType) -> None:
    """At a lower learning rate and in more steps; they stop as soon as they are in order."""
    progress = box.train(steps=4000, every=250, decay=0.1, lr=1e-3, seed=2, watch=lambda found: found.reached(3))
    assert max(progress.angles) < 3
    assert progress.eigenvalues == pytest.approx([1, 4, 9, 16], rel=0.05)


@pytest.mark.nightly
@pytest.mark.parametrize(("method", "functions", "degrees"), [("spectralnet", 4, 3), ("neuralsvd", 3, 12)])
def test_spectralnet_and_neuralsvd_find_them_in_order_too(
    box: ModuleType, method: str, functions: int, degrees: float
) -> None:
    """Looked at in the middle of a training, where the last function of NeuralSVD is still on its way."""
    steps = 300 if method == "spectralnet" else 1000
    every = 150 if method == "spectralnet" else 250
    progress = box.train(steps=steps, every=every, method=method, watch=lambda found: True)
    assert max(progress.angles[:functions]) < degrees
    assert progress.eigenvalues[:2] == pytest.approx([1, 4], rel=0.15)
