"""Metrics against a direct computation on the pixels, class by class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spectral_bench.common.errors import ConfigError
from spectral_bench.results.contingency import Contingency, ContingencyBuilder
from spectral_bench.results.matching import match
from spectral_bench.results.metrics import Scores, class_matrix, class_of_label, resampled_miou, score, score_matrices
from spectral_bench.results.record import ClassTable

HOWS = ("majority", "iou", "hungarian", "hungarian_iou", "hungarian_present", "hungarian_iou_present")
# Raw ids 0 to 6: class "sky" has two of them, 3 and 6 belong to no class.
TABLE = ClassTable(classes=["road", "sky", "tree"], raw_ids=[[1], [5, 0], [2]])
N_RAW = 7
Pixels = NDArray[np.int64]


@dataclass
class Scene:
    """Cluster and raw label maps of a few images, and their contingency."""

    clusters: list[Pixels]
    labels: list[Pixels]
    contingency: Contingency


def make_scene(seed: int, n_images: int = 4, n_clusters: int = 5, raw: tuple[int, ...] = tuple(range(N_RAW))) -> Scene:
    rng = np.random.default_rng(seed)
    builder = ContingencyBuilder(n_clusters, N_RAW)
    clusters, labels = [], []
    for index in range(n_images):
        shape = tuple(rng.integers(1, 9, size=2))
        labels.append(rng.choice(raw, shape))
        # Clusters follow labels in part, so that matchings find something.
        clusters.append(np.where(rng.random(shape) < 0.6, labels[-1] % n_clusters, rng.integers(0, n_clusters, shape)))
        builder.add(str(index), clusters[-1], labels[-1])
    return Scene(clusters, labels, builder.build())


scenes = st.builds(
    make_scene,
    seed=st.integers(0, 2**32 - 1),
    n_images=st.integers(1, 4),
    n_clusters=st.integers(1, 6),
    raw=st.lists(st.integers(0, N_RAW - 1), min_size=1, unique=True).map(tuple),
)


def direct(scene: Scene, matching: Pixels) -> dict[str, float | list[float]]:
    """Every matched number from one long list of pixels, without any matrix."""
    truth = np.concatenate([label.ravel() for label in scene.labels])
    clusters = np.concatenate([cluster.ravel() for cluster in scene.clusters])
    class_of = {raw: index for index, ids in enumerate(TABLE.raw_ids) for raw in ids}
    classes = np.array([class_of.get(int(raw), -1) for raw in truth])
    predicted = matching[clusters][classes >= 0]
    classes = classes[classes >= 0]
    ious, accuracies = [], []
    for index in range(len(TABLE.classes)):
        hits = int(np.sum((predicted == index) & (classes == index)))
        union = int(np.sum((predicted == index) | (classes == index)))
        present = int(np.sum(classes == index))
        ious.append(hits / union if union else math.nan)
        accuracies.append(hits / present if present else math.nan)
    known = [value for value in ious if not math.isnan(value)]
    recalls = [value for value in accuracies if not math.isnan(value)]
    return {
        "iou": ious,
        "class_accuracy": accuracies,
        "miou": float(np.sum(known)) / len(known) if known else math.nan,
        "accuracy": int(np.sum(predicted == classes)) / len(classes) if len(classes) else math.nan,
        "mean_accuracy": float(np.sum(recalls)) / len(recalls) if recalls else math.nan,
        "n_pixels": len(classes),
        "classes_present": len(recalls),
        "clusters_in_use": len(np.unique(clusters)),
    }


@given(scenes, st.sampled_from(HOWS))
def test_equal_to_a_pixel_level_computation_exactly(scene: Scene, how: str) -> None:
    scores = score(scene.contingency, TABLE, how)
    for name, expected in direct(scene, scores.matching).items():
        np.testing.assert_array_equal(getattr(scores, name), expected, err_msg=name)


@settings(max_examples=40)
@given(scenes, st.sampled_from(HOWS), st.integers(0, 2**32 - 1))
def test_many_matrices_score_as_one_by_one(scene: Scene, how: str, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(0, 3, (5, scene.contingency.n_images))
    one_by_one = [
        score(scene.contingency, TABLE, how, images=np.repeat(np.arange(len(row)), row)).miou for row in weights
    ]
    np.testing.assert_array_equal(resampled_miou(scene.contingency, TABLE, how, weights), one_by_one)
    stack = class_matrix(scene.contingency.resample(weights), TABLE)
    np.testing.assert_array_equal(score_matrices(stack, how), one_by_one)


def test_resamples_beyond_one_batch() -> None:
    scene = make_scene(3)
    weights = np.random.default_rng(0).integers(0, 3, (150, 4))
    whole = resampled_miou(scene.contingency, TABLE, "iou", weights)
    parts = [resampled_miou(scene.contingency, TABLE, "iou", row[None])[0] for row in weights]
    np.testing.assert_array_equal(whole, parts)
    assert len(np.unique(whole)) > 50


@given(scenes, st.sampled_from(HOWS))
def test_metrics_lie_between_0_and_1_and_perfect_clusters_reach_1(scene: Scene, how: str) -> None:
    scores = score(scene.contingency, TABLE, how)
    for value in (scores.miou, scores.accuracy, scores.mean_accuracy, scores.nmi):
        assert math.isnan(value) or 0 <= value <= 1
    builder = ContingencyBuilder(N_RAW, N_RAW)
    one_id_a_class = np.array([5, 1, 2, 3, 4, 5, 6])
    for index, label in enumerate(scene.labels):
        builder.add(str(index), one_id_a_class[label], label)
    perfect = score(builder.build(), TABLE, how)
    if perfect.n_pixels:
        assert (perfect.miou, perfect.accuracy, perfect.mean_accuracy, perfect.ari) == (1.0, 1.0, 1.0, 1.0)
        assert perfect.nmi == pytest.approx(1.0)


def contingency(matrix: list[list[int]]) -> Contingency:
    """One image with these counts of clusters x raw label ids."""
    counts = np.array(matrix)
    cluster, label = (part.astype(np.int32) for part in np.nonzero(counts))
    return Contingency(("a",), *counts.shape, np.zeros_like(cluster), cluster, label, counts[cluster, label])


def table(n_classes: int) -> ClassTable:
    return ClassTable(classes=[f"class {c}" for c in range(n_classes)], raw_ids=[[c] for c in range(n_classes)])


def test_a_worked_example() -> None:
    scores = score(contingency([[6, 2, 1], [0, 4, 0], [0, 0, 0]]), table(2), "majority")
    assert scores.matching.tolist() == [0, 1, -1]
    assert scores.iou.tolist() == [6 / 8, 4 / 6]
    assert scores.class_accuracy.tolist() == [1.0, 4 / 6]
    assert scores.miou == (6 / 8 + 4 / 6) / 2
    assert scores.accuracy == 10 / 12
    assert (scores.n_images, scores.n_pixels, scores.clusters_in_use, scores.classes_present) == (1, 12, 2, 2)
    assert scores.classes == ("class 0", "class 1")


def test_unmatched_clusters_are_misses() -> None:
    # Three clusters, two classes, one to one: the pixels of cluster 2 count against their classes' recall only.
    scores = score(contingency([[8, 0], [0, 8], [2, 2]]), table(2), "hungarian")
    assert scores.matching.tolist() == [0, 1, -1]
    assert scores.accuracy == 16 / 20
    assert scores.iou.tolist() == [8 / 10, 8 / 10]


def test_ignored_pixels_do_not_steer_the_matching() -> None:
    # Cluster 0 is mostly void; within the classes it is class 1, and its IoU is counted without the void.
    counts = contingency([[1, 3, 100], [5, 0, 0]])
    scores = score(counts, table(2), "iou")
    assert scores.matching.tolist() == [1, 0]
    assert scores.n_pixels == 9
    assert scores.iou.tolist() == [5 / 6, 3 / 4]


def test_a_cluster_on_ignored_pixels_only_is_in_use_but_unmatched() -> None:
    scores = score(contingency([[4, 0], [0, 9]]), table(1), "iou")
    assert scores.clusters_in_use == 2
    assert scores.matching.tolist() == [0, -1]


def test_a_class_that_never_occurs_is_nan_and_outside_of_the_mean() -> None:
    scores = score(contingency([[4, 0, 2], [0, 0, 2]]), table(3), "iou")
    assert math.isnan(scores.iou[1])
    assert math.isnan(scores.class_accuracy[1])
    assert scores.classes_present == 2
    assert scores.miou == (4 / 6 + 2 / 4) / 2


def test_matching_fitted_on_another_split() -> None:
    validation = contingency([[9, 1, 0], [0, 0, 5]])
    training = contingency([[0, 5, 0], [0, 0, 0]])
    scores = score(validation, table(3), "majority", fit_on=training)
    assert scores.matching.tolist() == [1, -1]
    # Class 0 is missed, class 1 is predicted where it is not, cluster 1 predicts nothing.
    assert scores.iou.tolist() == [0.0, 1 / 10, 0.0]
    assert scores.accuracy == 1 / 15
    assert resampled_miou(validation, table(3), "majority", [[1], [2]], fit_on=training).tolist() == [scores.miou] * 2
    # A class that is absent but predicted has a non-empty union and counts as 0.
    assert score(contingency([[9, 0, 0]]), table(3), "iou", fit_on=contingency([[0, 1, 0]])).iou[1] == 0.0


def test_matching_of_other_clusters_is_refused() -> None:
    with pytest.raises(ValueError, match="fitted on 3 clusters, scored on 2"):
        score(contingency([[1], [1]]), table(1), "iou", fit_on=contingency([[1], [1], [1]]))


def test_images_select_what_is_scored_and_fitted() -> None:
    scene = make_scene(11)
    part = score(scene.contingency, TABLE, "iou", images=[1, 1, 3])
    matrix = class_matrix(scene.contingency.matrix([1, 1, 3]), TABLE)
    assert part.n_images == 3
    assert part.n_pixels == matrix.sum()
    np.testing.assert_array_equal(part.matching, match(matrix, "iou"))
    mask = np.array([False, True, False, True])
    assert score(scene.contingency, TABLE, "iou", images=mask).n_images == 2


def test_nothing_to_score_is_nan() -> None:
    scores = score(make_scene(0).contingency, TABLE, "iou", images=[])
    for value in (scores.miou, scores.accuracy, scores.mean_accuracy, scores.ari, scores.nmi):
        assert math.isnan(value)
    assert (scores.n_images, scores.n_pixels, scores.classes_present) == (0, 0, 0)
    assert scores.matching.tolist() == [-1] * 5


def test_sums_over_images_and_not_means_of_images() -> None:
    builder = ContingencyBuilder(2, 2)
    builder.add("large", np.zeros((9, 9), dtype=int), np.zeros((9, 9), dtype=int))
    builder.add("small", np.array([[0, 0, 1]]), np.array([[1, 1, 1]]))
    scores = score(builder.build(), table(2), "majority")
    assert scores.iou.tolist() == [81 / 83, 1 / 3]


def test_one_contingency_serves_every_class_set() -> None:
    counts = contingency([[4, 1, 0], [0, 1, 6]])
    merged = ClassTable(classes=["a", "b"], raw_ids=[[0, 1], [2]])
    assert score(counts, merged, "iou").n_pixels == score(counts, table(3), "iou").n_pixels == 12
    assert score(counts, merged, "iou").iou.tolist() == [5 / 6, 6 / 7]


def test_class_tables_that_do_not_fit_are_refused() -> None:
    assert class_of_label(TABLE, N_RAW).tolist() == [1, 0, 2, -1, -1, 1, -1]
    with pytest.raises(ValueError, match="sky: raw label id 5; expected 0 to 3"):
        class_of_label(TABLE, 4)
    with pytest.raises(ValueError, match="b shares a raw label id"):
        class_of_label(ClassTable(classes=["a", "b"], raw_ids=[[0, 1], [1]]), 3)
    with pytest.raises(ValueError, match="without classes"):
        class_of_label(ClassTable(classes=[], raw_ids=[]), 3)


def test_an_unknown_matching_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="majority"):
        score(make_scene(0).contingency, TABLE, "maximum")


def test_scores_hold_plain_numbers() -> None:
    scores = score(make_scene(0).contingency, TABLE, "iou")
    assert isinstance(scores, Scores)
    plain = {name: type(value) for name, value in vars(scores).items() if not isinstance(value, np.ndarray)}
    assert set(plain.values()) == {tuple, float, int}
