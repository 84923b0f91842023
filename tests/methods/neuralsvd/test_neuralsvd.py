"""NeuralSVD on patches: against the exact eigenvectors one by one, its parameters, resume, dead functions, refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from learnt_lab import SMALL, fitted_as, functions_of

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.exact import exact_eigenspace
from spectral_bench.methods.interface import FitContext
from spectral_bench.methods.neuralsvd.method import NeuralSVD
from spectral_bench.methods.neuralsvd.params import NeuralSVDParams
from spectral_bench.methods.spectral_health import method_checks
from spectral_bench.methods.spin import memory
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemorySource,
    Recorder,
    fit,
    fit_context,
    same_state,
    scenes,
    stop_after,
)


@pytest.fixture
def source() -> MemorySource:
    return scenes(8, (4, 5))[0]


def fitted(source: MemorySource, **params: Any) -> NeuralSVD:
    return fitted_as(NeuralSVD, "neuralsvd", source, **params)


@pytest.mark.slow
@pytest.mark.parametrize(("nesting", "degrees"), [("sequential", 14), ("joint", 25)])
def test_each_function_is_the_exact_eigenvector_of_its_place(nesting: str, degrees: float) -> None:
    """A small graph of one kind of edges, whose first eigenvalues are apart; the whole of it is one batch."""
    source = scenes(8, (6, 7), noise=0.3)[0]
    params = {"neighbours": 100, "alpha": 0.0, "batch_size": 8, "k": 5, "functions": 5, "width": 32, "steps": 400}
    method = fitted(source, **params, lr=1e-2, nesting=nesting)
    batch = source.batch(range(8))
    values, vectors = exact_eigenspace(method.kernel(batch), 6)
    assert (values[:5] / values[1:]).min() > 1.04
    functions = functions_of(method, source).double().numpy()
    cosines = np.abs((functions / np.linalg.norm(functions, axis=0) * vectors[:, :5]).sum(0))
    assert np.degrees(np.arccos(cosines.clip(max=1))).max() < degrees
    checks = {check.name: check for check in method_checks(method, [batch])}
    assert checks["order"].value == 1


def test_functions_have_mean_square_one_over_the_training_patches(source: MemorySource) -> None:
    torch.testing.assert_close(functions_of(fitted(source), source).square().mean(0), torch.ones(3))


def test_separated_functions_are_of_the_same_span_one_by_one_nearer_and_in_order(source: MemorySource) -> None:
    """After few steps; the whole source is one batch, so that its kernel is that of all training patches."""
    params = {"batch_size": 8, "functions": 5, "width": 16, "steps": 60, "lr": 1e-2}
    plain, turned = (fitted(source, **params, separate=wanted) for wanted in (False, True))
    batch = source.batch(range(8))
    mixed, functions = (functions_of(method, source).double() for method in (plain, turned))
    across = torch.linalg.svdvals(torch.linalg.qr(mixed).Q.T @ torch.linalg.qr(functions).Q)
    assert across.min() > 1 - 1e-5
    torch.testing.assert_close(functions.T @ functions / len(functions), torch.eye(5).double(), atol=1e-4, rtol=0)
    moments = functions.T @ plain.kernel(batch).apply(functions.float()).double() / len(functions)
    quotients = moments.diagonal()
    torch.testing.assert_close(moments, quotients.diag(), atol=2e-3, rtol=0)
    assert quotients.tolist() == sorted(quotients.tolist(), reverse=True)
    assert (mixed.T @ plain.kernel(batch).apply(mixed.float()).double() / len(mixed)).triu(1).abs().max() > 2e-2


def test_vanished_functions_stay_zero_and_come_last_when_others_are_separated(source: MemorySource) -> None:
    """What has no positive eigenvalue left takes no part in the rotation."""
    method = fitted(source, functions=4, separate=True)
    patches = source.subsample(source.n_patches)
    values = method._values(patches.features)
    values[:, 1] = 1e-7
    context = fit_context()
    scaling = method._scaling(values, source, context)
    assert not scaling[3].any()
    assert not scaling[:, 1].any()
    scaled = values.double() @ scaling.T
    torch.testing.assert_close((scaled.T @ scaled / len(scaled))[:3, :3], torch.eye(3).double(), atol=1e-4, rtol=0)
    assert not method._scaling(values * 0, source, context).any()


def test_identities_of_functions_that_are_not_separated_are_those_of_before() -> None:
    assert not {"separate", "separate_batches"} & NeuralSVDParams().model_dump().keys()
    assert NeuralSVDParams(separate=True).model_dump()["separate_batches"] == 64
    with pytest.raises(ValueError, match="separate_batches = 8 is for separate: true alone"):
        NeuralSVDParams(separate_batches=8)


def test_a_function_without_a_positive_eigenvalue_becomes_zero_and_is_no_noise(source: MemorySource) -> None:
    method = NeuralSVD(NeuralSVDParams(functions=3))
    values = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    values[:, 2] *= 1e-6
    scaled = values @ method._scaling(values, source, fit_context()).float().T
    torch.testing.assert_close(scaled[:, :2].square().mean(0), torch.ones(2))
    assert not scaled[:, 2].any()
    assert not method._scaling(values * 0, source, fit_context()).any()


@pytest.mark.parametrize(
    "change",
    [
        {"nesting": "joint"},
        {"overlaps": "halves"},
        {"steps_of": "plain"},
        {"functions": 4},
        {"alpha": 0.0},
        {"separate": True},
    ],
)
def test_every_parameter_of_the_training_reaches_it(source: MemorySource, change: dict[str, Any]) -> None:
    assert not same_state(fitted(source), fitted(source, **change))


def test_the_curve_records_the_eigenvalues_that_lengths_estimate(source: MemorySource) -> None:
    recorder = Recorder()
    fit("neuralsvd", {**SMALL, "epochs": 100, "lr": 1e-2}, source, recorder=recorder)
    last = recorder.curve[-1][1]
    assert last.keys() == {"loss", "lr", "eigenvalue_first", "eigenvalue_last"}
    assert last["loss"] < recorder.curve[0][1]["loss"]
    for name in ("eigenvalue_first", "eigenvalue_last"):  # 1 of the feature graph, alpha = 0.3 of the pixel graph
        assert last[name] == pytest.approx(1.3, abs=0.15)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resume_in_training_and_in_clustering_ends_with_the_same_bits(source: MemorySource, precision: str) -> None:
    undisturbed = fit("neuralsvd", SMALL, source, precision=precision)
    for questions in (0, 5, 7, 8):  # the last is asked by k-means
        checkpoint, recorder = MemoryCheckpoint(), Recorder()
        settings = {"checkpoint": checkpoint, "precision": precision}
        with pytest.raises(RunInterrupted):
            fit("neuralsvd", SMALL, source, should_stop=stop_after(questions), **settings)
        resumed = fit("neuralsvd", SMALL, source, recorder=recorder, **settings)
        assert same_state(undisturbed, resumed)
        assert recorder.stages == ["graph"] * (8 - questions)


def test_more_functions_than_a_batch_has_patches_are_learnt_and_more_than_are_clustered_refused(
    source: MemorySource,
) -> None:
    assert functions_of(fitted(source, batch_size=1, functions=21, epochs=1), source).isfinite().all()
    with pytest.raises(ConfigError, match="functions = 161: expected at most the 160 training patches"):
        fitted(source, functions=161)


def test_more_memory_than_there_is_is_refused_before_work(
    source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**7)
    recorder = Recorder()
    with pytest.raises(ConfigError, match=r"functions = 3, width = 8, depth = 2: .* are free on cpu; lower one of"):
        fit("neuralsvd", SMALL, source, recorder=recorder)
    assert recorder == Recorder()


def test_constant_features_end_in_a_failed_check(source: MemorySource) -> None:
    constant = MemorySource([torch.full_like(level, 0.3) for level in source.features])
    assert not all(check.passed for check in fitted(constant).checks)


def test_an_unfitted_method_says_so(source: MemorySource) -> None:
    context: FitContext = fit_context()
    assert context.base is None
    with pytest.raises(RuntimeError, match="fit or load a state"):
        NeuralSVD(NeuralSVDParams()).predict(source.batch([0]))
