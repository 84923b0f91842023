"""NeuralSVD's loss and gradient against float64 autograd of the objective as it is written, and where it is at rest."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.neuralsvd.objective import masks, nested_terms
from spectral_bench.methods.neuralsvd.params import Nesting, Overlaps

SIZES = {"seed": st.integers(0, 2**16), "functions": st.integers(1, 6), "overlaps": st.sampled_from(get_args(Overlaps))}


def problem(seed: int, functions: int, points: int = 21) -> tuple[Tensor, Tensor]:
    """Functions (points, n) and a symmetric operator that is not positive, float64."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(points, points, generator=generator, dtype=torch.float64)
    return torch.randn(points, functions, generator=generator, dtype=torch.float64), (root + root.T) / points


def approximation(f: Tensor, matrix: Tensor, overlaps: Overlaps) -> Tensor:
    """-2 sum_i <f_i, K f_i> + sum_ij <f_i, f_j>^2 in plain loops, the square being a product of two estimates."""
    halves = (f, f) if overlaps == "batch" else f.tensor_split(2)
    total = torch.zeros((), dtype=f.dtype)
    for i in range(f.shape[1]):
        total = total - 2 * (f[:, i] * (matrix @ f[:, i])).mean()
        for j in range(f.shape[1]):
            one, other = ((half[:, i] * half[:, j]).mean() for half in halves)
            total = total + one * other
    return total


def found(f: Tensor, matrix: Tensor, nesting: Nesting, overlaps: Overlaps) -> tuple[Tensor, Tensor]:
    leaf = f.clone().requires_grad_()
    loss = nested_terms(leaf, matrix @ f, nesting=nesting, overlaps=overlaps).loss
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


@settings(max_examples=25, deadline=None)
@given(**SIZES)
def test_joint_nesting_is_the_mean_of_the_objectives_of_all_leading_parts(
    seed: int, functions: int, overlaps: Overlaps
) -> None:
    f, matrix = problem(seed, functions)
    leaf = f.clone().requires_grad_()
    literal = torch.stack([approximation(leaf[:, :r], matrix, overlaps) for r in range(1, functions + 1)]).mean()
    loss, gradient = found(f, matrix, "joint", overlaps)
    torch.testing.assert_close(loss, literal.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(literal, leaf)[0])


@settings(max_examples=25, deadline=None)
@given(**SIZES)
def test_sequential_nesting_moves_each_function_by_the_objective_up_to_it(
    seed: int, functions: int, overlaps: Overlaps
) -> None:
    f, matrix = problem(seed, functions)
    loss, gradient = found(f, matrix, "sequential", overlaps)
    torch.testing.assert_close(loss, approximation(f, matrix, overlaps))
    for j in range(functions):
        leaf = f[:, j : j + 1].clone().requires_grad_()
        literal = approximation(torch.cat([f[:, :j], leaf], 1), matrix, overlaps)
        torch.testing.assert_close(gradient[:, j : j + 1], torch.autograd.grad(literal, leaf)[0])


def test_products_on_two_halves_have_no_bias_and_those_on_one_batch_have() -> None:
    """Over draws of points, against the sum over all of them."""
    population, _ = problem(0, 2, 400)
    generator = torch.Generator().manual_seed(1)
    means = {}
    for overlaps in get_args(Overlaps):
        draws = [population[torch.randint(400, (6,), generator=generator)] for _ in range(6000)]
        means[overlaps] = torch.stack([nested_terms(f, f * 0, overlaps=overlaps).loss for f in draws]).mean()
    exact = nested_terms(population, population * 0).loss
    assert abs(means["halves"] - exact) < 0.05 * exact
    assert means["batch"] > 1.2 * exact


@pytest.mark.parametrize("nesting", get_args(Nesting))
def test_equal_steps_divide_each_gradient_by_the_mean_square(nesting: Nesting) -> None:
    f, matrix = problem(3, 4)
    leaf = f.clone().requires_grad_()
    terms = nested_terms(leaf, matrix @ f, nesting=nesting, steps_of="equal")
    (scaled,) = torch.autograd.grad(terms.loss, leaf)
    loss, plain = found(f, matrix, nesting, "batch")
    torch.testing.assert_close(terms.loss.detach(), loss)
    torch.testing.assert_close(terms.eigenvalues, f.square().mean(0))
    torch.testing.assert_close(scaled, plain / f.square().mean(0))


@pytest.mark.parametrize("nesting", get_args(Nesting))
def test_ordered_eigenfunctions_are_at_rest_and_their_mixtures_are_not(nesting: Nesting) -> None:
    """f_i = l_i^1/2 phi_i with mean square l_i; a rotation leaves the objective of all of them as it is."""
    matrix = torch.diag(torch.tensor([5.0, 3, 2, 1, -4, -6], dtype=torch.float64))
    f = torch.eye(6, dtype=torch.float64)[:, :3] * (6 * matrix.diagonal()[:3]).sqrt()
    loss, gradient = found(f, matrix, nesting, "batch")
    assert gradient.abs().max() < 1e-12
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    turned, force = found(f @ turn, matrix, nesting, "batch")
    assert force.abs().max() > 0.1
    if nesting == "sequential":
        torch.testing.assert_close(turned, loss)
        torch.testing.assert_close(loss, -matrix.diagonal()[:3].square().sum())
    else:
        assert turned > loss


@pytest.mark.parametrize("nesting", get_args(Nesting))
def test_descent_finds_each_eigenvector_and_its_eigenvalue(nesting: Nesting) -> None:
    values = torch.tensor([1.0, 0.7, 0.5, 0.2, 0.1, -0.5, -0.9], dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    matrix = basis @ torch.diag(values) @ basis.T
    f = torch.randn(7, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for _ in range(1500):
        f = f - 0.3 * found(f, matrix, nesting, "batch")[1]
    torch.testing.assert_close(f.square().mean(0), values[:3], atol=1e-3, rtol=0)
    cosines = (f / f.norm(dim=0) * basis[:, :3]).sum(0).abs()
    assert cosines.min() > 0.9999


def test_masks_are_those_of_the_definition() -> None:
    own, pairs = masks(3, "joint")
    torch.testing.assert_close(own, torch.tensor([1, 2 / 3, 1 / 3], dtype=torch.float64))
    for i in range(3):
        for j in range(3):
            assert pairs[i, j] == own[max(i, j)]
    own, pairs = masks(3, "sequential")
    assert own.tolist() == [1, 1, 1]
    assert pairs.tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]


def test_single_precision_is_near_double_and_keeps_its_dtype() -> None:
    f, matrix = problem(5, 4)
    wide = found(f, matrix, "sequential", "batch")[1]
    loss, narrow = found(f.float(), matrix.float(), "sequential", "batch")
    assert loss.dtype == narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), wide, rtol=1e-4, atol=1e-5)


def test_functions_of_zeros_have_no_gradient_and_give_no_nan() -> None:
    leaf = torch.zeros(6, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(nested_terms(leaf, torch.zeros(6, 2), steps_of="equal").loss, leaf)
    assert torch.equal(gradient, torch.zeros(6, 2))


def test_what_is_not_finite_is_refused() -> None:
    f, matrix = problem(0, 2)
    for bad in (float("nan"), float("inf")):
        broken = f.clone()
        broken[3, 1] = bad
        with pytest.raises(NumericalError, match="the functions of NeuralSVD hold NaN or infinite values"):
            nested_terms(broken, matrix @ f)
        with pytest.raises(NumericalError, match="image of the functions of NeuralSVD holds NaN or infinite"):
            nested_terms(f, broken)
