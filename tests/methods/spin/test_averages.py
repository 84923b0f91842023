"""Moving averages of the covariance and of its one-sided Jacobian, against the exact ones."""

import math

import pytest
import torch
from torch import Tensor

from spectral_bench.methods.spin.averages import Averages, jacobian_bytes, jacobian_rows
from spectral_bench.methods.spin.network import FunctionNetwork
from spectral_bench.methods.spin.spectrum import second_moment

N_FUNCTIONS = 5


@pytest.fixture
def network() -> FunctionNetwork:
    torch.manual_seed(0)
    return FunctionNetwork(3, (6, 4), N_FUNCTIONS, "tanh").double()


def points(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact_jacobian(network: FunctionNetwork, x: Tensor) -> Tensor:
    """E[u_i du_j/dtheta], (n, n, P), as it is defined: a mean over points of products, one gradient a point."""
    total = torch.zeros(N_FUNCTIONS, N_FUNCTIONS, sum(one.numel() for one in network.parameters()), dtype=x.dtype)
    for point in x:
        values = network(point)
        for j in range(N_FUNCTIONS):
            grads = torch.autograd.grad(values[j], list(network.parameters()), retain_graph=True)
            total[:, j] += values.detach()[:, None] * torch.cat([grad.flatten() for grad in grads])
    return total / len(x)


def update(averages: Averages, network: FunctionNetwork, x: Tensor) -> None:
    values = network(x)
    averages.update(values, second_moment(values, values), list(network.parameters()))


def test_the_jacobian_of_a_batch_is_its_definition(network: FunctionNetwork) -> None:
    x = points(9)
    exact = exact_jacobian(network, x)
    first, second = (index.flatten() for index in torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij"))
    rows = jacobian_rows(network(x), first, second, list(network.parameters()))
    torch.testing.assert_close(torch.cat([row.flatten(1) for row in rows], 1), exact[first, second])


def test_averages_over_batches_are_weighted_means_of_the_exact_ones(network: FunctionNetwork) -> None:
    """At frozen weights, with weights decay^age normalised from the first batch on."""
    averages = Averages(N_FUNCTIONS, list(network.parameters()), 0.8)
    batches = [points(7, seed) for seed in range(6)]
    for batch in batches:
        update(averages, network, batch)
    weights = torch.tensor([0.8**age for age in range(5, -1, -1)], dtype=torch.float64)
    weights /= weights.sum()
    jacobian = sum(weight * exact_jacobian(network, batch) for weight, batch in zip(weights, batches, strict=True))
    values = [network(batch).detach() for batch in batches]
    sigma = sum(weight * one.T @ one / 7 for weight, one in zip(weights, values, strict=True))
    torch.testing.assert_close(averages.sigma, sigma)
    assert isinstance(jacobian, Tensor)
    torch.testing.assert_close(averages.jacobian, jacobian[averages._first, averages._second])


def test_averages_come_near_the_exact_jacobian_as_batches_go_by(network: FunctionNetwork) -> None:
    """At frozen weights the error is that of one batch times the root of (1 - decay) / (1 + decay)."""
    population = points(400, 99)
    exact = exact_jacobian(network, population)
    errors = {}
    for decay in (0.01, 0.9):
        averages = Averages(N_FUNCTIONS, list(network.parameters()), decay)
        generator = torch.Generator().manual_seed(1)
        wanted, squares = exact[averages._first, averages._second], []
        for number in range(120):
            update(averages, network, population[torch.randint(400, (16,), generator=generator)])
            if number >= 30:
                squares.append((averages.jacobian - wanted).square().sum() / wanted.square().sum())
        errors[decay] = math.sqrt(float(torch.stack(squares).mean()))
    assert errors[0.9] < 0.12
    assert errors[0.01] / errors[0.9] == pytest.approx(math.sqrt(0.99 / 1.01 * 1.9 / 0.1), rel=0.15)


def test_the_contraction_is_the_sum_over_ordered_pairs(network: FunctionNetwork) -> None:
    averages = Averages(N_FUNCTIONS, list(network.parameters()), 0.5)
    update(averages, network, points(8))
    exact = exact_jacobian(network, points(8))
    weights = torch.randn(5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = sum(weights[i, j] * exact[i, j] for i in range(5) for j in range(i, 5))
    torch.testing.assert_close(averages.contract(weights), wanted)


def test_averages_travel_with_the_state_and_need_no_gradient(network: FunctionNetwork) -> None:
    averages = Averages(N_FUNCTIONS, list(network.parameters()), 0.9)
    assert list(averages.parameters()) == []
    for seed in range(3):
        update(averages, network, points(8, seed))
    restored = Averages(N_FUNCTIONS, list(network.parameters()), 0.9)
    restored.load_state_dict(averages.state_dict())
    for one in (averages, restored):
        update(one, network, points(8, 3))
    assert torch.equal(averages.jacobian, restored.jacobian)
    assert torch.equal(averages.sigma, restored.sigma)
    assert int(restored.batches) == 4


def test_the_bytes_are_those_of_the_buffer(network: FunctionNetwork) -> None:
    parameters = list(network.parameters())
    buffer = Averages(N_FUNCTIONS, parameters, 0.9).jacobian
    count = sum(one.numel() for one in parameters)
    assert jacobian_bytes(N_FUNCTIONS, count, 8) == buffer.numel() * buffer.element_size()
    assert jacobian_bytes(16, 1000) == 136 * 1000 * 4


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, float("nan")])
def test_a_decay_that_averages_nothing_is_refused(network: FunctionNetwork, decay: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Averages(N_FUNCTIONS, list(network.parameters()), decay)
