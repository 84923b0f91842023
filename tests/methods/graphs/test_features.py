from __future__ import annotations

import dense_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import features as module
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.options import GraphOptions


def draw_features(n: int, c: int, repeats: int, isolated: int, positive: bool, seed: int) -> Tensor:
    """Float32 features with repeated rows, rows of zeros and, among positive rows, rows opposite to all others."""
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((n, c)).astype(np.float32)
    if positive:
        rows = np.abs(rows)
    for _ in range(repeats):
        rows[generator.integers(n)] = rows[generator.integers(n)]
    for index in range(min(isolated, n)):
        node = generator.integers(n)
        rows[node] = 0 if index % 2 else -np.abs(rows[node])
    return torch.from_numpy(rows)


def safe(similarity: np.ndarray, k: int, margin: float) -> bool:
    """Whether rounding cannot change which neighbours are nearest: no near tie at a boundary, none with 0."""
    if ((np.abs(similarity) > 0) & (np.abs(similarity) < margin)).any():
        return False
    for node, row in enumerate(similarity):
        ordered = np.sort(np.delete(row, node))[::-1]
        if 0 < k < len(ordered) and 0 < ordered[k - 1] - ordered[k] < margin:
            return False
    return True


feature_rows = st.builds(
    draw_features,
    st.integers(1, 30),
    st.integers(2, 6),
    st.integers(0, 12),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2**31),
)


@given(feature_rows, st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_nearest_neighbours_equal_the_literal_graph(features: Tensor, k: int) -> None:
    wide = features.double().numpy()
    assume(safe(reference.cosine_similarities(wide), k, 1e-5))
    expected = torch.from_numpy(reference.feature_affinity(wide, k))
    torch.testing.assert_close(feature_graph(features.double(), neighbours=k).to_dense(), expected, rtol=0, atol=1e-14)
    single = feature_graph(features, neighbours=k).to_dense()
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(single, single.T)


@given(feature_rows, st.integers(1, 10))
@settings(deadline=None, max_examples=40)
def test_mutual_neighbours_equal_the_literal_graph(features: Tensor, k: int) -> None:
    wide = features.double().numpy()
    assume(safe(reference.cosine_similarities(wide), k, 1e-5))
    graph = feature_graph(features, neighbours=k, options=GraphOptions("mutual")).to_dense()
    expected = torch.from_numpy(reference.mutual_affinity(wide, k))
    torch.testing.assert_close(graph.double(), expected, rtol=0, atol=1e-6)


@given(feature_rows, st.floats(0.05, 0.99))
@settings(deadline=None, max_examples=40)
def test_threshold_equals_the_literal_graph(features: Tensor, epsilon: float) -> None:
    wide = features.double().numpy()
    assume((np.abs(reference.cosine_similarities(wide) - epsilon) > 1e-5).all())
    graph = feature_graph(features, neighbours=1, options=GraphOptions("epsilon", epsilon=epsilon)).to_dense()
    expected = torch.from_numpy(reference.threshold_affinity(wide, epsilon))
    torch.testing.assert_close(graph.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(graph, graph.T)


# No repeated nodes: of those the lowest index is taken, so their numbers matter.
distinct_rows = st.builds(
    draw_features,
    st.integers(1, 30),
    st.integers(3, 6),
    st.just(0),
    st.integers(0, 1),
    st.booleans(),
    st.integers(0, 2**31),
)


@given(distinct_rows, st.integers(1, 12), st.sampled_from(["knn", "mutual", "epsilon"]), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_renumbering_nodes_renumbers_the_graph(features: Tensor, k: int, kind: str, seed: int) -> None:
    similarity = reference.cosine_similarities(features.double().numpy())
    assume(safe(similarity, k, 1e-5) and (np.abs(similarity - 0.5) > 1e-5).all())
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    options = GraphOptions(kind)  # type: ignore[arg-type]
    graph = feature_graph(features, neighbours=k, options=options).to_dense()
    renumbered = feature_graph(features[order], neighbours=k, options=options).to_dense()
    torch.testing.assert_close(renumbered, graph[order][:, order], rtol=0, atol=1e-6)


def test_blocks_of_rows_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    features = draw_features(300, 16, 40, 4, False, 0)
    whole = feature_graph(features, neighbours=20)
    monkeypatch.setattr("spectral_bench.methods.graphs.blocks.CPU_ELEMENTS", 300 * 17)
    parts = feature_graph(features, neighbours=20)
    assert torch.equal(sparse.keys_of(whole), sparse.keys_of(parts))
    torch.testing.assert_close(whole.values(), parts.values(), rtol=0, atol=1e-6)


def test_more_neighbours_than_nodes_are_clipped() -> None:
    features = draw_features(7, 4, 0, 0, True, 0)
    many, all_others = (feature_graph(features, neighbours=k) for k in (1000, 6))
    assert torch.equal(many.to_dense(), all_others.to_dense())
    assert many.values().numel() == 42


def test_fewer_positive_neighbours_than_k_give_no_edges_of_weight_zero() -> None:
    features = torch.tensor([[1.0, 0], [1, 0.1], [-1, 0], [0, 0], [-1, -0.1]])
    graph = feature_graph(features, neighbours=4)
    assert bool((graph.values() > 0.9).all())
    assert sparse.keys_of(graph).tolist() == [1, 5, 2 * 5 + 4, 4 * 5 + 2]


def test_a_similarity_of_rounding_noise_is_no_edge() -> None:
    features = torch.tensor([[1.0, 1e-8], [0.0, 1.0], [0.0, 0.5]])
    graph = feature_graph(features, neighbours=2).to_dense()
    assert graph[0].tolist() == [0, 0, 0]
    assert graph[1, 2] == 1


def test_constant_features_join_every_node_to_the_lowest() -> None:
    graph = feature_graph(torch.full((50, 8), 0.3), neighbours=3).to_dense()
    assert torch.equal(graph[10] > 0, torch.arange(50) < 3)
    assert torch.equal(graph[:4, :4] > 0, ~torch.eye(4, dtype=torch.bool) & (torch.arange(4) < 4))
    torch.testing.assert_close(graph[10, :3], torch.full((3,), 0.5))  # one-sided, so half of the similarity 1
    torch.testing.assert_close(graph[0, 1:4], torch.tensor([1.0, 1.0, 1.0]))


def test_a_single_node_has_no_edge() -> None:
    for kind in ("knn", "mutual", "epsilon"):
        graph = feature_graph(torch.ones(1, 3), neighbours=5, options=GraphOptions(kind))  # type: ignore[arg-type]
        assert graph.to_dense().tolist() == [[0.0]]


def test_repeating_a_call_gives_the_same_bits() -> None:
    features = draw_features(200, 16, 20, 2, False, 3)
    first, second = (feature_graph(features, neighbours=9) for _ in range(2))
    assert torch.equal(first.values(), second.values())
    assert torch.equal(sparse.keys_of(first), sparse.keys_of(second))


def test_an_epsilon_graph_of_too_many_edges_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EDGES", 10)
    with pytest.raises(NumericalError, match=r"more than 10 edges at epsilon = 0.1; raise epsilon"):
        feature_graph(torch.ones(6, 2), neighbours=1, options=GraphOptions("epsilon", epsilon=0.1))


def test_what_has_no_sparse_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="neighbours = 0"):
        feature_graph(torch.ones(3, 2), neighbours=0)
    with pytest.raises(ValueError, match="FullKernel"):
        feature_graph(torch.ones(3, 2), neighbours=1, options=GraphOptions("full"))
