"""How much of a graph is looked at to make it: guards of its speed that no load of a machine changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spectral_bench.methods.graphs import nearest
from spectral_bench.methods.graphs.features import feature_graph


@pytest.mark.parametrize(
    ("nodes", "neighbours", "share"), [(100, 64, 1.0), (300, 64, 0.7), (768, 64, 0.3), (1536, 256, 0.55)]
)
def test_few_similarities_are_partitioned(
    nodes: int, neighbours: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    partition = np.partition

    def counting(table, place, axis):
        looked.append(table.size)
        return partition(table, place, axis=axis)

    monkeypatch.setattr(nearest.np, "partition", counting)
    features = torch.randn(nodes, 16, generator=torch.Generator().manual_seed(0))
    graph = feature_graph(features, neighbours=neighbours)
    assert 0 < sum(looked) <= share * nodes * nodes
    assert len(graph.values()) <= 2 * nodes * neighbours
