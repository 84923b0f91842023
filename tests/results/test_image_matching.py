"""Matchings of each image by itself, against brute force over all assignments and the released codes' arithmetic."""

from __future__ import annotations

import math
from itertools import permutations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from spectral_bench.common.errors import ConfigError
from spectral_bench.results.contingency import Contingency, ContingencyBuilder
from spectral_bench.results.image_matching import is_per_image, match_image, matched_images
from spectral_bench.results.metrics import resampled_miou, score
from spectral_bench.results.record import ClassTable
from spectral_bench.results.specification import PER_IMAGE, Matching, Scoring

SUMS, MEAN = "per_image_hungarian", "per_image_hungarian_mean"
Image = tuple[NDArray[np.int64], NDArray[np.int64]]


def table(n_classes: int) -> ClassTable:
    """Raw ids 1 to C; 0 is void."""
    return ClassTable(classes=[f"c{i}" for i in range(n_classes)], raw_ids=[[i + 1] for i in range(n_classes)])


def counted(images: list[Image], n_clusters: int, n_classes: int) -> Contingency:
    builder = ContingencyBuilder(n_clusters, n_classes + 1)
    for number, (clusters, labels) in enumerate(images):
        builder.add(f"i{number}", clusters[None], labels[None])
    return builder.build()


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Image], int, int]:
    """Some images of few pixels; fewer or more clusters than classes; void pixels, and images of nothing else."""
    n_clusters, n_classes = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    images = []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 12))
        clusters = draw(st.lists(st.integers(0, n_clusters - 1), min_size=size, max_size=size))
        labels = draw(st.lists(st.integers(0, n_classes), min_size=size, max_size=size))
        if draw(st.integers(0, 4)) == 0:
            labels = [0] * size
        images.append((np.array(clusters), np.array(labels)))
    return images, n_clusters, n_classes


def best_total(clusters: NDArray[np.int64], labels: NDArray[np.int64], n_clusters: int, n_classes: int) -> int:
    """The most pixels that any one-to-one naming of clusters gets right, by trying all of them."""
    names = [*range(1, n_classes + 1), *[-1] * n_clusters]
    return max(
        int(sum(naming[cluster] == label for cluster, label in zip(clusters, labels, strict=True)))
        for naming in set(permutations(names, n_clusters))
    )


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([SUMS, MEAN]))
def test_no_naming_of_an_image_gets_more_pixels_right(case, how: str) -> None:
    images, n_clusters, n_classes = case
    mapping = np.arange(n_classes + 1) - 1
    found = matched_images(counted(images, n_clusters, n_classes), mapping, n_classes, how)
    for number, (clusters, labels) in enumerate(images):
        assert found.hits[number].sum() == best_total(clusters, labels, n_clusters, n_classes)
        assert found.present[number].tolist() == [int((labels == i + 1).sum()) for i in range(n_classes)]
    assert (found.hits <= np.minimum(found.present, found.predicted)).all()


def released(images: list[Image], n_classes: int) -> tuple[float, float]:
    """Accuracy and mIoU as DiffSeg's and DiffCut's evaluations compute them, in float64."""
    hits, wrong, missed, pixels = np.zeros(n_classes), np.zeros(n_classes), np.zeros(n_classes), 0.0
    for clusters, labels in images:
        width = max(n_classes, int(clusters.max()) + 1)
        counts = np.zeros((n_classes, width))
        for cluster, label in zip(clusters, labels, strict=True):
            if label > 0:
                counts[label - 1, cluster] += 1
        rows, columns = linear_sum_assignment(counts, maximize=True)
        own = counts[rows, columns]
        hits, missed = hits + own, missed + counts.sum(1) - own
        wrong, pixels = wrong + counts[:, columns].sum(0) - own, pixels + counts.sum()
    with np.errstate(invalid="ignore"):
        ious = hits / (hits + wrong + missed)
    known = ious[~np.isnan(ious)]
    return (hits.sum() / pixels if pixels else math.nan), (known.mean() if known.size else math.nan)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_sums_over_images_are_those_of_the_released_codes(case) -> None:
    images, n_clusters, n_classes = case
    scores = score(counted(images, n_clusters, n_classes), table(n_classes), SUMS)
    accuracy, miou = released(images, n_classes)
    np.testing.assert_allclose([scores.accuracy, scores.miou], [accuracy, miou], rtol=1e-12)
    assert scores.matching is None


