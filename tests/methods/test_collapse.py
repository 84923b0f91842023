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


def trained(seed: int, noise: str) -> tuple[NeuralEF, float]:
    """A fit, and the largest deviation over patches of any of its soft assignments."""
    source = scenes(8, (4, 5), noise=1.0)[0]
    method = fit("neuralef", {**PARAMS, "noise": noise}, source, seed)
    assert isinstance(method, NeuralEF)
    return method, float(method.eigenfunctions(source.batch(range(8))).std((0, 2, 3)).max())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_without_noise_ends_in_columns_that_hardly_vary(seed: int) -> None:
    assert trained(seed, "none")[1] < 0.1
    assert trained(seed, "gumbel")[1] > 0.3


def test_a_training_that_ends_in_one_cluster_is_told() -> None:
    """The check looks at the largest column of each patch: of nearly constant ones, one is largest everywhere here.

    Where two nearly constant columns cross, as they do from other seeds, the check sees two clusters and passes.
    """
    collapsed, sound = (trained(0, noise)[0] for noise in ("none", "gumbel"))
    assert [(check.passed, check.value) for check in collapsed.checks] == [(False, 1.0)]
    assert "collapsed" in collapsed.checks[0].note
    assert [check.passed for check in sound.checks] == [True]
