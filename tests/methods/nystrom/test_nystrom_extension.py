"""Values of eigenvectors outside of the sample equal their formulas."""

from __future__ import annotations

import dense_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.nystrom.extension import ClusterMeans, GraphKind, SampledGraph, reach_of


def unit(count: int, seed: int) -> Tensor:
    return functional.normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)), dim=1)


def sampled(count: int, neighbours: int, kind: GraphKind, seed: int = 0) -> SampledGraph:
    """A graph with the literal degrees, and numbers in the place of eigenvectors."""
    features = unit(count, seed)
    affinity = {"knn": reference.feature_affinity, "mutual": reference.mutual_affinity}[kind]
    degrees = torch.from_numpy(affinity(features.double().numpy(), neighbours).sum(1)).float()
    vectors = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed + 1))
    return SampledGraph(features, vectors, torch.tensor([1.0, 0.7, 0.4]), degrees, reach_of(features, neighbours))


@given(st.integers(3, 12), st.integers(1, 14), st.sampled_from(["knn", "mutual"]), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_the_formula_is_literal(count: int, neighbours: int, kind: GraphKind, seed: int) -> None:
    graph, others = sampled(count, neighbours, kind, seed), unit(3, seed + 2)
    similar = others.double().numpy() @ graph.features.double().numpy().T
    own = graph.features.double().numpy() @ graph.features.double().numpy().T
    expected = np.zeros((3, 3))
    for x in range(3):
        weights = np.zeros(count)
        for i in range(count):
            rank = sum(similar[x] > similar[x, i])
            closer = sum(own[i, j] > similar[x, i] for j in range(count) if j != i)
            forward, backward = rank < neighbours, closer < min(neighbours, count - 1)
            share = float(forward and backward) if kind == "mutual" else (int(forward) + int(backward)) / 2
            weights[i] = max(0.0, similar[x, i]) * share
        degree = weights.sum()
        for i in range(count):
            if weights[i] > 0 and graph.degrees[i] > 0:
                scale = weights[i] / np.sqrt(degree * float(graph.degrees[i]))
                expected[x] += scale * graph.vectors[i].double().numpy() / graph.values.double().numpy()
    found = graph.formula(others, neighbours=neighbours, graph=kind)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, -0.2])
def test_the_formula_does_not_divide_by_what_is_not_positive(value: float) -> None:
    graph = sampled(8, 3, "knn")
    graph.values[2] = value
    with pytest.raises(NumericalError, match=f"divides by eigenvalues, and the least of them is {value:.3g}"):
        graph.formula(unit(2, 5), neighbours=3, graph="knn")


def test_a_patch_without_an_edge_to_the_sample_gets_zeros() -> None:
    graph = sampled(8, 3, "knn")
    alone = torch.zeros(1, 4)
    assert not bool(graph.formula(alone, neighbours=3, graph="knn").any())


@pytest.mark.parametrize("count", [1, 3, 99])
def test_nearest_takes_the_mean_of_the_most_similar(count: int) -> None:
    graph, others = sampled(10, 3, "knn"), unit(6, 7)
    for row, found in zip(others, graph.nearest(others, count), strict=True):
        closest = torch.argsort(graph.features @ row, descending=True)[:count]
        torch.testing.assert_close(found, graph.vectors[closest].mean(0))


def test_of_equally_similar_patches_the_first_counts() -> None:
    graph = sampled(6, 3, "knn")
    graph.features[4] = graph.features[1]
    assert torch.equal(graph.nearest(graph.features[4:5], 1)[0], graph.vectors[1])


def test_a_cluster_without_sampled_patches_is_never_the_nearest() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]])
    found = ClusterMeans.of(rows, torch.tensor([3, 3, 1]))
    torch.testing.assert_close(found.means, torch.tensor([[-1.0, 0.0], [0.9, 0.3]]))
    assert found.clusters.tolist() == [1, 3]
    image = torch.tensor([[0.0, 1.0], [-0.6, -0.8], [0.0, -1.0]])[None, None]
    distances = found.scores(image, 5, "distance")
    assert distances.argmax(1).flatten().tolist() == [3, 1, 1]
    assert bool(distances.isfinite().all())
    assert found.scores(image, 5, "one_hot")[0, :, 0].T.tolist() == [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]

    opposite = ClusterMeans.of(torch.tensor([[0.6, 0.8]] * 3), torch.tensor([3, 3, 3]))
    assert opposite.scores(torch.tensor([[-0.6, -0.8]])[None, None], 5, "distance").argmax(1).item() == 3
