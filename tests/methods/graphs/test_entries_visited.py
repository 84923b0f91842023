"""How much of a graph is looked at to make it: guards of its speed that no load of a machine changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spectral_bench.methods.graphs import nearest
from spectral_bench.methods.graphs.features import feature_graph


@pytest.fixture
def partitioned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (rows, columns) of all that is partitioned."""
    shapes: list[tuple[int, int]] = []
    partition = np.partition

    def telling(table, place, axis):
        shapes.append(table.shape)
        return partition(table, place, axis=axis)

    monkeypatch.setattr(nearest.np, "partition", telling)
    return shapes


@pytest.mark.parametrize(
    ("nodes", "neighbours", "share"), [(100, 64, 1.0), (300, 64, 0.7), (768, 64, 0.3), (1536, 256, 0.55)]
)
def test_few_similarities_are_partitioned(
    nodes: int, neighbours: int, share: float, partitioned: list[tuple[int, int]]
) -> None:
    features = torch.randn(nodes, 16, generator=torch.Generator().manual_seed(0))
    graph = feature_graph(features, neighbours=neighbours)
    assert 0 < sum(map(math.prod, partitioned)) <= share * nodes * nodes
    assert len(graph.values()) <= 2 * nodes * neighbours


def test_positive_similarities_are_partitioned_as_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []
    partition = np.partition

    def telling(table, place, axis):
        kinds.append(table.dtype.kind)
        return partition(table, place, axis=axis)

    monkeypatch.setattr(nearest.np, "partition", telling)
    feature_graph(torch.randn(300, 16, generator=torch.Generator().manual_seed(0)), neighbours=20)
    assert set(kinds) == {"i"}


def test_a_row_of_ties_widens_no_other(partitioned: list[tuple[int, int]]) -> None:
    block = torch.rand(200, 2000, generator=torch.Generator().manual_seed(0))
    block[7] = 0.5
    nearest.largest_entries(block, 20, 0.0)
    assert sum(map(math.prod, partitioned)) <= 0.1 * block.numel()


def test_what_is_partitioned_stays_short_where_few_rows_are_long(partitioned: list[tuple[int, int]]) -> None:
    """Numpy sorts up to 512 numbers at once and looks for pivots in longer rows, in three times the time."""
    block = torch.randn(400, 5280, generator=torch.Generator().manual_seed(0))
    block[:20] += 3.0 * (torch.arange(5280) % 406 < 50)  # large entries at the same places of each slab
    nearest.largest_entries(block, 256, 0.0)
    long = sum(rows for rows, columns in partitioned if columns > 512)
    assert 0 < long < 0.05 * sum(rows for rows, _ in partitioned)


def test_slabs_are_not_too_narrow_for_fast_maxima(partitioned: list[tuple[int, int]]) -> None:
    nearest.largest_entries(torch.rand(50, 512, generator=torch.Generator().manual_seed(0)), 2, 0.0)
    assert partitioned[0] == (50, 64)
