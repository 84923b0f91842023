"""Neighbours by a k-d tree: what it is certain of is right, and ties are left to others."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.graphs.pixel_memory import MEMORY
from spectral_bench.methods.graphs.pixel_tree import tree_neighbours
from spectral_bench.methods.graphs.pixels import pixel_graph


def draw_points(count: int, levels: int, seed: int) -> NDArray[np.float64]:
    """Points of few coordinates (``levels`` a dimension), so that ties abound; 0: without ties."""
    generator = np.random.default_rng(seed)
    if levels == 0:
        return generator.random((count, 5))
    return generator.integers(levels, size=(count, 5)) / 4


@given(st.integers(4, 60), st.integers(0, 4), st.integers(1, 12), st.integers(0, 2**31))
@settings(deadline=None, max_examples=80)
def test_certain_neighbours_are_the_nearest_and_no_others(count: int, levels: int, k: int, seed: int) -> None:
    points, k = draw_points(count, levels, seed), min(k, count - 2)
    found = tree_neighbours(points, k)
    assert sorted([*found.rows.tolist(), *found.open.tolist()]) == list(range(count))
    distance = ((points[:, None] - points[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    for row, columns in zip(found.rows, found.columns, strict=True):
        assert row not in columns
        assert len(set(columns.tolist())) == k
        rest = np.setdiff1d(np.arange(count), [*columns, row])
        assert distance[row, columns].max() < distance[row, rest].min()


@given(st.integers(40, 140), st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_points_about_equally_far_are_told_apart_by_exact_distances(count: int, levels: int, k: int, seed: int) -> None:
    points = draw_points(count, levels, seed)
    distance = ((points[:, None] - points[None]) ** 2).sum(-1)  # exact: of quarters
    found = tree_neighbours(points, k, lambda rows, columns: distance[rows[:, None], columns])
    assert sorted([*found.rows.tolist(), *found.open.tolist()]) == list(range(count))
    assert len(found.open) <= len(tree_neighbours(points, k).open)
    np.fill_diagonal(distance, np.inf)
    for row, columns in zip(found.rows, found.columns, strict=True):
        assert sorted(columns) == sorted(np.argsort(distance[row], kind="stable")[:k])


def test_all_pixels_of_one_colour_are_decided() -> None:
    rows, columns = np.divmod(np.arange(144), 12)
    points = np.stack([rows, columns], 1) / 16
    whole = np.stack([rows, columns], 1)

    def squared(of: NDArray[np.int64], to: NDArray[np.int64]) -> NDArray[np.float64]:
        return ((whole[of][:, None] - whole[to]) ** 2).sum(-1).astype(np.float64)

    assert len(tree_neighbours(points, 10).open) > 100
    assert len(tree_neighbours(points, 10, squared).open) == 0


def test_without_ties_all_is_certain() -> None:
    assert len(tree_neighbours(draw_points(200, 0, 0), 7).open) == 0


def test_points_at_one_place_are_left_open() -> None:
    found = tree_neighbours(np.concatenate([np.zeros((30, 5)), draw_points(20, 0, 1) + 5]), 4)
    assert set(range(30)) <= set(found.open.tolist())


@pytest.mark.parametrize("levels", [1, 2, 0])
def test_the_graph_is_the_same_without_the_tree(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 12, 13, 3, generator=generator)
    if levels:
        pixels = (pixels * levels).floor() / 4
    options = GraphOptions(pixel_near=9, pixel_far=5)
    graph = pixel_graph(pixels, options=options).to_dense()
    empty = np.empty(0, dtype=np.int64)
    monkeypatch.setattr(
        "spectral_bench.methods.graphs.pixels.tree_neighbours",
        lambda points, k, squared: type(tree_neighbours(points, k))(empty, empty.reshape(0, k), np.arange(len(points))),
    )
    MEMORY.clear()
    assert torch.equal(pixel_graph(pixels, options=options).to_dense(), graph)
