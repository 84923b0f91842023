"""Matchings against brute force over all assignments, and their rules for ties and for missing evidence."""

from __future__ import annotations

from itertools import permutations, product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from spectral_bench.common.errors import ConfigError
from spectral_bench.results.matching import TEXT, iou, is_one_to_one, match
from spectral_bench.results.specification import PER_IMAGE, Matching

Matrix = NDArray[np.int64]
HOWS = ("majority", "iou", "hungarian", "hungarian_iou", "hungarian_present", "hungarian_iou_present")
ALL_PAIRS = ("hungarian", "hungarian_iou")
ONE_TO_ONE = tuple(how for how in HOWS if how.startswith("hungarian"))
WITH_EVIDENCE = tuple(how for how in HOWS if how not in ALL_PAIRS)

small = st.tuples(st.integers(1, 4), st.integers(1, 4))
matrices = small.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 6)))


def iou_by_hand(matrix: Matrix, cluster: int, class_: int) -> float:
    common = int(matrix[cluster, class_])
    union = sum(map(int, matrix[cluster])) + sum(map(int, matrix[:, class_])) - common
    return common / union if union else 0.0


def total(matrix: Matrix, assigned: Matrix, how: str) -> float:
    pairs = [(cluster, class_) for cluster, class_ in enumerate(assigned.tolist()) if class_ >= 0]
    if "iou" in how:
        return sum(iou_by_hand(matrix, cluster, class_) for cluster, class_ in pairs)
    return float(sum(int(matrix[cluster, class_]) for cluster, class_ in pairs))


def best_one_to_one(matrix: Matrix, how: str) -> float:
    """The largest total over every injective assignment of clusters to classes or to none."""
    n_clusters, n_classes = matrix.shape
    slots = [*range(n_classes), *[-1] * n_clusters]
    return max(total(matrix, np.array(choice), how) for choice in set(permutations(slots, n_clusters)))


def test_every_matching_of_a_specification_exists() -> None:
    assert set(HOWS) == set(get_args(Matching)) - PER_IMAGE - {TEXT}


def test_by_text_each_cluster_is_its_own_class_whatever_the_counts() -> None:
    matrices = np.array([[[0, 9], [9, 0]], [[0, 0], [1, 1]]])
    assert match(matrices, TEXT).tolist() == [[0, 1], [0, 1]]
    assert is_one_to_one(TEXT)
    with pytest.raises(ConfigError, match="3 clusters are named by text, and there are 2 classes"):
        match(np.zeros((3, 2), dtype=np.int64), TEXT)


@given(matrices)
def test_majority_is_the_first_largest_count(matrix: Matrix) -> None:
    for row, class_ in zip(matrix.tolist(), match(matrix, "majority").tolist(), strict=True):
        assert class_ == (row.index(max(row)) if max(row) else -1)


@given(matrices)
def test_iou_is_the_first_largest_iou(matrix: Matrix) -> None:
    n_clusters, n_classes = matrix.shape
    for cluster, class_ in enumerate(match(matrix, "iou").tolist()):
        values = [iou_by_hand(matrix, cluster, c) for c in range(n_classes)]
        assert class_ == (values.index(max(values)) if max(values) else -1)
    table = [[iou_by_hand(matrix, k, c) for c in range(n_classes)] for k in range(n_clusters)]
    np.testing.assert_array_equal(iou(matrix), table)


@settings(max_examples=60)
@given(matrices, st.sampled_from(ONE_TO_ONE))
def test_hungarian_reaches_the_best_total_of_all_assignments(matrix: Matrix, how: str) -> None:
    assigned = match(matrix, how)
    used = assigned[assigned >= 0]
    assert len(set(used.tolist())) == len(used)
    assert total(matrix, assigned, how) == pytest.approx(best_one_to_one(matrix, how), abs=1e-12)


@given(matrices, st.sampled_from(WITH_EVIDENCE))
def test_no_pair_without_a_common_pixel_is_matched(matrix: Matrix, how: str) -> None:
    assigned = match(matrix, how)
    assert assigned.dtype == np.int64
    assert assigned.shape == matrix.shape[:1]
    for cluster, class_ in enumerate(assigned.tolist()):
        assert class_ == -1 or matrix[cluster, class_] > 0


