"""The discrete K-way cut: monotone at every step, a local optimum at its end, right on graphs that are odd."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from planted_graphs import graph, planted, same_groups

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.deep_spectral.cuts import normalised_cut
from spectral_bench.methods.deep_spectral.kway import KwayCut, improve, kway_cut, seeded_start

Labels = NDArray[np.int64]


def naive(weights: NDArray[np.float64], labels: Labels) -> float:
    """The sum over segments of cut / vol, one weight after the other."""
    total = 0.0
    for segment in np.unique(labels):
        cut = volume = 0.0
        for i in np.flatnonzero(labels == segment):
            for j in range(len(weights)):
                volume += weights[i, j]
                cut += 0.0 if labels[j] == segment else weights[i, j]
        total += cut / volume if volume else 0.0
    return total


def cut(weights: NDArray[np.float64], number: int, seed: int = 0, restarts: int = 1, steps: int = 500) -> KwayCut:
    return kway_cut(weights, number, seeds=SeedStreams(seed), steps=steps, restarts=restarts)


def in_use(labels: Labels) -> Labels:
    found: Labels = np.unique(labels, return_inverse=True)[1].reshape(-1)
    return found


@given(st.integers(2, 25), st.integers(1, 6), st.integers(0, 10**6), st.booleans())
@settings(max_examples=60)
def test_no_step_raises_the_cut(size: int, number: int, seed: int, loops: bool) -> None:
    """Loops or not: without them the matrix has negative eigenvalues, for which a batch of best moves may do harm."""
    weights = graph(size, seed, power=6.0, loops=loops)
    start = in_use(np.random.default_rng(seed).integers(0, number, size))
    whole = improve(weights, start, steps=500)
    assert whole.finished
    assert all(later < earlier for earlier, later in zip(whole.values, whole.values[1:], strict=False))
    for steps, value in enumerate(whole.values):
        at_step = improve(weights, start, steps=steps)
        assert at_step.values == whole.values[: steps + 1]
        assert value == pytest.approx(naive(weights, at_step.labels), abs=1e-9)
        assert len(np.unique(at_step.labels)) == len(np.unique(start))


@given(st.integers(2, 16), st.integers(2, 5), st.integers(0, 10**6))
@settings(max_examples=40)
def test_at_the_end_no_change_of_a_single_patch_lowers_the_cut(size: int, number: int, seed: int) -> None:
    weights = graph(size, seed, power=6.0)
    found = cut(weights, number, seed)
    segments = len(np.unique(found.labels))
    for patch, other in product(range(size), range(segments)):
        changed = found.labels.copy()
        changed[patch] = other
        if len(np.unique(changed)) == segments:
            assert naive(weights, changed) >= found.values[-1] - 2e-9


def test_backtracking_is_needed_and_holds() -> None:
    """Two groups that each want to change to the other's segment: all at once would only exchange them."""
    weights = np.kron(np.array([[0.0, 1.0], [1.0, 0.0]]), np.ones((4, 4)))
    start = np.repeat([0, 1], 4)
    found = improve(weights, start, steps=50)
    assert found.values[0] == pytest.approx(2.0)
    assert all(later < earlier for earlier, later in zip(found.values, found.values[1:], strict=False))
    assert found.values[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(("size", "number"), [(8, 2), (6, 3)])
def test_the_least_cut_of_all_partitions_is_found_from_some_starts(size: int, number: int) -> None:
    for seed in range(12):
        weights = graph(size, seed, power=6.0)
        every = (np.array(labels) for labels in product(range(number), repeat=size))
        least = min(naive(weights, labels) for labels in every if len(np.unique(labels)) == number)
        assert cut(weights, number, seed, restarts=20).values[-1] == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("between", [0.0, 0.05])
@pytest.mark.parametrize("sizes", [[30, 30], [40, 25, 12], [5, 60, 17, 33, 8]])
def test_planted_blocks_are_the_segments(sizes: list[int], between: float, seed: int) -> None:
    truth = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(seed).permutation(len(truth))
    weights = planted(sizes, between)[np.ix_(order, order)]
    found = cut(weights, len(sizes), seed)
    assert same_groups(found.labels, truth[order])
    assert found.values[-1] == pytest.approx(naive(weights, truth[order]))


def test_single_precision_finds_the_same() -> None:
    weights = planted([40, 25, 12])
    np.testing.assert_array_equal(cut(weights.astype(np.float32), 3).labels, cut(weights, 3).labels)


def test_patches_without_edges_are_a_segment_of_their_own() -> None:
    weights = np.zeros((25, 25))
    weights[3:23, 3:23] = planted([12, 8])
    found = cut(weights, 3)
    assert same_groups(found.labels, np.array([0] * 3 + [1] * 12 + [2] * 8 + [0] * 2))
    assert cut(weights, 2).labels.max() == 1
    assert cut(weights, 1).labels.max() == 1  # nothing but the two kinds can be told
    nothing = cut(np.zeros((4, 4)), 3)
    assert nothing.labels.tolist() == [0] * 4
    assert nothing.values == (0.0,)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_fewer_patches_than_segments_are_a_segment_each(size: int) -> None:
    found = cut(graph(size, 1), 9)
    assert sorted(found.labels.tolist()) == list(range(size))
    assert found.finished


def test_equal_patches_are_one_segment() -> None:
    weights = np.kron(np.array([[1.0, 0.2], [0.2, 1.0]]), np.ones((6, 6)))
    assert same_groups(cut(weights, 9).labels, np.repeat([0, 1], 6))


def test_more_starts_never_cut_worse_and_seeds_decide() -> None:
    weights = graph(60, 2, power=10.0)
    one, many = (cut(weights, 6, restarts=restarts).values[-1] for restarts in (1, 8))
    assert many <= one
    assert cut(weights, 6).values == cut(weights, 6).values
    assert len({cut(weights, 6, seed).values[-1] for seed in range(8)}) > 1


def test_steps_that_run_out_are_told() -> None:
    weights = graph(60, 2, power=10.0)
    assert not cut(weights, 6, steps=1).finished
    assert len(cut(weights, 6, steps=1).values) == 2
    assert cut(weights, 6).finished


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 10**6))
@settings(max_examples=40)
def test_a_start_uses_each_of_its_labels(size: int, number: int, seed: int) -> None:
    labels = seeded_start(graph(size, seed), number, torch.Generator().manual_seed(seed))
    assert np.unique(labels).tolist() == list(range(labels.max() + 1))
    assert labels.max() < min(size, number)


@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 10**6), st.booleans())
@settings(max_examples=40)
def test_the_certified_cut_is_the_sum_over_segments(size: int, number: int, seed: int, isolated: bool) -> None:
    weights = graph(size, seed)
    if isolated:
        weights[: size // 2] = weights[:, : size // 2] = 0
    labels = np.random.default_rng(seed).integers(0, number, size)
    found = normalised_cut(torch.from_numpy(weights), torch.from_numpy(labels))
    assert found == pytest.approx(naive(weights, labels), abs=1e-9)
