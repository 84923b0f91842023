"""One step of SpIN: its gradient against the equations and against autograd of the same estimator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.kernel import DenseKernel
from spectral_bench.methods.spin.averages import Averages
from spectral_bench.methods.spin.network import FunctionNetwork
from spectral_bench.methods.spin.operators import Functions, KernelOperator
from spectral_bench.methods.spin.spectrum import second_moment
from spectral_bench.methods.spin.step import spin_terms


class Smallest(KernelOperator):
    """The same operator, with its smallest eigenvalues wanted."""

    @property
    def maximise(self) -> bool:
        return False


def problem(seed: int, functions: int = 4, nodes: int = 30) -> tuple[FunctionNetwork, Tensor, DenseKernel]:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FunctionNetwork(5, (7, 6), functions, "tanh").double()
    root = torch.randn(nodes, nodes, generator=generator, dtype=torch.float64)
    x = torch.randn(nodes, 5, generator=generator, dtype=torch.float64)
    return network, x, DenseKernel((root + root.T) / nodes)


def estimator(u: Functions, x: Tensor, kernel: DenseKernel) -> Tensor:
    """The sum of eigenvalues in which eigenvalue i sees the functions before i as constants: what is differentiated."""
    values = u(x)
    total = values.new_zeros(())
    for index in range(values.shape[1]):
        kept = torch.cat([values[:, :index].detach(), values[:, index : index + 1]], 1)
        inverse = torch.linalg.inv(torch.linalg.cholesky(kept.T @ kept / len(x)))
        total = total + (inverse @ (kept.T @ kernel.matrix @ kept / len(x)) @ inverse.T)[index, index]
    return total


def gradients(loss: Tensor, network: nn.Module) -> Tensor:
    grads = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    return torch.cat([grad.flatten() for grad in grads])


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), functions=st.integers(1, 5))
def test_the_gradient_is_that_of_the_estimator_without_later_functions(seed: int, functions: int) -> None:
    network, x, kernel = problem(seed, functions)
    terms = spin_terms(network, x, KernelOperator(kernel), list(network.parameters()))
    expected = estimator(network, x, kernel)
    torch.testing.assert_close(terms.loss, -expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradients(terms.loss, network), -gradients(expected, network), rtol=1e-5, atol=1e-8)


def test_a_minimised_operator_has_the_opposite_loss() -> None:
    network, x, kernel = problem(0)
    parameters = list(network.parameters())
    most, least = (spin_terms(network, x, kind(kernel), parameters).loss for kind in (KernelOperator, Smallest))
    assert torch.equal(most, -least)
    torch.testing.assert_close(gradients(most, network), -gradients(least, network))


def test_a_first_batch_has_the_same_gradient_with_averages_and_without() -> None:
    network, x, kernel = problem(1)
    parameters = list(network.parameters())
    plain = spin_terms(network, x, KernelOperator(kernel), parameters)
    averaged = spin_terms(network, x, KernelOperator(kernel), parameters, Averages(4, parameters, 0.9))
    torch.testing.assert_close(gradients(averaged.loss, network), gradients(plain.loss, network))
    torch.testing.assert_close(averaged.loss, plain.loss)


def test_with_averages_the_gradient_is_the_literal_one() -> None:
    """Sigma and J averaged, Pi of the batch: the sums over functions written out in loops."""
    network, x, kernel = problem(2)
    parameters = list(network.parameters())
    averages = Averages(4, parameters, 0.7)
    for _ in range(3):
        loss = spin_terms(network, x + torch.rand(1), KernelOperator(kernel), parameters, averages).loss
    before = averages.sigma.clone(), averages.jacobian.clone()
    loss = spin_terms(network, x, KernelOperator(kernel), parameters, averages).loss
    values, weight = network(x), 0.3 / (1 - 0.7**4)
    sigma = before[0].lerp((values.T @ values / len(x)).detach(), weight)
    factor = torch.linalg.cholesky(sigma)
    inverse = torch.linalg.inv(factor)
    image = kernel.matrix @ values.detach()
    matrix = inverse @ (values.detach().T @ image / len(x)) @ inverse.T
    d_pi = inverse.T @ torch.diag(1 / factor.diagonal())
    d_sigma = -inverse.T @ torch.triu(matrix @ torch.diag(1 / factor.diagonal()))
    expected = torch.zeros_like(before[1][0])
    for row, (j, i) in enumerate(torch.triu_indices(4, 4).T.tolist()):
        pi = gradients((image[:, j] * values[:, i]).mean(), network)
        expected += 2 * d_pi[j, i] * pi
        own = gradients((values[:, j].detach() * values[:, i]).mean(), network)
        expected += 2 * d_sigma[j, i] * before[1][row].lerp(own, weight)
    torch.testing.assert_close(gradients(loss, network), -expected)
    torch.testing.assert_close(loss, -matrix.trace())


def test_a_jacobian_estimated_on_some_points_is_that_of_these_points() -> None:
    network, x, kernel = problem(3)
    parameters = list(network.parameters())
    averages, literal = Averages(4, parameters, 0.9), Averages(4, parameters, 0.9)
    drawn = torch.tensor([3, 17, 4])
    spin_terms(network, x, KernelOperator(kernel), parameters, averages, drawn)
    literal.update(network(x[drawn]), torch.eye(4, dtype=torch.float64), parameters)
    torch.testing.assert_close(averages.jacobian, literal.jacobian)
    values = network(x)
    torch.testing.assert_close(averages.sigma, values.T @ values / len(x))


def test_a_batch_that_is_not_sound_leaves_the_averages_as_they_were() -> None:
    network, x, kernel = problem(4)
    parameters = list(network.parameters())
    averages = Averages(4, parameters, 0.9)
    spin_terms(network, x, KernelOperator(kernel), parameters, averages)
    before = {name: tensor.clone() for name, tensor in averages.state_dict().items()}
    x[3, 2] = float("nan")
    with pytest.raises(NumericalError, match="the functions of SpIN hold NaN"):
        spin_terms(network, x, KernelOperator(kernel), parameters, averages)
    assert all(torch.equal(before[name], tensor) for name, tensor in averages.state_dict().items())


def test_averages_serve_batches_smaller_than_the_number_of_functions() -> None:
    network, x, _ = problem(6)
    parameters = list(network.parameters())
    averages = Averages(4, parameters, 0.9)
    averages.update(network(x), second_moment(network(x), network(x)), parameters)
    few, kernel = x[:2], DenseKernel(torch.eye(2, dtype=torch.float64))
    assert spin_terms(network, few, KernelOperator(kernel), parameters, averages).loss.isfinite()
    with pytest.raises(NumericalError, match="function 3 of the 4"):
        spin_terms(network, few, KernelOperator(kernel), parameters)


def test_gradients_in_single_precision_are_near_those_in_double() -> None:
    network, x, kernel = problem(5)
    wide = gradients(spin_terms(network, x, KernelOperator(kernel), list(network.parameters())).loss, network)
    single, narrow = network.float(), DenseKernel(kernel.matrix.float())
    terms = spin_terms(single, x.float(), KernelOperator(narrow), list(single.parameters()))
    assert terms.loss.dtype == torch.float32
    torch.testing.assert_close(gradients(terms.loss, single).double(), wide, rtol=1e-3, atol=1e-4)
