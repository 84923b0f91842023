"""Without noise the objective prefers one cluster for all patches to good clusters; what becomes of a fit then."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.health import HEALTH_STAGE, assignment_spread
from spectral_bench.methods.neuralef.loss import neuralef_loss, normalise_columns
from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.neuralef.psi import Psi
from spectral_bench.methods.shared import Products
from spectral_bench.methods.testing import MemoryLabels, MemorySource, Recorder, fit, scenes

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


CHECKED = {
    "neuralef": PARAMS | {"epochs": 1},
    "linear_probe": {"k": 5, "batch_size": 4, "epochs": 1},
    "nystrom": {"k": 5, "samples": 100, "neighbours": 12},
}


@pytest.mark.parametrize("name", CHECKED)
def test_the_checks_are_no_part_of_the_fits_own_time(name: str) -> None:
    """They are the last that a fit does, in a stage of their own."""
    source, truth = scenes(8, (4, 5), noise=1.0)
    recorder = Recorder()
    labels = MemoryLabels(truth, 5) if name == "linear_probe" else None
    fit(name, CHECKED[name], source, recorder=recorder, labels=labels)
    assert recorder.stages[-1] == HEALTH_STAGE


def test_checks_side_by_side_standardise_a_batch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs that see the same batches with the same statistics; each finds what it finds alone."""
    source, _ = scenes(8, (4, 5), noise=1.0)
    methods = [fit("neuralef", PARAMS | {"epochs": 1, "k": k}, source) for k in (4, 5)]
    batch = source.batch(range(4))
    alone = [method._scores_at_once(batch) for method in methods]
    made: list[object] = []
    standardise = Psi.tokens
    monkeypatch.setattr(Psi, "tokens", lambda *given: made.append(given) or standardise(*given))
    shared = replace(batch, products=Products(lambda product, new: None))
    assert all(torch.equal(method._scores_at_once(shared), own) for method, own in zip(methods, alone, strict=True))
    assert len(made) == 1


def spread(method: NeuralEF) -> float:
    """The value of the check of a fit's soft assignments."""
    value = next(check.value for check in method.checks if check.name == "assignment_spread")
    assert value is not None
    return value


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(2, 8))])
def test_training_without_noise_collapses_and_is_found_out(seed: int) -> None:
    source = scenes(8, (4, 5), noise=1.0)[0]
    quiet, noisy = (fit("neuralef", {**PARAMS, "noise": noise}, source, seed) for noise in ("none", "gumbel"))
    assert isinstance(quiet, NeuralEF)
    assert isinstance(noisy, NeuralEF)
    assert not all(check.passed for check in quiet.checks)
    assert all(check.passed for check in noisy.checks)
    assert spread(quiet) < 0.2
    assert spread(noisy) > 0.75


@pytest.mark.parametrize("clusters", [2, 5, 64])
def test_a_hard_and_even_assignment_has_spread_one(clusters: int) -> None:
    hard = functional.one_hot(torch.arange(3 * clusters) % clusters).float()
    check = assignment_spread([hard.T.reshape(1, clusters, 3, clusters)])
    assert check.value == pytest.approx(1.0)
    assert check.passed


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_spread_counts_the_share_of_an_assignment_that_changes(share: float) -> None:
    hard = functional.one_hot(torch.arange(20) % 5).float()
    soft = share * hard + (1 - share) / 5
    check = assignment_spread([part.T.reshape(1, 5, 2, 5) for part in soft.split(10)])
    assert check.value == pytest.approx(share)
    assert check.passed == (share > 0.2)
    assert check.passed == (not check.note)


def test_assignments_that_are_not_finite_fail() -> None:
    check = assignment_spread([torch.full((1, 3, 2, 2), float("nan"))])
    assert (check.value, check.passed, check.note) == (None, False, "not finite")
