"""Without noise the objective prefers one cluster for all patches to good clusters; what becomes of a fit then."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.graphs.batch import batch_kernel
from methods.neuralef import NeuralEF
from methods.objective import neuralef_loss, normalise_columns
from methods.testing import MemorySource, fit, scenes

PARAMS = {
    "k": 5,
    "neighbours": 12,
    "epochs": 40,
    "batch_size": 4,
    "depth": 1,
    "heads": 2,
    "head_width": 4,
    "mlp_width": 8,
    "lr": 3e-2,
}


def published_loss(source: MemorySource, assigned: Tensor) -> float:
    """The loss of (N, 5) soft assignments with the penalty's weight of the paper, 20.48 / K."""
    kernel = batch_kernel(source.batch(range(len(source))), neighbours=12, alpha=0.3)
    return neuralef_loss(normalise_columns(assigned, 0.01), kernel, 20.48 / 5).loss.item()


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_constant_columns_score_better_than_the_true_groups(noise: float) -> None:
    source, truth = scenes(8, (4, 5), noise=noise)
    groups = functional.one_hot(truth.flatten(), 5).float()
    assert published_loss(source, torch.full((160, 5), 0.2)) < published_loss(source, groups)


def spread(seed: int, noise: str) -> float:
    """The largest deviation over patches of any soft assignment of a fit."""
    source = scenes(8, (4, 5), noise=1.0)[0]
    method = fit("neuralef", {**PARAMS, "noise": noise}, source, seed)
    assert isinstance(method, NeuralEF)
    return float(method.eigenfunctions(source.batch(range(8))).std((0, 2, 3)).max())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_without_noise_ends_in_columns_that_hardly_vary(seed: int) -> None:
    assert spread(seed, "none") < 0.1
    assert spread(seed, "gumbel") > 0.3
