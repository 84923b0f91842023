"""Do SpIN, NeuralSVD and SpectralNet recover eigenfunctions, in order? A particle in a box, of known spectrum.

H = -d^2/dx^2 on functions that are 0 at both ends of [0, pi]: eigenvalues 1, 4, 9, ..., eigenfunctions sin(k x). The
smallest four are wanted. The network is an MLP of 64 x 64 tanh units times x (pi - x), in float64, trained by Adam on
1024 points a step that are drawn uniformly. Functions are held against sin(k x) one by one, on a grid of 2000
midpoints: swapped functions count as 90 degrees, which an angle between spaces would not see.

``--decay 0`` turns the moving averages off. With averages the gradient is unbiased but noisy, and ordering takes more
steps.

``--method neuralsvd`` learns those of 25 - H, of which four eigenvalues are above 0. ``--method spectralnet`` learns
the span; for the angles it is separated over 32 further batches, orthonormal on the grid.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from spectral_bench.methods.neuralsvd.objective import nested_terms
from spectral_bench.methods.separation import separation
from spectral_bench.methods.spectralnet.objective import rayleigh_terms
from spectral_bench.methods.spin.averages import Averages, CovarianceAverage
from spectral_bench.methods.spin.network import FunctionNetwork
from spectral_bench.methods.spin.operators import Functions
from spectral_bench.methods.spin.spectrum import second_moment, whitening
from spectral_bench.methods.spin.step import spin_terms
from spectral_bench.methods.trainer import Cosine

FUNCTIONS = 4
LENGTH = math.pi


class BoxFunctions(nn.Module):
    """(N, 1) places in [0, pi] to (N, n) functions that vanish at both ends."""

    def __init__(self, functions: int, generator: torch.Generator) -> None:
        super().__init__()
        self.network = FunctionNetwork(1, (64, 64), functions, "tanh").double()
        self.network.mean.fill_(LENGTH / 2)
        for layer in self.network.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight, gain=5 / 3, generator=generator)
                nn.init.normal_(layer.bias, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * x * (LENGTH - x)


class BoxOperator:
    """H = -d^2/dx^2; its smallest eigenvalues are wanted."""

    maximise = False

    def apply(self, u: Functions, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values with gradient, and minus the second derivatives, by forward mode twice."""
        ones = torch.ones_like(x)

        def slope(at: Tensor) -> Tensor:
            return torch.func.jvp(u, (at,), (ones,))[1]

        with torch.no_grad():
            image = -torch.func.jvp(slope, (x,), (ones,))[1]
        return u(x), image


@dataclass(frozen=True)
class Progress:
    """Steps done, eigenvalues of the batch, and the angle of each function to its sine in degrees."""

    steps: int
    eigenvalues: list[float]
    angles: list[float]

    def reached(self, degrees: float) -> bool:
        """Whether every function is that near to its own sine."""
        return max(self.angles) < degrees


def grid() -> Tensor:
    """2000 midpoints, (2000, 1)."""
    return (torch.arange(2000, dtype=torch.float64)[:, None] + 0.5) / 2000 * LENGTH


def angles(functions: nn.Module, count: int = FUNCTIONS) -> list[float]:
    """Degrees between each orthonormalised function L^-1 u and its own sin(k x), on a grid."""
    x = grid()
    with torch.no_grad():
        found = torch.linalg.qr(functions(x)).Q
    exact = torch.sin(x * torch.arange(1, count + 1, dtype=torch.float64)) * math.sqrt(2 / 2000)
    cosines = (found * exact).sum(0).abs().clamp_max(1)
    return torch.rad2deg(torch.arccos(cosines)).tolist()


Method = Literal["spin", "neuralsvd", "spectralnet"]
SHIFT = 25  # the fifth eigenvalue


def draw(count: int, generator: torch.Generator) -> Tensor:
    """Uniform places, (count, 1)."""
    return torch.rand(count, 1, generator=generator, dtype=torch.float64) * LENGTH


