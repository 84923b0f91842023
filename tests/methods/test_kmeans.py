"""The k-means method: what it clusters and what it keeps."""

import pytest
import torch
from torch.nn import functional

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.kmeans import KMeans
from spectral_bench.methods.params import KMeansParams
from spectral_bench.methods.testing import MemorySource, build, fit, fit_context, same_state, scenes


def agreement(assigned: torch.Tensor, truth: torch.Tensor) -> float:
    """Share of patches in the most frequent group of their cluster."""
    table = torch.zeros(int(assigned.max()) + 1, int(truth.max()) + 1)
    table.index_put_((assigned.flatten(), truth.flatten()), torch.ones(truth.numel()), accumulate=True)
    return float(table.max(1).values.sum() / table.sum())


@pytest.mark.parametrize("scores", ["one_hot", "distance"])
@pytest.mark.parametrize("kind", ["last", "last_l2", "all_standardised_l2"])
def test_groups_that_differ_are_told_apart(kind: str, scores: str) -> None:
    source, truth = scenes(10, groups=5)
    method = fit("kmeans", {"k": 8, "input": kind, "scores": scores}, source)
    predicted = method.predict(source.batch(range(10)))
    assert predicted.shape == (10, 8, 6, 7)
    assert predicted.dtype == torch.float32
    assert agreement(predicted.argmax(1), truth) > 0.99


def test_the_last_level_alone_counts_unless_all_are_asked_for() -> None:
    source, _ = scenes()
    for kind, same in (("last", True), ("last_l2", True), ("all_standardised_l2", False)):
        other = MemorySource([source.features[0].flip(0), *source.features[1:]])
        first, second = (fit("kmeans", {"k": 5, "input": kind}, data) for data in (source, other))
        assert torch.equal(first.state_dict()["centres"], second.state_dict()["centres"]) is same


def test_scales_of_channels_do_not_count_where_they_are_standardised() -> None:
    source, _ = scenes()
    scaled = MemorySource([level * 1024.0 for level in source.features])
    first, second = (fit("kmeans", {"k": 5, "input": "all_standardised_l2"}, data) for data in (source, scaled))
    torch.testing.assert_close(first.state_dict()["centres"], second.state_dict()["centres"], rtol=1e-3, atol=1e-4)


def test_l2_normalised_inputs_ignore_the_length_of_features() -> None:
    source, _ = scenes()
    method = fit("kmeans", {"k": 5, "input": "last_l2", "scores": "distance"}, source)
    longer = MemorySource([level * 8 for level in source.features])
    a, b = (method.predict(data.batch([0, 3])) for data in (source, longer))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_centres_are_those_of_the_stated_input() -> None:
    source, _ = scenes()
    method = fit("kmeans", {"k": 5, "input": "last_l2", "tol": 0.0}, source)
    points = functional.normalize(source.features[-1].flatten(0, 2), dim=-1)
    assigned = method.predict(source.batch(range(8))).argmax(1).flatten()
    means = torch.stack([points[assigned == cluster].mean(0) for cluster in range(5)])
    torch.testing.assert_close(method.state_dict()["centres"], means, rtol=1e-4, atol=1e-5)


def test_a_bound_on_patches_is_a_uniform_subsample() -> None:
    source, _ = scenes()
    few, again, all_of_them = (fit("kmeans", {"k": 4, "max_patches": n}, source) for n in (60, 60, 10**6))
    assert same_state(few, again)
    assert not same_state(few, all_of_them)


def test_constant_channels_among_others_do_no_harm() -> None:
    source, truth = scenes(10)
    features = [torch.cat([level, torch.full((*level.shape[:3], 2), 0.1)], -1) for level in source.features]
    padded = MemorySource(features, source.pixels)
    method = fit("kmeans", {"k": 8, "input": "all_standardised_l2"}, padded)
    assert agreement(method.predict(padded.batch(range(10))).argmax(1), truth) > 0.99


def test_nan_is_refused_in_training_and_in_prediction() -> None:
    source, _ = scenes()
    method = fit("kmeans", {"k": 4}, source)
    source.features[-1][3, 1, 1, 0] = float("nan")
    with pytest.raises(NumericalError, match="training images"):
        fit("kmeans", {"k": 4}, source)
    with pytest.raises(NumericalError, match="predicted"):
        method.predict(source.batch([2, 3]))


def test_an_unfitted_method_says_so() -> None:
    source, _ = scenes()
    with pytest.raises(RuntimeError, match="fit or load a state"):
        KMeans(KMeansParams(k=3)).predict(source.batch([0]))
    with pytest.raises(RuntimeError, match="fit or load a state"):
        build("kmeans", {"k": 3}).state_dict()


def test_features_are_left_as_they_were() -> None:
    source, _ = scenes()
    before = [level.clone() for level in source.features]
    method = KMeans(KMeansParams(k=3, input="all_standardised_l2")).fit(source, context=fit_context())
    method.predict(source.batch(range(8)))
    assert all(torch.equal(level, kept) for level, kept in zip(source.features, before, strict=True))