@given(matrices, st.sampled_from(ALL_PAIRS))
def test_the_smaller_side_is_assigned_completely(matrix: Matrix, how: str) -> None:
    assert (match(matrix, how) >= 0).sum() == min(matrix.shape)


@given(matrices, st.sampled_from(ALL_PAIRS))
def test_pairs_with_common_pixels_are_those_of_the_matching_without_others(matrix: Matrix, how: str) -> None:
    assigned, present = match(matrix, how), match(matrix, f"{how}_present")
    common = np.take_along_axis(matrix, np.maximum(assigned, 0)[:, None], axis=1)[:, 0] > 0
    np.testing.assert_array_equal(present, np.where((assigned >= 0) & common, assigned, -1))


@given(matrices, st.sampled_from(["majority", "iou"]))
def test_many_to_one_leaves_only_empty_clusters_unmatched(matrix: Matrix, how: str) -> None:
    np.testing.assert_array_equal(match(matrix, how) == -1, matrix.sum(axis=1) == 0)


@given(matrices, st.sampled_from(["majority", "iou"]), st.integers(0, 2**32 - 1))
def test_many_to_one_does_not_depend_on_the_order_of_clusters(matrix: Matrix, how: str, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(matrix))
    np.testing.assert_array_equal(match(matrix[order], how), match(matrix, how)[order])


@pytest.mark.parametrize("how", HOWS)
def test_a_stack_is_matched_matrix_by_matrix(how: str) -> None:
    stack = np.random.default_rng(0).integers(0, 9, (2, 3, 5, 4))
    found = match(stack, how)
    assert found.shape == (2, 3, 5)
    for index in product(range(2), range(3)):
        np.testing.assert_array_equal(found[index], match(stack[index], how))


def test_the_matchings_differ_where_they_should() -> None:
    # Cluster 1 has more pixels of the large class 0, but is nearly all there is of class 1.
    matrix = np.array([[100, 0], [11, 10]])
    assert match(matrix, "majority").tolist() == [0, 0]
    assert match(matrix, "iou").tolist() == [0, 1]
    # One to one by count gives the large cluster to the class; by IoU the pure one.
    matrix = np.array([[50, 40], [45, 0]])
    assert match(matrix, "hungarian").tolist() == [1, 0]
    assert match(np.array([[50, 10], [45, 0]]), "hungarian").tolist() == [1, 0]
    assert match(np.array([[50, 1], [40, 0]]), "hungarian_iou_present").tolist() == [0, -1]
    assert match(np.array([[50, 1], [40, 0]]), "hungarian_iou").tolist() == [0, 1]


def test_ties_go_to_the_lowest_class() -> None:
    matrix = np.array([[0, 3, 3], [2, 2, 2]])
    assert match(matrix, "majority").tolist() == [1, 0]
    assert match(np.array([[4, 4], [4, 4]]), "iou").tolist() == [0, 0]


@pytest.mark.parametrize("how", ONE_TO_ONE)
def test_one_to_one_with_unequal_numbers(how: str) -> None:
    more_clusters = np.array([[9, 0], [0, 9], [1, 1], [0, 0]])
    assert match(more_clusters, how).tolist() == [0, 1, -1, -1]
    more_classes = np.array([[0, 0, 9, 0], [0, 9, 0, 0]])
    assert match(more_classes, how).tolist() == [2, 1]


def test_an_empty_cluster_never_becomes_class_0() -> None:
    matrix = np.array([[5, 0], [0, 0], [0, 5]])
    for how in HOWS:
        assert match(matrix, how).tolist() == [0, -1, 1], how


def test_counts_beyond_32_bits() -> None:
    big = 2**41
    matrix = np.array([[big, big + 1], [big + 1, big]])
    for how in HOWS:
        assert match(matrix, how).tolist() == [1, 0], how


def test_an_unknown_matching_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r'unknown matching "hungarain"; did you mean "hungarian"\?.*majority'):
        match(np.ones((2, 2), dtype=np.int64), "hungarain")
