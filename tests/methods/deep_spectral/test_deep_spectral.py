"""The deep_spectral method as a whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.metrics import adjusted_rand_score, homogeneity_score
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.deep_spectral.method import DeepSpectral
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.inputs import only_features
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.spectral_health import method_checks, spectral_checks
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

SMALL = {"k": 6, "eigenvectors": 6, "segments": 12, "colour_weight": 0.5}


def fitted(source: MemorySource, **params: Any) -> DeepSpectral:
    method = fit("deep_spectral", {**SMALL, **params}, source)
    assert isinstance(method, DeepSpectral)
    return method


def labels(method: DeepSpectral, source: MemorySource) -> Tensor:
    return method.predict(source.batch(range(len(source)))).argmax(1)


@pytest.mark.parametrize("descriptor", ["last", "last_l2", "all_standardised_l2"])
@pytest.mark.parametrize("level", [-1, 0, "all_standardised"])
def test_groups_that_differ_are_told_apart_on_unseen_images_too(descriptor: str, level: Any) -> None:
    both, truth = scenes(20, (8, 8), groups=4, noise=0.05)
    train, unseen = (
        MemorySource([one[part] for one in both.features], both.pixels[part]) for part in (slice(10), slice(10, 20))
    )
    method = fitted(train, descriptor=descriptor, level=level, colour_weight=0.0, segment_restarts=3)
    for source, known in ((train, truth[:10]), (unseen, truth[10:])):
        assert homogeneity_score(known.flatten(), labels(method, source).flatten()) > 0.95


@pytest.mark.parametrize("scores", ["one_hot", "distance"])
def test_scores_are_equal_within_segments(scores: str) -> None:
    source, _ = scenes(4, (8, 9), noise=0.3)
    found = fitted(source, scores=scores).predict(source.batch([0, 1]))
    for image in found:
        assert len(torch.unique(image.flatten(1), dim=1).T) <= 12
    if scores == "one_hot":
        assert torch.equal(found.sum(1), torch.ones(2, 8, 9))
        assert set(found.unique().tolist()) == {0.0, 1.0}


def test_the_eigengap_decides_below_the_most_that_are_allowed() -> None:
    features = torch.eye(3)[torch.arange(36).view(1, 6, 6) // 12] + 1e-3  # three bands, all but unconnected
    source = MemorySource([features])
    gap = fitted(source, k=3, segments_by="eigengap", eigenvectors=3, colour_weight=0.0, segment_restarts=5)
    assert torch.equal(labels(gap, source)[0, ::2, 0].unique(), torch.arange(3))
    assert all(len(labels(gap, source)[0, row : row + 2].unique()) == 1 for row in (0, 2, 4))
    with pytest.raises(ConfigError, match="k = 5: expected at most 3, the segments that the training images have"):
        fitted(source, k=5, segments_by="eigengap", eigenvectors=3, colour_weight=0.0)
    two = fitted(source, k=3, segments_by="eigengap", eigenvectors=2, colour_weight=0.0, segment_restarts=5)
    assert len(labels(two, source).unique()) == 3  # both eigenvalues are the same: the gap lies behind them


def test_more_clusters_than_segments_are_refused_before_work_starts() -> None:
    recorder = Recorder()
    with pytest.raises(ConfigError, match=r"k = 49: expected at most 48, the segments .* can have at most"):
        fit("deep_spectral", {**SMALL, "k": 49, "segments": 6}, scenes(8)[0], recorder=recorder)
    assert recorder.stages == []


def test_a_single_image_is_enough() -> None:
    source, _ = scenes(1, (9, 9))
    assert len(labels(fitted(source), source).unique()) > 1


def test_an_image_of_alike_patches_is_one_segment() -> None:
    source, _ = scenes(4, (6, 6))
    features = [level.clone() for level in source.features]
    for level in features:
        level[2] = 0.3
    found = labels(fitted(MemorySource(features), colour_weight=0.0), MemorySource(features))
    assert len(found[2].unique()) == 1
    assert len(found[0].unique()) > 1


@pytest.mark.parametrize("solver", ["eigh", "arpack", "lobpcg"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_solvers_and_precisions_agree(solver: str, dtype: str) -> None:
    source, _ = scenes(6, (8, 8), groups=4, noise=0.05)
    reference = labels(fitted(source, solver="eigh", dtype="float64"), source)
    found = labels(fitted(source, solver=solver, dtype=dtype), source)
    assert adjusted_rand_score(reference.flatten(), found.flatten()) > 0.95


def test_threads_change_no_bit_of_a_fit() -> None:
    before, found = torch.get_num_threads(), []
    source, _ = scenes(6, (8, 8))
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(fitted(source))
    finally:
        torch.set_num_threads(before)
    assert same_state(*found)


def test_a_fit_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.methods.deep_spectral.method._AT_ONCE", 2)
    source, _ = scenes(8)
    whole, checkpoint, recorder = fitted(source), MemoryCheckpoint(), Recorder()
    with pytest.raises(RunInterrupted):
        fit("deep_spectral", SMALL, source, checkpoint=checkpoint, should_stop=stop_after(2))
    resumed = fit("deep_spectral", SMALL, source, checkpoint=checkpoint, recorder=recorder)
    assert recorder.progress[:2] == [(6, 8), (8, 8)]
    assert same_state(whole, resumed)


def test_a_stop_in_the_last_k_means_keeps_the_segments() -> None:
    source, _ = scenes(8)
    whole, checkpoint, recorder = fitted(source), MemoryCheckpoint(), Recorder()
    with pytest.raises(RunInterrupted):
        fit("deep_spectral", SMALL, source, checkpoint=checkpoint, should_stop=stop_after(2))
    saved = checkpoint.load()
    assert saved is not None
    assert saved["done"] == 8
    resumed = fit("deep_spectral", SMALL, source, checkpoint=checkpoint, recorder=recorder)
    assert (8, 8) not in recorder.progress
    assert same_state(whole, resumed)


@pytest.mark.parametrize("joined", [0, 1, 2, 5, 36])
def test_eigenfunctions_of_an_image_of_few_edges_are_the_kernels_too(joined: int) -> None:
    source, _ = scenes(4, (6, 6))
    method = fitted(source, colour_weight=0.0, dtype="float64")
    features = [level.clone() for level in source.features]
    features[-1][1].view(36, -1)[joined:] = 0
    few = MemorySource(features)
    functions = method.eigenfunctions(few.batch([0, 1]))
    assert functions.shape == (2, 7, 6, 6)
    found = functions[1].flatten(1).T.double()
    kernel = method.kernel(few.batch([1])).matrix.double()
    torch.testing.assert_close(found.T @ found, torch.eye(7).double(), rtol=0, atol=1e-5)
    values = (found * (kernel @ found)).sum(0)
    torch.testing.assert_close(kernel @ found, found * values, rtol=0, atol=1e-5)
    assert bool((values[1:].diff() <= 1e-6).all())
    assert method.predict(few.batch([1])).isfinite().all()


def test_an_image_of_one_patch_has_the_constant_function() -> None:
    method = fitted(scenes(4)[0])
    single = MemorySource([level[:, :1, :1] for level in scenes(2)[0].features])
    assert torch.equal(method.eigenfunctions(single.batch([0, 1])), torch.ones(2, 1, 1, 1))
    assert method.predict(single.batch([0, 1])).shape == (2, 6, 1, 1)


def test_eigenfunctions_are_the_kernels_principal_ones() -> None:
    source, _ = scenes(3, (9, 10), noise=0.3)
    method = fitted(source, dtype="float64")
    functions = method.eigenfunctions(source.batch([0, 2]))
    assert functions.shape == (2, 7, 9, 10)
    assert functions.dtype == torch.float32
    for place, image in enumerate((0, 2)):
        kernel = method.kernel(source.batch([image]))
        found = spectral_checks(functions[place].flatten(1).T, kernel, limits={"angle_largest": 0.1})
        checks = {check.name: check for check in found}
        assert checks["angle_largest"].passed
        assert checks["residual_largest"].value is not None
        assert checks["residual_largest"].value < 1e-5
        torch.testing.assert_close(kernel.matrix, kernel.matrix.T)


def test_a_kernel_is_of_one_image() -> None:
    source, _ = scenes(3)
    with pytest.raises(ValueError, match="was given 2 images"):
        fitted(source).kernel(source.batch([0, 1]))


@pytest.mark.parametrize("solver", ["eigh", "arpack", "lobpcg"])
def test_health_asks_each_image_for_small_residuals_even_where_patches_are_alike(solver: str) -> None:
    source, _ = scenes(3)
    method = fitted(source, colour_weight=0.0, solver=solver)
    alike = MemorySource([torch.full_like(level, 0.3) for level in source.features])
    assert method.per_image
    checks = method_checks(method, [source.batch([0]), alike.batch([1])], limits=method.health_limits)
    residual = next(check for check in checks if check.name == "residual_largest")
    assert residual.limit == 1e-3
    assert all(check.passed for check in checks)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_and_gradients_are_taken_as_float32(dtype: torch.dtype) -> None:
    source, _ = scenes(4)
    method = fitted(source, scores="distance")
    batch = source.batch([0, 1])
    levels, pixels = [level.to(dtype).requires_grad_() for level in batch.features], batch.pixels.to(dtype)
    other = PatchBatch(tuple(levels), pixels.requires_grad_(), batch.image_ids, batch.crops)
    same = only_features(other)
    assert torch.equal(method.predict(other), method.predict(same))
    assert torch.equal(method.eigenfunctions(other), method.eigenfunctions(same))
    first = PatchBatch(tuple(level[:1] for level in levels), pixels[:1], batch.image_ids[:1], batch.crops[:1])
    assert method.kernel(first).matrix.dtype == torch.float32
    wide = MemorySource([level.to(dtype) for level in source.features], source.pixels)
    assert fitted(wide).state_dict()["centres"].dtype == torch.float32


@pytest.mark.parametrize("descriptor", ["last", "last_l2"])
def test_features_whose_length_overflows_are_refused(descriptor: str) -> None:
    source, _ = scenes(3)
    method = fitted(source, descriptor=descriptor)
    source.features[-1][1] *= 1e25
    message = "image image1: features of 42 of 42 patches are so large that their length overflows"
    for refused in (method.predict, method.eigenfunctions):
        with pytest.raises(NumericalError, match=message):
            refused(source.batch([0, 1]))
    with pytest.raises(NumericalError, match=message):
        fitted(source, descriptor=descriptor)


def test_predicting_before_a_fit_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="fit or load a state"):
        DeepSpectral(DeepSpectralParams()).predict(scenes(1)[0].batch([0]))


def test_checks_speak_of_residual_and_collapse() -> None:
    source, _ = scenes(4)
    checks = {check.name: check for check in fitted(source).checks}
    assert checks["decomposition_residual"].passed
    assert checks["training_clusters_in_use"].passed
    alike = MemorySource([torch.full_like(level, 0.3) for level in source.features])
    collapsed = DeepSpectral(DeepSpectralParams(**{**SMALL, "k": 3})).fit(alike, context=fit_context())
    assert not {check.name: check for check in collapsed.checks}["training_clusters_in_use"].passed


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"segments": 1}, "segments = 1: input should be greater than or equal to 2"),
        ({"eigenvectors": 0}, "eigenvectors = 0"),
        ({"solver": "arpak"}, 'unknown solver of deep_spectral "arpak"; did you mean "arpack"'),
        ({"eigenvectors": 1, "segments_by": "eigengap"}, "eigenvectors = 1: an eigengap needs 2 or more"),
        ({"colour_weight": -1}, "colour_weight = -1"),
        ({"descriptor": "first"}, 'unknown descriptor of deep_spectral "first"'),
    ],
)
def test_bad_parameters_are_refused_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        complete_params("deep_spectral", params)
