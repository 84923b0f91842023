"""Without noise the objective prefers one cluster for all patches to good clusters; a fit that went there is told."""

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


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_without_noise_collapses_and_is_told(seed: int) -> None:
    source = scenes(8, (4, 5), noise=1.0)[0]
    collapsed = fit("neuralef", {**PARAMS, "noise": "none"}, source, seed)
    sound = fit("neuralef", {**PARAMS, "noise": "gumbel"}, source, seed)
    assert isinstance(collapsed, NeuralEF)
    assert isinstance(sound, NeuralEF)
    assert len(collapsed.predict(source.batch(range(8))).argmax(1).unique()) == 1
    assert [check.passed for check in collapsed.checks] == [False]
    assert "collapsed" in collapsed.checks[0].note
    assert [check.passed for check in sound.checks] == [True]