def image_mean(clusters: NDArray[np.int64], labels: NDArray[np.int64], naming: dict[int, int]) -> float:
    """The mean IoU of one image over the classes that it has, void left out."""
    seen = labels > 0
    names = np.array([naming.get(int(cluster), -1) for cluster in clusters])[seen]
    truth = labels[seen]
    ious = [
        float(((names == name) & (truth == name)).sum()) / float(((names == name) | (truth == name)).sum())
        for name in sorted(set(truth.tolist()))
    ]
    return float(np.mean(ious)) if ious else math.nan


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_mean_of_images_is_that_of_one_of_their_best_namings(case) -> None:
    """Several namings may get as many pixels right: each image's mean IoU is that of one of them, and they average."""
    images, n_clusters, n_classes = case
    counts = counted(images, n_clusters, n_classes)
    means = []
    for number, (clusters, labels) in enumerate(images):
        one = score(counts, table(n_classes), MEAN, images=[number])
        means.append(one.miou)
        most = best_total(clusters, labels, n_clusters, n_classes)
        possible = []
        for naming in set(permutations([*sorted(set(labels.tolist()) - {0}), *[-1] * n_clusters], n_clusters)):
            right = sum(naming[cluster] == label for cluster, label in zip(clusters, labels, strict=True))
            shared = {c: n for c, n in enumerate(naming) if n > 0 and ((clusters == c) & (labels == n)).any()}
            if right == most:
                possible.append(image_mean(clusters, labels, shared))
        assert any(one.miou == pytest.approx(mean, nan_ok=True) for mean in possible)
    known = [mean for mean in means if not math.isnan(mean)]
    expected = float(np.mean(known)) if known else math.nan
    assert score(counts, table(n_classes), MEAN).miou == pytest.approx(expected, nan_ok=True)


def test_both_averages_by_hand() -> None:
    images = [
        (np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 2, 2, 2, 0])),  # cluster 2 lies on void alone
        (np.array([0, 0, 1, 1]), np.array([2, 2, 2, 1])),  # the same clusters mean other classes here
        (np.array([0, 1]), np.array([0, 0])),  # no labelled pixel
    ]
    counts = counted(images, 3, 3)
    sums, mean = (score(counts, table(3), how) for how in (SUMS, MEAN))
    assert sums.accuracy == pytest.approx(7 / 9)
    assert sums.iou[:2] == pytest.approx([3 / 5, 4 / 6])  # 2 + 1 of 3 + 2, 2 + 2 of 3 + 3
    assert np.isnan(sums.iou[2])
    assert sums.miou == pytest.approx((3 / 5 + 4 / 6) / 2)
    assert mean.miou == pytest.approx(np.mean([(2 / 3 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]))
    assert mean.accuracy == pytest.approx((4 / 5 + 3 / 4) / 2)
    assert mean.iou[:2] == pytest.approx([(2 / 3 + 1 / 2) / 2, 2 / 3])
    assert (sums.n_images, sums.classes_present, sums.clusters_in_use) == (3, 2, 3)
    dataset = score(counts, table(3), "hungarian")
    assert dataset.miou < sums.miou  # one meaning for all images fits worse


def test_clusters_beyond_the_classes_are_misses() -> None:
    counts = counted([(np.array([0, 0, 1, 2]), np.array([1, 1, 1, 1]))], 3, 1)
    for how in (SUMS, MEAN):
        scores = score(counts, table(1), how)
        assert (scores.miou, scores.accuracy) == (0.5, 0.5)


def test_a_left_over_cluster_predicts_an_absent_class_in_sums_and_none_in_means() -> None:
    counts = counted([(np.array([0, 0, 1]), np.array([1, 1, 1]))], 2, 2)
    sums, mean = (score(counts, table(2), how) for how in (SUMS, MEAN))
    assert sums.iou.tolist() == [pytest.approx(2 / 3), 0.0]
    assert sums.miou == pytest.approx(1 / 3)
    assert mean.iou[0] == mean.miou == pytest.approx(2 / 3)
    assert np.isnan(mean.iou[1])


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([SUMS, MEAN]), st.integers(0, 2**31 - 1))
def test_resamples_equal_scores_of_repeated_images(case, how: str, seed: int) -> None:
    images, n_clusters, n_classes = case
    counts = counted(images, n_clusters, n_classes)
    weights = np.random.default_rng(seed).integers(0, 3, (5, len(images)))
    found = resampled_miou(counts, table(n_classes), how, weights)
    for one, times in zip(found, weights, strict=True):
        positions = np.repeat(np.arange(len(images)), times)
        expected = score(counts, table(n_classes), how, images=positions).miou
        np.testing.assert_allclose(one, expected, rtol=1e-12)


def test_names_are_told_apart() -> None:
    assert {how for how in get_args(Matching) if is_per_image(how)} == PER_IMAGE == {SUMS, MEAN}
    with pytest.raises(ConfigError, match='unknown matching of one image "hungarian"'):
        matched_images(counted([(np.array([0]), np.array([1]))], 1, 1), np.array([-1, 0]), 1, "hungarian")
    assert match_image(np.array([[0, 3, 1]]), SUMS).tolist() == [-1, 0, -1]


def test_it_cannot_be_fitted_on_another_split() -> None:
    counts = counted([(np.array([0]), np.array([1]))], 1, 1)
    with pytest.raises(ConfigError, match="matched in each image by its own labels"):
        score(counts, table(1), SUMS, fit_on=counts)
    with pytest.raises(ConfigError, match="matched in each image by its own labels"):
        resampled_miou(counts, table(1), MEAN, [[1]], fit_on=counts)
    with pytest.raises(ValueError, match="per_image_hungarian is fitted in each image by itself"):
        Scoring(matching=SUMS, fit_split="train")
