"""Recursive bipartition: exact over all cut points, stopped by tau and by the limit, right on graphs that are odd."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_graphs import graph, naive_cut, planted, same_groups

from spectral_bench.methods.deep_spectral.recursive import (
    Bipartition,
    best_threshold,
    bipartition,
    recursive_cut,
)
from spectral_bench.methods.eigensolvers import Solver


@given(st.integers(2, 12), st.integers(0, 10**6), st.booleans(), st.booleans())
@settings(max_examples=60)
def test_the_best_cut_of_sorted_values_is_found(size: int, seed: int, ties: bool, loops: bool) -> None:
    weights = graph(size, seed, loops=loops)
    vector = np.random.default_rng(seed + 1).standard_normal(size)
    if ties:
        vector = vector.round(0)
    levels = np.unique(vector)
    if len(levels) < 2:
        return
    value, side = best_threshold(weights, weights.sum(1), vector)
    every = [naive_cut(weights, vector > level) for level in levels[:-1]]
    assert value == pytest.approx(min(every), rel=1e-9)
    assert value == pytest.approx(naive_cut(weights, side), rel=1e-9)
    assert vector[side].min() > vector[~side].max()


@given(st.integers(2, 14), st.integers(0, 10**6))
@settings(max_examples=40)
def test_no_cut_is_less_than_the_second_eigenvalue_that_rules_it_out(size: int, seed: int) -> None:
    weights = graph(size, seed)
    second = scipy.linalg.eigh(np.diag(weights.sum(1)) - weights, np.diag(weights.sum(1)), eigvals_only=True)[1]
    found = bipartition(weights)
    if isinstance(found, Bipartition):
        assert found.value >= second - 1e-9
        assert found.value == pytest.approx(naive_cut(weights, found.side), rel=1e-9)
        assert not found.side[0]
    sides = [np.array([False, *((code >> np.arange(size - 1)) & 1).astype(bool)]) for code in range(1, 2 ** (size - 1))]
    least = min(naive_cut(weights, side) for side in sides[:200])
    assert least >= second - 1e-9
    assert isinstance(bipartition(weights, below=second / 2), float)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", get_args(Solver))
@pytest.mark.parametrize("sizes", [[30, 30], [120, 90, 40], [5, 60, 17, 33, 8]])
def test_planted_blocks_are_the_segments(dtype: type, solver: Solver, sizes: list[int]) -> None:
    weights, truth = planted(sizes, dtype=dtype), np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(3).permutation(len(truth))
    found = recursive_cut(weights[np.ix_(order, order)], tau=0.5, limit=24, solver=solver)
    assert same_groups(found.labels, truth[order])
    assert len(found.values) == len(sizes) - 1
    assert max(found.values) < 0.5
    assert 0 < found.residual <= (1e-4 if dtype == np.float32 else 1e-5)


def test_the_cuts_of_a_hierarchy_come_in_the_order_of_their_values() -> None:
    """Two halves far apart, of which one falls into two again, and that into two that are nearer."""
    sizes = [40, 20, 20]
    weights = planted(sizes, between=0.02)
    weights[40:, 40:] = np.maximum(weights[40:, 40:], 0.15)
    truth = np.repeat(np.arange(3), sizes)
    first = recursive_cut(weights, tau=0.9, limit=2)
    assert same_groups(first.labels, np.minimum(truth, 1))
    both = recursive_cut(weights, tau=0.5, limit=9)
    assert same_groups(both.labels, truth)
    assert both.values[0] == first.values[0] < both.values[1]
    assert recursive_cut(weights, tau=(both.values[0] + both.values[1]) / 2, limit=9).values == first.values
    assert recursive_cut(weights, tau=both.values[0] * 0.99, limit=9).values == ()


@given(st.integers(1, 40), st.integers(0, 10**6), st.floats(0.05, 1.0), st.integers(1, 12))
@settings(max_examples=60)
def test_parts_are_cut_while_their_cut_is_below_tau_and_no_further(
    size: int, seed: int, tau: float, limit: int
) -> None:
    weights = graph(size, seed, power=8.0)
    found = recursive_cut(weights, tau=tau, limit=limit)
    used = np.unique(found.labels)
    assert used.tolist() == list(range(len(found.values) + 1))
    assert len(used) <= min(limit, size)
    assert all(value < tau for value in found.values)
    if len(used) < limit:
        for part in used:
            inside = found.labels == part
            rest = bipartition(weights[np.ix_(inside, inside)])
            assert isinstance(rest, float) or rest.value >= tau


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", get_args(Solver))
def test_parts_that_no_edge_joins_are_cut_at_0_the_heaviest_kept(dtype: type, solver: Solver) -> None:
    sizes = [4, 11, 7, 1]
    weights, truth = planted(sizes, between=0.0, dtype=dtype), np.repeat(np.arange(4), sizes)
    found = recursive_cut(weights, tau=0.3, limit=24, solver=solver)
    assert found.values == (0.0, 0.0, 0.0)
    assert same_groups(found.labels, truth)
    two = recursive_cut(weights, tau=0.3, limit=2, solver=solver)
    assert same_groups(two.labels, (truth == 1).astype(np.int64))
    assert two.labels[0] == 0


def test_large_parts_are_found_by_lanczos_too() -> None:
    sizes = [230, 260]
    weights = planted(sizes, between=0.0, dtype=np.float32)
    found = recursive_cut(weights, tau=0.3, limit=24)
    assert found.values == (0.0,)
    assert same_groups(found.labels, np.repeat(np.arange(2), sizes))


def test_patches_without_edges_are_one_segment() -> None:
    weights = np.zeros((30, 30))
    weights[5:25, 5:25] = planted([12, 8])
    found = recursive_cut(weights, tau=0.5, limit=24)
    truth = np.array([0] * 5 + [1] * 12 + [2] * 8 + [0] * 5)
    assert same_groups(found.labels, truth)
    assert found.values[0] == 0.0
    assert recursive_cut(np.zeros((6, 6)), tau=0.5, limit=24).values == ()


def test_a_patch_that_loses_its_last_edge_to_another_part_is_cut_off_next() -> None:
    """Without loops, as colours alone join them: a star's end has no edge once its centre is in another part."""
    weights = np.zeros((5, 5))
    for one, other, weight in ((0, 1, 1.0), (1, 2, 0.1), (2, 3, 1.0), (3, 4, 1.0)):
        weights[one, other] = weights[other, one] = weight
    found = recursive_cut(weights, tau=1.0, limit=5)
    assert np.isfinite(found.values).all()
    assert found.values[0] == pytest.approx(naive_cut(weights, np.arange(5) > 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 3, 50, 300])
def test_alike_patches_are_one_segment_at_any_tau(dtype: type, size: int) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (size, size)) * np.finfo(dtype).eps
    weights = (0.7 + noise + noise.T).astype(dtype)
    assert recursive_cut(weights, tau=1.0, limit=24).values == ()


def test_two_patches_are_two_segments_where_they_are_unlike() -> None:
    assert recursive_cut(np.array([[1.0, 0.1], [0.1, 1.0]]), tau=0.5, limit=24).labels.tolist() == [0, 1]
    assert recursive_cut(np.array([[1.0, 0.9], [0.9, 1.0]]), tau=0.5, limit=24).labels.tolist() == [0, 0]


def test_the_same_graph_gives_the_same_bits() -> None:
    weights = graph(260, 5, power=20.0).astype(np.float32)
    first, again = (recursive_cut(weights, tau=1.0, limit=9, restart_seed=seed) for seed in (1, 1))
    assert first.values == again.values
    np.testing.assert_array_equal(first.labels, again.labels)
