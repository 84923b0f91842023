from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.results.contingency import ContingencyBuilder
from spectral_bench.results.metrics import score
from spectral_bench.results.per_image import image_scores
from spectral_bench.results.record import ClassTable

CLASSES = ClassTable(classes=["a", "b", "c"], raw_ids=[[0], [1, 3], [4]])  # raw id 2 is void


@given(st.integers(0, 2**32 - 1))
def test_equals_the_score_of_each_image_alone_under_the_matching_of_all(seed: int):
    rng = np.random.default_rng(seed)
    builder = ContingencyBuilder(4, 5)
    for index in range(5):
        builder.add(f"image{index}", rng.integers(0, 4, (4, 5)), rng.integers(0, 5, (4, 5)))
    counts = builder.build()
    whole = score(counts, CLASSES, "hungarian")  # four clusters, three classes: one stays without a class
    expected = [score(counts, CLASSES, "hungarian", fit_on=counts, images=[index]).miou for index in range(5)]
    np.testing.assert_array_equal(image_scores(counts, CLASSES, whole.matching), expected)


def test_an_image_of_void_only_has_no_score():
    builder = ContingencyBuilder(2, 5)
    builder.add("void", np.zeros((2, 2), int), np.full((2, 2), 2))
    builder.add("b", np.zeros((2, 2), int), np.ones((2, 2), int))
    found = image_scores(builder.build(), CLASSES, np.array([1, -1]))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1.0)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["per_image_hungarian", "per_image_hungarian_mean"]))
def test_equals_the_score_of_each_image_alone_under_its_own_matching(seed: int, how: str):
    rng = np.random.default_rng(seed)
    builder = ContingencyBuilder(4, 5)
    for index in range(4):
        builder.add(f"image{index}", rng.integers(0, 4, (3, 4)), rng.integers(0, 5, (3, 4)))
    counts = builder.build()
    expected = [score(counts, CLASSES, how, images=[index]).miou for index in range(4)]
    np.testing.assert_allclose(image_scores(counts, CLASSES, None, how), expected, rtol=1e-12)
