from __future__ import annotations

import numpy as np
import pytest

from spectral_bench.results.contingency import Contingency
from spectral_bench.results.metrics import score
from spectral_bench.results.record import ClassTable
from spectral_bench.results.statistics import bootstrap_miou, image_weights

CLASSES = ClassTable(classes=["a", "b", "c"], raw_ids=[[0], [1], [2]])


def contingency(seed: int, images: int = 30, clusters: int = 6, alike: bool = False) -> Contingency:
    generator = np.random.default_rng(seed)
    table = generator.integers(0, 50, size=(images, clusters, 3)) * (generator.random((images, clusters, 3)) < 0.6)
    table[:] = table[0] if alike else table
    image, cluster, label = (part.astype(np.int32) for part in np.nonzero(table))
    counts = table[np.nonzero(table)].astype(np.int64)
    return Contingency(tuple(map(str, range(images))), clusters, 3, image, cluster, label, counts)


def repeated(counts: Contingency, weights: np.ndarray) -> list[int]:
    return [int(image) for image in np.repeat(np.arange(counts.n_images), weights)]


def test_each_resample_has_as_many_images_and_draws_them_evenly():
    weights = image_weights(40, 3000)
    assert weights.shape == (3000, 40)
    assert np.all(weights.sum(axis=1) == 40)
    assert np.allclose(weights.mean(axis=0), 1, atol=0.1)
    assert np.all(image_weights(40, 3000) == weights)
    assert not np.all(image_weights(40, 3000, seed=1) == weights)


@pytest.mark.parametrize("matching", ["iou", "majority", "hungarian"])
def test_the_matching_is_fitted_anew_in_each_resample(matching: str):
    counts = contingency(0)
    found = bootstrap_miou([counts], CLASSES, matching, resamples=50)
    direct = [
        score(counts, CLASSES, matching, images=repeated(counts, weights)).miou
        for weights in image_weights(counts.n_images, 50)
    ]
    expected = np.percentile(direct, [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)
    assert found.std == pytest.approx(np.std(direct, ddof=1))
    assert found.resamples == 50


def test_a_matching_from_another_split_stays_as_it_is():
    counts, other = contingency(0), contingency(1)
    found = bootstrap_miou([counts], CLASSES, "iou", fit_on=[other], resamples=40)
    direct = [
        score(counts, CLASSES, "iou", fit_on=other, images=repeated(counts, weights)).miou
        for weights in image_weights(counts.n_images, 40)
    ]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(direct, [2.5, 97.5])), abs=1e-12)


def test_images_that_are_all_alike_leave_no_uncertainty():
    counts = contingency(0, alike=True)
    found = bootstrap_miou([counts], CLASSES, "iou", resamples=20)
    assert found.low == pytest.approx(found.high) == pytest.approx(score(counts, CLASSES, "iou").miou)


def test_fits_are_averaged_within_each_resample():
    fits = [contingency(seed) for seed in range(3)]
    together = bootstrap_miou(fits, CLASSES, "iou", resamples=100)
    alone = [bootstrap_miou([fit], CLASSES, "iou", resamples=100) for fit in fits]
    assert together.std < max(found.std for found in alone)
    assert bootstrap_miou([fits[0]] * 3, CLASSES, "iou", resamples=100).std == pytest.approx(alone[0].std)


def test_the_same_seed_gives_the_same_interval():
    counts = contingency(0)
    assert bootstrap_miou([counts], CLASSES, "iou", resamples=30) == bootstrap_miou(
        [counts], CLASSES, "iou", resamples=30
    )


def test_fits_on_other_images_are_refused():
    with pytest.raises(ValueError, match="not evaluated on the same images"):
        bootstrap_miou([contingency(0), contingency(0, images=29)], CLASSES, "iou")
    with pytest.raises(ValueError, match="no contingency"):
        bootstrap_miou([], CLASSES, "iou")


def test_more_images_make_the_interval_narrower():
    few, many = (bootstrap_miou([contingency(0, images=n)], CLASSES, "iou", resamples=200) for n in (20, 500))
    assert many.high - many.low < few.high - few.low
