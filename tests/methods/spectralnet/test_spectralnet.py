"""SpectralNet on patches: against the exact eigenvectors, with and without separation, resume, refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from learnt_lab import SMALL, fitted_as, functions_of

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.exact import exact_eigenspace
from spectral_bench.methods.spectral_health import method_checks, principal_angles
from spectral_bench.methods.spectralnet.method import SpectralNet
from spectral_bench.methods.spectralnet.params import SpectralNetParams
from spectral_bench.methods.spin import memory
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemorySource,
    Recorder,
    build,
    fit,
    same_state,
    scenes,
    stop_after,
)


@pytest.fixture
def source() -> MemorySource:
    return scenes(8, (4, 5))[0]


def fitted(source: MemorySource, **params: Any) -> SpectralNet:
    return fitted_as(SpectralNet, "spectralnet", source, **params)


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_separated_functions_are_the_exact_eigenvectors_of_their_places(decay: float) -> None:
    """A small graph of one kind of edges, whose first eigenvalues are apart; the whole of it is one batch."""
    source = scenes(8, (6, 7), noise=0.3)[0]
    params = {"neighbours": 100, "alpha": 0.0, "batch_size": 8, "k": 5, "functions": 5, "width": 32, "steps": 300}
    plain, separate = (fitted(source, **params, lr=1e-2, decay=decay, separate=wanted) for wanted in (False, True))
    batch = source.batch(range(8))
    values, vectors = exact_eigenspace(separate.kernel(batch), 6)
    mixed, functions = (functions_of(method, source).double() for method in (plain, separate))
    for one in (mixed, functions):
        assert principal_angles(one, vectors[:, :5]).max() < 8
    cosines = np.abs(((functions / functions.norm(dim=0)).numpy() * vectors[:, :5]).sum(0))
    assert np.degrees(np.arccos(cosines.clip(max=1))).max() < 8
    order = {m: next(c.value for c in method_checks(m, [batch]) if c.name == "order") for m in (plain, separate)}
    assert order[separate] == 1
    assert order[plain] < 1
    assert (values[:5] / values[1:]).min() > 1.04


def test_functions_are_orthonormal_over_the_training_patches_separated_or_not(source: MemorySource) -> None:
    for separate in (False, True):
        functions = functions_of(fitted(source, separate=separate), source)
        torch.testing.assert_close(functions.T @ functions / len(functions), torch.eye(3), atol=1e-4, rtol=0)


def test_separation_turns_the_functions_and_leaves_network_and_span(source: MemorySource) -> None:
    plain, turned = fitted(source, separate=False), fitted(source)
    for name, tensor in plain.state_dict().items():
        if name.startswith("network."):
            assert torch.equal(tensor, turned.state_dict()[name])
    one, other = functions_of(plain, source).double(), functions_of(turned, source).double()
    rotation = torch.linalg.lstsq(one, other).solution
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(3, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(one @ rotation, other, atol=1e-4, rtol=0)
    assert (rotation - torch.eye(3)).abs().max() > 0.1


@pytest.mark.parametrize("change", [{"decay": 0.9}, {"functions": 4}, {"alpha": 0.0}, {"separate_batches": 1}])
def test_every_parameter_of_the_training_reaches_it(source: MemorySource, change: dict[str, Any]) -> None:
    assert not same_state(fitted(source), fitted(source, **change))


def test_the_curve_records_the_quotients_of_the_laplacian(source: MemorySource) -> None:
    recorder = Recorder()
    fit("spectralnet", {**SMALL, "epochs": 30, "lr": 1e-2}, source, recorder=recorder)
    last = recorder.curve[-1][1]
    assert last.keys() == {"loss", "lr", "quotient_first", "quotient_last"}
    assert last["loss"] < recorder.curve[0][1]["loss"]
    assert -1e-6 < last["quotient_first"] < last["quotient_last"] < 2.6


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_resume_in_training_separation_and_clustering_ends_with_the_same_bits(
    source: MemorySource, decay: float
) -> None:
    params = {**SMALL, "decay": decay}
    undisturbed = fit("spectralnet", params, source)
    for questions in (0, 5, 7, 8, 9, 10):  # 8 and 9 are asked by separation, the last by k-means
        checkpoint, recorder = MemoryCheckpoint(), Recorder()
        with pytest.raises(RunInterrupted):
            fit("spectralnet", params, source, checkpoint=checkpoint, should_stop=stop_after(questions))
        resumed = fit("spectralnet", params, source, checkpoint=checkpoint, recorder=recorder)
        assert same_state(undisturbed, resumed)
        assert recorder.stages == ["graph"] * (8 - min(questions, 8) + 2)


def test_the_average_is_in_the_checkpoint_and_not_in_the_state(source: MemorySource) -> None:
    checkpoint = MemoryCheckpoint(every=3)
    method = fit("spectralnet", {**SMALL, "decay": 0.9}, source, checkpoint=checkpoint)
    kept = checkpoint.load()
    assert kept is not None
    assert kept["network"]["averages.batches"] == 8
    assert not any("averages" in name for name in method.state_dict())
    restored = build("spectralnet", {**SMALL, "decay": 0.9})
    restored.load_state_dict(method.state_dict())
    assert torch.equal(restored.predict(source.batch([0])), method.predict(source.batch([0])))


def test_more_functions_than_patches_are_refused_before_work(source: MemorySource) -> None:
    recorder = Recorder()
    with pytest.raises(ConfigError, match="functions = 21: expected at most the 20 patches of a batch of 1 images"):
        fit("spectralnet", {**SMALL, "functions": 21, "batch_size": 1}, source, recorder=recorder)
    assert recorder == Recorder()
    assert "functions" in SpectralNetParams(functions=21, batch_size=1, decay=0.9).misfits(8, 160)


def test_more_memory_than_there_is_is_refused_before_work(
    source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**7)
    with pytest.raises(ConfigError, match=r"functions = 3, width = 8, depth = 2: .* are free on cpu; lower one of"):
        fitted(source)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_constant_features_are_refused_and_give_no_nan(source: MemorySource, decay: float) -> None:
    constant = MemorySource([torch.full_like(level, 0.3) for level in source.features])
    with pytest.raises(NumericalError, match=r"functions of SpectralNet .* singular: the features are constant"):
        fitted(constant, decay=decay)
