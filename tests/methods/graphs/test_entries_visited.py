"""How much of a graph is looked at to make it: guards of its speed that no load of a machine changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spectral_bench.methods.graphs import nearest
from spectral_bench.methods.graphs.features import feature_graph


@pytest.mark.parametrize(("nodes", "neighbours"), [(300, 64), (768, 64), (1536, 256)])
def test_each_similarity_is_partitioned_once(nodes: int, neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    partition = np.partition

    def counting(table, place, axis):
        looked.append(table.size)
        return partition(table, place, axis=axis)

    monkeypatch.setattr(nearest.np, "partition", counting)
    features = torch.randn(nodes, 16, generator=torch.Generator().manual_seed(0))
    graph = feature_graph(features, neighbours=neighbours)
    assert sum(looked) == nodes * nodes
    assert len(graph.values()) <= 2 * nodes * neighbours
