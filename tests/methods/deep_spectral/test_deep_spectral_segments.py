"""Segments from eigenvectors, and their descriptors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.deep_spectral.segments import by_silhouette, describe, eigengap, segment, silhouette


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.9], 2),
        ([0.01, 0.02, 0.5, 0.6], 3),
        ([0.01, 0.5, 0.51, 0.52], 2),
        ([0.1, 0.2, 0.3, 0.9], 4),
        ([0.0, 0.0, 0.0, 0.8, 0.9], 4),
        ([0.25, 0.5, 0.75], 2),  # equal gaps: the first
        ([0.0, 0.0, 0.0, 0.0], 5),  # the gap lies behind what was computed
        ([0.7, 0.7 + 1e-7, 0.7 + 2e-7], 4),
    ],
)
def test_the_largest_gap_says_how_many(values: list[float], expected: int) -> None:
    assert eigengap(torch.tensor(values)) == expected


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_the_gap_of_a_graph_of_parts_is_after_them(parts: int) -> None:
    from spectral_bench.methods.laplacian import smallest_eigenpairs

    affinity = torch.block_diag(*[torch.ones(6, 6)] * parts) + 1e-3
    assert eigengap(smallest_eigenpairs(affinity.double(), 7, solver="eigh").values) == parts


@pytest.mark.parametrize("count", [4, 8, 9, 10, 14])
def test_of_a_graph_of_more_parts_than_vectors_all_that_can_be_told_apart_are(count: int) -> None:
    from spectral_bench.methods.laplacian import smallest_eigenpairs

    affinity = torch.block_diag(*[torch.ones(6, 6)] * 10)
    assert eigengap(smallest_eigenpairs(affinity, count).values) == min(count + 1, 10)


def test_rows_that_are_far_apart_are_different_segments() -> None:
    truth = torch.arange(40) % 4
    vectors = torch.eye(4)[truth] + 0.01 * torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    found = segment(vectors, 4, seeds=SeedStreams(3), iterations=50, tol=1e-4, restarts=3)
    assert len({(int(a), int(b)) for a, b in zip(found, truth, strict=True)}) == 4


@given(st.integers(3, 30), st.integers(2, 9), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_the_silhouette_is_that_of_scikit_learn(count: int, number: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 3, generator=generator).round(decimals=0).double()  # some are equal
    labels = torch.randint(number, (count,), generator=generator)
    found = silhouette(torch.cdist(points, points), labels)
    if 1 < len(labels.unique()) < count:
        assert found == pytest.approx(silhouette_score(points, labels), abs=1e-9)
    elif len(labels.unique()) == 1:
        assert found == -1.0
    else:
        assert found == 0.0


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_the_silhouette_says_how_many_groups_there_are(groups: int) -> None:
    centres = torch.eye(6)[torch.arange(60) % groups]
    vectors = centres + 0.02 * torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    options = {"seeds": SeedStreams(1), "iterations": 50, "tol": 1e-4, "restarts": 3}
    assert by_silhouette(vectors, 9, **options) == groups
    assert by_silhouette(vectors, 2, **options) == 2


@pytest.mark.parametrize("patches", [2, 3, 4])
def test_the_silhouette_of_few_patches_or_equal_ones_is_for_two(patches: int) -> None:
    options = {"seeds": SeedStreams(1), "iterations": 50, "tol": 1e-4, "restarts": 1}
    assert by_silhouette(torch.ones(patches, 2), 9, **options) == 2
    assert by_silhouette(torch.arange(2.0).repeat(patches)[:patches, None], 9, **options) == 2


def test_there_are_no_more_segments_than_patches() -> None:
    vectors = torch.arange(3.0)[:, None]
    found = segment(vectors, 9, seeds=SeedStreams(0), iterations=10, tol=1e-4, restarts=1)
    assert sorted(found.tolist()) == [0, 1, 2]


@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_descriptors_are_means_of_the_segments_in_use(count: int, number: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 3, generator=generator)
    segments = torch.randint(number, (count,), generator=generator)
    means, rows = describe(features, segments)
    used = segments.unique()
    assert means.shape == (len(used), 3)
    assert means.dtype == torch.float32
    for row, name in enumerate(used):
        torch.testing.assert_close(means[row], features[segments == name].double().mean(0).float())
        assert torch.equal(rows == row, segments == name)
