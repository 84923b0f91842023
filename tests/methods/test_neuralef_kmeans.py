"""k-means on the hidden features of a NeuralEF fit."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.neuralef.kmeans import NeuralEFKMeans
from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.testing import MemorySource, build, fit, fit_context, same_state, scenes, stop_after

SMALL: dict[str, Any] = {
    "k": 5,
    "base_k": 7,
    "neighbours": 12,
    "epochs": 2,
    "batch_size": 4,
    "depth": 1,
    "heads": 2,
    "head_width": 4,
    "mlp_width": 8,
}


@pytest.fixture
def source() -> MemorySource:
    return scenes(8, (4, 5))[0]


@pytest.fixture
def base(source: MemorySource) -> NeuralEF:
    params = {name: value for name, value in SMALL.items() if name != "base_k"}
    method = fit("neuralef", {**params, "k": 7}, source)
    assert isinstance(method, NeuralEF)
    return method


def test_the_base_is_reused_and_not_trained(source: MemorySource, base: NeuralEF) -> None:
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    method = fit("neuralef_kmeans", SMALL, source, base=base)
    state = method.state_dict()
    assert all(torch.equal(state["base." + name], tensor) for name, tensor in before.items())
    assert state["centres"].shape == (5, 18)


@pytest.mark.parametrize("kind", ["hidden", "hidden_l2", "hidden_norm"])
def test_centres_are_means_of_hidden_features(source: MemorySource, base: NeuralEF, kind: str) -> None:
    method = fit("neuralef_kmeans", {**SMALL, "input": kind, "tol": 0.0}, source, base=base)
    batch = source.batch(range(8))
    hidden = base.hidden(batch).flatten(0, 2)
    hidden = functional.normalize(hidden, dim=1) if kind == "hidden_l2" else hidden
    if kind == "hidden_norm":
        assert base.psi is not None
        norm = base.psi.norm
        hidden = functional.layer_norm(hidden, (hidden.shape[1],), norm.weight.detach(), norm.bias.detach())
    assigned = method.predict(batch).argmax(1).flatten()
    means = torch.stack([hidden[assigned == cluster].mean(0) for cluster in range(5)])
    torch.testing.assert_close(method.state_dict()["centres"], means, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("bound", "expected"), [(10**6, 160), (160, 160), (37, 37), (5, 5)])
def test_the_sample_is_uniform_over_patches(source: MemorySource, base: NeuralEF, bound: int, expected: int) -> None:
    method = NeuralEFKMeans(build("neuralef_kmeans", {**SMALL, "max_patches": bound}).params)  # type: ignore[attr-defined]
    method._base = base
    points = method._hidden_patches(source, min(bound, 160), fit_context(0))
    assert points.shape == (expected, 18)
    everything = base.hidden(source.batch(range(8))).flatten(0, 2)
    at = (points[:, None] == everything[None]).all(-1).nonzero()[:, 1]
    assert len(at.unique()) == expected
    again = method._hidden_patches(source, min(bound, 160), fit_context(0))
    assert torch.equal(points, again)


def test_images_without_a_chosen_patch_are_skipped(source: MemorySource, base: NeuralEF) -> None:
    method = NeuralEFKMeans(build("neuralef_kmeans", SMALL).params)  # type: ignore[attr-defined]
    method._base = base
    seen = []
    for seed in range(6):
        points = method._hidden_patches(source, 2, fit_context(seed))
        seen.append(points)
        assert points.isfinite().all()
    assert len({tuple(points.flatten().tolist()) for points in seen}) > 1


def test_scores_of_both_kinds_assign_alike(source: MemorySource, base: NeuralEF) -> None:
    hot, distance = (
        fit("neuralef_kmeans", {**SMALL, "scores": scores}, source, base=base).predict(source.batch([0, 1]))
        for scores in ("one_hot", "distance")
    )
    assert torch.equal(hot.argmax(1), distance.argmax(1))
    assert set(hot.unique().tolist()) == {0.0, 1.0}


def test_without_a_base_the_fit_is_refused(source: MemorySource) -> None:
    with pytest.raises(ConfigError, match="starts from a stored neuralef fit"):
        build("neuralef_kmeans", SMALL).fit(source, context=fit_context())


def test_more_clusters_than_patches_are_refused(source: MemorySource, base: NeuralEF) -> None:
    with pytest.raises(ConfigError, match="k = 161"):
        fit("neuralef_kmeans", {**SMALL, "k": 161}, source, base=base)


def test_a_stop_is_obeyed_while_features_are_gathered(source: MemorySource, base: NeuralEF) -> None:
    with pytest.raises(RunInterrupted):
        fit("neuralef_kmeans", SMALL, source, base=base, should_stop=stop_after(2))


def test_nan_is_refused(source: MemorySource, base: NeuralEF) -> None:
    method = fit("neuralef_kmeans", SMALL, source, base=base)
    source.features[1][2, 0, 0, 0] = float("nan")
    with pytest.raises(NumericalError, match="training images"):
        fit("neuralef_kmeans", SMALL, source, base=base)
    with pytest.raises(NumericalError, match="predicted"):
        method.predict(source.batch([2]))


def test_a_restored_fit_needs_no_base(source: MemorySource, base: NeuralEF) -> None:
    method = fit("neuralef_kmeans", SMALL, source, base=base)
    restored = build("neuralef_kmeans", SMALL)
    restored.load_state_dict(method.state_dict())
    assert same_state(restored, method)
    assert torch.equal(restored.predict(source.batch([0, 5])), method.predict(source.batch([0, 5])))
