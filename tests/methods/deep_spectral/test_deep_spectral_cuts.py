"""deep_spectral by cuts of an image's graph: parameters, certificates, odd images, checkpoints."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.metrics import homogeneity_score
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.deep_spectral.cuts import cut_image, normalised_cut
from spectral_bench.methods.deep_spectral.method import DeepSpectral
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.health import Check
from spectral_bench.methods.inputs import one_by_one
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.spectral_health import method_checks
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemorySource,
    Recorder,
    fit,
    same_state,
    scenes,
    stop_after,
)

CUTS: list[dict[str, Any]] = [
    {"cut": "recursive"},
    {"cut": "recursive", "solver": "eigh", "dtype": "float64"},
    {"cut": "recursive", "tau": 0.7, "colour_weight": 0.02},
    {"cut": "kway"},
    {"cut": "kway", "segments_by": "silhouette", "segments": 6},
    {"cut": "kway", "segments_by": "eigengap", "dtype": "float64"},
    {"segments_by": "silhouette", "affinity_power": 4, "eigenvectors": 3, "segments": 6},
]


def fitted(source: MemorySource, **params: Any) -> DeepSpectral:
    method = fit("deep_spectral", {"k": 4, "segments": 12, "eigenvectors": 6, **params}, source)
    assert isinstance(method, DeepSpectral)
    return method


def labels(method: DeepSpectral, source: MemorySource) -> Tensor:
    return method.predict(source.batch(range(len(source)))).argmax(1)


def checks(method: DeepSpectral) -> dict[str, Check]:
    return {check.name: check for check in method.checks}


@pytest.mark.parametrize("params", [one for one in CUTS if one.get("segments_by") != "silhouette"], ids=str)
def test_groups_that_differ_are_told_apart_on_unseen_images_too(params: dict[str, Any]) -> None:
    both, truth = scenes(20, (8, 8), groups=4, noise=0.05)
    train, unseen = (
        MemorySource([one[part] for one in both.features], both.pixels[part]) for part in (slice(10), slice(10, 20))
    )
    method = fitted(train, restarts=5, **{"colour_weight": 0.0, **params})
    for source, known in ((train, truth[:10]), (unseen, truth[10:])):
        assert homogeneity_score(known.flatten(), labels(method, source).flatten()) > 0.95


@pytest.mark.parametrize("params", CUTS, ids=str)
def test_the_record_says_what_was_reached(params: dict[str, Any]) -> None:
    source, _ = scenes(6, (8, 8), groups=4, noise=0.3)
    found = checks(fitted(source, **params))
    assert all(check.passed for check in found.values())
    assert 1 < (found["segments_mean"].value or 0) <= 12
    assert 0 < (found["normalised_cut_mean"].value or 0) < 12
    by_vectors = params.get("cut") != "kway" or "segments_by" in params
    assert ("decomposition_residual" in found) == by_vectors
    assert ("unfinished_images" in found) == (params.get("cut") == "kway")
    if params.get("cut") == "recursive":
        largest = found["bipartition_cut_largest"]
        assert largest.limit == params.get("tau", 0.5)
        assert 0 < (largest.value or 0) < (largest.limit or 0)


def test_means_are_over_the_training_images_and_of_their_own_cuts() -> None:
    source, _ = scenes(5, (7, 8), noise=0.3)
    method = fitted(source, cut="kway")
    decomposer, seen = method._decomposer(), []
    for image in one_by_one(source.batch(range(5))):
        affinity = decomposer.affinity(image)
        cut = method._cut_one(affinity, None)
        seen.append((len(cut.labels.unique()), normalised_cut(affinity, cut.labels)))
    assert checks(method)["segments_mean"].value == pytest.approx(sum(number for number, _ in seen) / 5)
    assert checks(method)["normalised_cut_mean"].value == pytest.approx(sum(value for _, value in seen) / 5)


def test_steps_that_ran_out_are_in_the_record() -> None:
    source, _ = scenes(4, (8, 8), noise=1.0)
    check = checks(fitted(source, cut="kway", iterations=1))["unfinished_images"]
    assert check.value == 4
    assert "when the steps ran out" in check.note
    assert checks(fitted(source, cut="kway"))["unfinished_images"].note == ""


@pytest.mark.parametrize("params", CUTS, ids=str)
def test_images_that_are_odd_are_cut_and_predicted(params: dict[str, Any]) -> None:
    """All patches alike, all without features, a few with features, one patch, two."""
    source, _ = scenes(8, (6, 7), noise=0.1)
    features = [level.clone() for level in source.features]
    for level in features:
        level[1] = 0.3
        level[2] = 0.0
        level[3].flatten(0, 1)[5:] = 0.0
    odd = MemorySource(features, source.pixels)
    method = fitted(odd, **{**params, "colour_weight": 0.0})
    found = labels(method, odd)
    assert all(check.passed for check in method.checks)
    assert len(found[1].unique()) == len(found[2].unique()) == 1
    assert len(found[3].flatten()[5:].unique()) == 1
    assert len(found[0].unique()) > 1
    for grid in ((1, 1), (1, 2), (2, 1)):
        small = MemorySource([level[:, : grid[0], : grid[1]] for level in source.features])
        assert method.predict(small.batch([0, 1])).shape == (2, 4, *grid)


@pytest.mark.parametrize("cut", ["recursive", "kway"])
def test_fewer_patches_than_segments(cut: str) -> None:
    source, _ = scenes(4, (2, 3), noise=1.0)
    method = fitted(source, cut=cut, segments=24, **({"tau": 1.0} if cut == "recursive" else {}))
    assert 1 <= (checks(method)["segments_mean"].value or 0) <= 6


def test_too_few_segments_for_the_clusters_name_what_decides_on_them() -> None:
    with pytest.raises(ConfigError, match=r"k = 20: expected at most \d+, the .* images have at tau = 0.01"):
        fitted(scenes(2, noise=1.0)[0], k=20, cut="recursive", tau=0.01)


@pytest.mark.parametrize("cut", ["recursive", "kway"])
def test_a_graph_of_equal_weights_is_one_segment_and_loops_count(cut: str) -> None:
    params = DeepSpectralParams(cut=cut)

    def number(affinity: Tensor) -> int:
        found = cut_image(affinity, params, 5, seeds=SeedStreams(0), restart_seed=0)
        return len(found.labels.unique())

    assert number(torch.full((9, 9), 0.7)) == number(torch.zeros(9, 9)) == number(torch.ones(1, 1)) == 1
    assert number(torch.eye(9)) == 5


@pytest.mark.parametrize("cut", ["recursive", "kway"])
def test_a_fit_goes_on_where_it_was_stopped(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.methods.deep_spectral.method._AT_ONCE", 2)
    source, _ = scenes(8, noise=0.3)
    params = {"k": 4, "segments": 6, "cut": cut}
    whole, checkpoint, recorder = fit("deep_spectral", params, source), MemoryCheckpoint(), Recorder()
    with pytest.raises(RunInterrupted):
        fit("deep_spectral", params, source, checkpoint=checkpoint, should_stop=stop_after(2))
    resumed = fit("deep_spectral", params, source, checkpoint=checkpoint, recorder=recorder)
    assert recorder.progress[:2] == [(6, 8), (8, 8)]
    assert same_state(whole, resumed)
    assert isinstance(whole, DeepSpectral)
    assert isinstance(resumed, DeepSpectral)
    assert whole.checks == resumed.checks


def test_a_checkpoint_of_before_there_were_certificates_is_gone_on_with() -> None:
    source, _ = scenes(6)
    params, checkpoint = {"k": 4, "segments": 6}, MemoryCheckpoint()
    whole = fit("deep_spectral", params, source, checkpoint=checkpoint)
    saved = checkpoint.load()
    assert saved is not None
    checkpoint.save({"done": saved["done"], "descriptors": saved["descriptors"], "residual": 3e-5})
    resumed = fit("deep_spectral", params, source, checkpoint=checkpoint)
    assert same_state(whole, resumed)
    assert isinstance(resumed, DeepSpectral)
    assert checks(resumed)["decomposition_residual"].value == 3e-5
    assert "segments_mean" not in checks(resumed)


@pytest.mark.parametrize("cut", ["recursive", "kway"])
def test_threads_change_no_bit_of_a_fit(cut: str) -> None:
    before, found = torch.get_num_threads(), []
    source, _ = scenes(6, (8, 8), noise=0.3)
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(fitted(source, cut=cut))
    finally:
        torch.set_num_threads(before)
    assert same_state(*found)


@pytest.mark.parametrize("cut", ["recursive", "kway"])
def test_health_looks_at_the_eigenvectors_of_the_graph_that_is_cut(cut: str) -> None:
    source, _ = scenes(3, (8, 8), noise=0.3)
    method = fitted(source, cut=cut)
    found = method_checks(method, [source.batch([0]), source.batch([1])], limits=method.health_limits)
    assert all(check.passed for check in found)


@pytest.mark.parametrize("cut", ["recursive", "kway"])
def test_errors_name_the_image(cut: str) -> None:
    source, _ = scenes(3)
    method = fitted(source, cut=cut)
    source.features[-1][1, 2, 2] = torch.nan
    with pytest.raises(NumericalError, match="image1 holds NaN"):
        method.predict(source.batch([0, 1]))


def test_runs_by_eigenvectors_keep_their_identities() -> None:
    written = complete_params("deep_spectral", {"segments": 8})
    assert not {"cut", "tau", "affinity_power", "similarity"} & written.keys()
    assert written["colour_weight"] == 10.0


@pytest.mark.parametrize("cut", ["recursive", "kway"])
def test_cuts_take_the_graph_of_diffcut_unless_another_is_asked_for(cut: str) -> None:
    written = complete_params("deep_spectral", {"cut": cut})
    assert (written["affinity_power"], written["similarity"], written["colour_weight"]) == (10.0, "rescaled", 0.0)
    assert written == complete_params("deep_spectral", written)
    assert written.get("tau") == (0.5 if cut == "recursive" else None)
    own = complete_params("deep_spectral", {"cut": cut, "affinity_power": 1, "similarity": "clamped"})
    assert (own["affinity_power"], own["similarity"]) == (1.0, "clamped")
    released = complete_params("deep_spectral", {"cut": cut, "published": True})
    assert (released["affinity_power"], released["similarity"], released["colour_weight"]) == (1.0, "clamped", 10.0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"cut": "kwai"}, 'unknown cut of deep_spectral "kwai"; did you mean "kway"'),
        ({"tau": 0.3}, "tau = 0.3: only cut: recursive looks at it"),
        ({"cut": "kway", "tau": 0.3}, "tau = 0.3: only cut: recursive looks at it"),
        ({"cut": "recursive", "tau": 0}, "tau = 0: input should be greater than 0"),
        ({"cut": "recursive", "tau": 1.5}, r"tau = 1.5: input should be less than or equal to 1"),
        ({"cut": "recursive", "segments_by": "eigengap"}, "segments_by = eigengap: with cut: recursive tau says"),
        ({"cut": "recursive", "segments_by": "silhouette"}, "segments_by = silhouette: with cut: recursive tau says"),
        ({"segments_by": "fixed"}, 'unknown segments_by of deep_spectral "fixed"'),
        ({"affinity_power": 0}, "affinity_power = 0: input should be greater than 0"),
        ({"published": True, "affinity_power": 2}, "affinity_power = 2.0: with published: true it is 1.0"),
        ({"published": True, "similarity": "rescaled"}, "similarity = rescaled: with published: true it is clamped"),
    ],
)
def test_bad_parameters_are_refused_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        complete_params("deep_spectral", params)
