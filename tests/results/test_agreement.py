"""Agreement of partitions against scikit-learn on the pixels themselves, and where counts exceed 64-bit products."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from spectral_bench.results.agreement import adjusted_rand_index, normalised_mutual_information

Matrix = NDArray[np.int64]
shapes = st.tuples(st.integers(1, 5), st.integers(1, 5))
matrices = shapes.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 9)))


def pixels(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """One (cluster, class) pair a pixel."""
    clusters, classes = np.indices(matrix.shape)
    return np.repeat(clusters.ravel(), matrix.ravel()), np.repeat(classes.ravel(), matrix.ravel())


@given(matrices.filter(lambda matrix: matrix.sum() > 0))
def test_equal_to_scikit_learn_on_pixels(matrix: Matrix) -> None:
    clusters, classes = pixels(matrix)
    assert adjusted_rand_index(matrix) == pytest.approx(adjusted_rand_score(classes, clusters), abs=1e-12)
    expected = normalized_mutual_info_score(classes, clusters)
    assert normalised_mutual_information(matrix) == pytest.approx(expected, abs=1e-12)


@given(matrices.filter(lambda matrix: matrix.sum() > 1))
def test_rand_index_equals_a_count_of_pairs(matrix: Matrix) -> None:
    clusters, classes = pixels(matrix)
    pairs = np.triu_indices(len(clusters), 1)
    in_clusters = clusters[pairs[0]] == clusters[pairs[1]]
    in_classes = classes[pairs[0]] == classes[pairs[1]]
    both, rows, columns = (int(part.sum()) for part in (in_clusters & in_classes, in_clusters, in_classes))
    chance = Fraction(rows * columns, len(in_clusters))
    most = Fraction(rows + columns, 2)
    expected = 1.0 if both == rows == columns else float((both - chance) / (most - chance))
    assert adjusted_rand_index(matrix) == pytest.approx(expected, abs=1e-12)


@given(matrices.filter(lambda matrix: matrix.sum() > 0))
def test_order_and_sides_do_not_matter(matrix: Matrix) -> None:
    for changed in (matrix[::-1, ::-1], matrix.T, np.pad(matrix, 1)):
        assert adjusted_rand_index(changed) == adjusted_rand_index(matrix)
        assert normalised_mutual_information(changed) == pytest.approx(normalised_mutual_information(matrix), abs=1e-12)


def test_perfect_and_trivial_partitions() -> None:
    perfect = np.diag([3, 5, 7])
    assert adjusted_rand_index(perfect) == 1.0
    assert normalised_mutual_information(perfect) == pytest.approx(1.0)
    one_part = np.array([[12]])
    assert adjusted_rand_index(one_part) == 1.0
    assert normalised_mutual_information(one_part) == 1.0
    collapsed = np.array([[4, 4, 4]])
    assert adjusted_rand_index(collapsed) == 0.0
    assert normalised_mutual_information(collapsed) == 0.0


def test_no_pixels_give_nan() -> None:
    nothing = np.zeros((3, 2), dtype=np.int64)
    assert math.isnan(adjusted_rand_index(nothing))
    assert math.isnan(normalised_mutual_information(nothing))


def test_products_beyond_64_bits_stay_exact() -> None:
    matrix = np.array([[7, 2, 1], [1, 5, 3]])
    huge = matrix * 10**11
    assert normalised_mutual_information(huge) == pytest.approx(normalised_mutual_information(matrix), rel=1e-12)
    # With many pixels the index tends to a limit in which the pairs of a pixel with itself no longer matter.
    assert adjusted_rand_index(huge) == pytest.approx(adjusted_rand_index(matrix * 10**6), rel=1e-5)
    assert 0 < adjusted_rand_index(huge) < 1
