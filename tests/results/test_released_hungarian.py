"""The one-to-one matching against the arithmetic of the released codes, written out pixel by pixel.

STEGO (``src/utils.py``): every cluster is given a class by an assignment of all counts; of the confusion of the mapped
pixels a class has IoU TP / (TP + FP + FN), undefined only where it neither occurs nor is predicted, and the mean is
over the defined ones. NeuralEF's code (mapped pixels, then ReCo's running score) comes to the same.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from spectral_bench.results.contingency import Contingency, ContingencyBuilder
from spectral_bench.results.metrics import resampled_miou, score
from spectral_bench.results.record import ClassTable

IGNORED = 99
Pixels = NDArray[np.int64]


def released(clusters: Pixels, labels: Pixels, n: int) -> tuple[float, float, list[float]]:
    """mIoU, pixel accuracy and IoU a class, in plain arithmetic over single pixels."""
    pixels = [(int(c), int(t)) for c, t in zip(clusters, labels, strict=True) if t != IGNORED]
    table = [[0] * n for _ in range(n)]
    for cluster, label in pixels:
        table[cluster][label] += 1
    _, class_of = linear_sum_assignment(np.array(table), maximize=True)
    mapped = [(int(class_of[cluster]), label) for cluster, label in pixels]
    ious = []
    for class_ in range(n):
        true_positive = sum(1 for said, label in mapped if said == class_ == label)
        false_positive = sum(1 for said, label in mapped if said == class_ != label)
        false_negative = sum(1 for said, label in mapped if label == class_ != said)
        union = true_positive + false_positive + false_negative
        ious.append(true_positive / union if union else math.nan)
    known = [iou for iou in ious if not math.isnan(iou)]
    right = sum(1 for said, label in mapped if said == label)
    return sum(known) / len(known), right / len(mapped), ious


def counts(clusters: Pixels, labels: Pixels, n: int) -> Contingency:
    builder = ContingencyBuilder(n, IGNORED + 1)
    builder.add("image", clusters[None], labels[None])
    return builder.build()


def classes(n: int) -> ClassTable:
    return ClassTable(classes=[str(index) for index in range(n)], raw_ids=[[index] for index in range(n)])


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Pixels, Pixels, int]:
    """Pixels of as many clusters as classes, of which some occur on one side only, and ignored ones."""
    n = draw(st.integers(2, 7))
    used = draw(st.lists(st.integers(0, n - 1), min_size=1, unique=True))
    labelled = draw(st.lists(st.integers(0, n - 1), min_size=1, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    clusters, labels = rng.choice(used, 40), rng.choice([*labelled, IGNORED], 40)
    labels[0] = labelled[0]
    return clusters, labels, n


@given(scenes())
def test_scores_are_those_of_the_released_arithmetic(scene: tuple[Pixels, Pixels, int]) -> None:
    clusters, labels, n = scene
    miou, accuracy, ious = released(clusters, labels, n)
    scores = score(counts(clusters, labels, n), classes(n), "hungarian")
    assert scores.miou == pytest.approx(miou, abs=1e-12)
    assert scores.accuracy == pytest.approx(accuracy, abs=1e-12)
    np.testing.assert_allclose(scores.iou, ious, rtol=0, atol=1e-12)
    (resampled,) = resampled_miou(counts(clusters, labels, n), classes(n), "hungarian", [[3]])
    assert resampled == pytest.approx(miou, abs=1e-12)


def eleven(predicted_rest: bool) -> tuple[Pixels, Pixels]:
    """Nine of eleven classes, each with a cluster that has nine of its ten pixels; two clusters share the rest."""
    labels = np.repeat(np.arange(9), 10)
    clusters = labels.copy()
    clusters[9::10] = np.where(np.arange(9) < 5, 9, 10) if predicted_rest else (np.arange(9) + 1) % 9
    return clusters, labels


def test_absent_classes_count_where_left_over_clusters_predict_them() -> None:
    contingency = counts(*eleven(True), 11)
    as_released, present = (score(contingency, classes(11), how) for how in ("hungarian", "hungarian_present"))
    assert as_released.miou == pytest.approx(released(*eleven(True), 11)[0], abs=1e-15)
    assert present.miou / as_released.miou == pytest.approx(11 / 9, abs=1e-12)
    assert present.miou == pytest.approx(0.9, abs=1e-12)
    assert as_released.iou[9:].tolist() == [0, 0]
    assert np.isnan(present.iou[9:]).all()
    assert as_released.accuracy == present.accuracy
    assert as_released.mean_accuracy == present.mean_accuracy
    assert as_released.classes_present == 9


def test_an_absent_class_whose_cluster_is_empty_does_not_count() -> None:
    contingency = counts(*eleven(False), 11)
    as_released, present = (score(contingency, classes(11), how) for how in ("hungarian", "hungarian_present"))
    assert as_released.miou == present.miou == pytest.approx(released(*eleven(False), 11)[0], abs=1e-15)


def test_by_iou_left_over_clusters_predict_absent_classes_too() -> None:
    contingency = counts(*eleven(True), 11)
    as_released, present = (score(contingency, classes(11), how) for how in ("hungarian_iou", "hungarian_iou_present"))
    assert present.miou / as_released.miou == pytest.approx(11 / 9, abs=1e-12)


def test_a_class_absent_where_the_matching_is_fitted_can_be_right_elsewhere() -> None:
    fitted = counts(np.array([0, 0, 1]), np.array([0, 0, 0]), 2)
    scored = counts(np.array([0, 1]), np.array([0, 1]), 2)
    assert score(scored, classes(2), "hungarian", fit_on=fitted).miou == 1.0
    assert score(scored, classes(2), "hungarian_present", fit_on=fitted).miou == 0.5