def objective(method: Method, functions: nn.Module, decay: float) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Places to a loss and to eigenvalues of H as the batch tells them."""
    parameters, operator = list(functions.parameters()), BoxOperator()
    averages = Averages(FUNCTIONS, parameters, decay) if decay and method == "spin" else None
    average = CovarianceAverage(FUNCTIONS, decay, torch.device("cpu")) if decay and method == "spectralnet" else None

    def loss(x: Tensor) -> tuple[Tensor, Tensor]:
        if method == "spin":
            terms = spin_terms(functions, x, operator, parameters, averages)
            return terms.loss, terms.spectrum.eigenvalues
        values, image = operator.apply(functions, x)
        if method == "spectralnet":
            spanned = rayleigh_terms(values, image, average)
            return spanned.loss, spanned.quotients
        nested = nested_terms(values, SHIFT * values.detach() - image, steps_of="equal")
        return nested.loss, SHIFT - nested.eigenvalues

    return loss


def separated(functions: nn.Module, batch: int, seed: int) -> nn.Module:
    """The functions, turned to single eigenfunctions of -H over 32 batches."""
    generator, sigmas, pis = torch.Generator().manual_seed(seed), [], []
    with torch.no_grad():
        everywhere = functions(grid())
    white = whitening(second_moment(everywhere, everywhere))
    for _ in range(32):
        values, image = BoxOperator().apply(functions, draw(batch, generator))
        y, hy = values.detach() @ white.T, image @ white.T
        sigmas.append(y.T @ y / batch)
        pis.append(-y.T @ hy / batch)
    rotation, _ = separation(torch.stack(sigmas), torch.stack(pis))
    head = nn.Linear(FUNCTIONS, FUNCTIONS, bias=False, dtype=torch.float64)
    head.weight.data = rotation.T @ white
    return nn.Sequential(functions, head)


def train(
    *,
    steps: int,
    decay: float = 0.0,
    batch: int = 1024,
    lr: float = 3e-3,
    seed: int = 0,
    every: int = 500,
    watch: Callable[[Progress], bool] = lambda progress: False,
    method: Method = "spin",
) -> Progress:
    """Train, look every so many steps, and stop early where ``watch`` says so."""
    generator = torch.Generator().manual_seed(seed)
    functions = BoxFunctions(FUNCTIONS, generator)
    parameters = list(functions.parameters())
    loss = objective(method, functions, decay)
    optimiser = torch.optim.Adam(parameters, lr=lr)
    rate = Cosine(lr, lr / 100)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate.at(step, steps)
        value, eigenvalues = loss(draw(batch, generator))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            found = functions if method != "spectralnet" else separated(functions, batch, seed)
            progress = Progress(step + 1, eigenvalues.tolist(), angles(found))
            if watch(progress):
                break
    return progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--decay", type=float, default=0.0, help="of the moving averages, 0 turns them off")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--every", type=int, default=500, help="steps between lines")
    parser.add_argument("--stop", type=float, default=0.0, help="stop once every angle is below so many degrees")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", choices=get_args(Method), default="spin")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()

    def show(progress: Progress) -> bool:
        values = " ".join(f"{value:7.3f}" for value in progress.eigenvalues)
        degrees = " ".join(f"{value:6.2f}" for value in progress.angles)
        seconds = time.perf_counter() - start
        print(f"{progress.steps:6d} steps, {seconds:6.1f} s: eigenvalues {values}; degrees {degrees}", flush=True)  # noqa: T201
        return progress.reached(arguments.stop)

    train(
        steps=arguments.steps,
        decay=arguments.decay,
        batch=arguments.batch,
        lr=arguments.lr,
        seed=arguments.seed,
        every=arguments.every,
        watch=show,
        method=arguments.method,
    )


if __name__ == "__main__":
    main()
