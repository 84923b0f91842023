"""Mean features of clusters: which patch of another grid a patch has its feature from, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spectral_bench.bench.evaluation.counting import ScoredImage
from spectral_bench.bench.evaluation.layout import WindowLayout
from spectral_bench.bench.evaluation.naming import ClusterMeans
from spectral_bench.bench.features.views import ViewItem
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.interface import PatchBatch


def image(scores, cover, crops, name="one") -> ScoredImage:
    scores = torch.as_tensor(scores, dtype=torch.float32)
    frame = Crop.whole(*crops[0].resized)
    return ScoredImage(name, frame.resized, scores, WindowLayout(crops, scores.shape[2:], cover, frame, frame.resized))


def seen(features, cover, crops, name="one") -> ViewItem:
    features = torch.as_tensor(features, dtype=torch.float32)
    batch = PatchBatch((features,), torch.zeros(*features.shape[:3], 3), (name,) * len(features), crops)
    return ViewItem(name, crops[0].resized, crops[0].resized, cover, batch)


def whole(height, width):
    return (Crop.whole(height, width),)


def scores_of(assigned, k):
    return torch.nn.functional.one_hot(torch.as_tensor(assigned), k).float().movedim(-1, -3)


def literal(assigned, features, crop, cover, other_cover, k):
    """The mean unit feature of each cluster of one window, patch by patch."""
    sums, counts = np.zeros((k, features.shape[-1])), np.zeros(k, int)
    for row in range(len(assigned)):
        for column in range(len(assigned[0])):
            y, x = (row + 0.5) * cover[0] / len(assigned), (column + 0.5) * cover[1] / len(assigned[0])
            if y >= crop.height or x >= crop.width:
                continue
            i, j = int(y / other_cover[0] * features.shape[0]), int(x / other_cover[1] * features.shape[1])
            there = features[min(i, features.shape[0] - 1), min(j, features.shape[1] - 1)].astype(np.float64)
            sums[assigned[row][column]] += there / np.linalg.norm(there)
            counts[assigned[row][column]] += 1
    return counts, sums / np.maximum(counts, 1)[:, None]


def test_on_one_grid_each_patch_counts_once_with_a_length_of_one():
    planted = np.array([[[3.0, 0.0], [0.0, 0.5]], [[4.0, 0.0], [0.0, 9.0]]])
    means = ClusterMeans(3)
    means.add(
        image(scores_of([[[0, 2], [0, 0]]], 3), (32, 32), whole(32, 32)), seen(planted[None], (32, 32), whole(32, 32))
    )
    found = means.result()
    assert found.counts.tolist() == [3, 0, 1]
    np.testing.assert_allclose(found.vectors, [[2 / 3, 1 / 3], [0, 0], [0, 1]], atol=1e-7)


def test_of_equal_scores_the_first_cluster_counts():
    means = ClusterMeans(2)
    means.add(
        image(torch.zeros(1, 2, 1, 1), (16, 16), whole(16, 16)), seen(np.ones((1, 1, 1, 4)), (16, 16), whole(16, 16))
    )
    assert means.result().counts.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("size", "grid", "cover", "others", "other_cover"),
    [
        ((60, 90), (4, 6), (64, 96), (5, 7), (70, 98)),
        ((33, 65), (3, 5), (48, 80), (2, 3), (64, 96)),
        ((60, 90), (5, 7), (70, 98), (4, 6), (60, 90)),
        ((56, 56), (2, 2), (56, 56), (8, 8), (64, 64)),
    ],
)
def test_another_grid_gives_the_feature_at_the_centre_of_a_patch(size, grid, cover, others, other_cover):
    rng = np.random.default_rng(0)
    assigned, features = rng.integers(0, 4, grid), rng.normal(size=(*others, 8)).astype(np.float32)
    means = ClusterMeans(4)
    means.add(image(scores_of(assigned[None], 4), cover, whole(*size)), seen(features[None], other_cover, whole(*size)))
    counts, expected = literal(assigned, features, whole(*size)[0], cover, other_cover, 4)
    assert means.result().counts.tolist() == counts.tolist()
    np.testing.assert_allclose(means.result().vectors, expected, atol=1e-6)


def test_windows_and_images_add_up():
    crops = (Crop((32, 64), 0, 0, 32, 32), Crop((32, 64), 0, 32, 32, 32))
    features = np.array([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])
    means = ClusterMeans(2)
    means.add(image(scores_of([[[0]], [[1]]], 2), (32, 32), crops), seen(features, (32, 32), crops))
    means.add(image(scores_of([[[0]], [[0]]], 2), (32, 32), crops, "two"), seen(features, (32, 32), crops, "two"))
    found = means.result()
    assert found.counts.tolist() == [3, 1]
    np.testing.assert_allclose(found.vectors, [[2 / 3, 1 / 3], [0, 1]], atol=1e-7)


def test_what_does_not_belong_together_or_is_not_finite_is_refused():
    one, crops = image(scores_of([[[0]]], 2), (16, 16), whole(16, 16)), whole(16, 16)
    with pytest.raises(ValueError, match="of other windows"):
        ClusterMeans(2).add(one, seen(np.ones((1, 1, 1, 2)), (16, 16), crops, "two"))
    with pytest.raises(ValueError, match="of other windows"):
        ClusterMeans(2).add(one, seen(np.ones((1, 1, 1, 2)), (16, 16), whole(16, 17)))
    with pytest.raises(NumericalError, match="image one: features in the space of texts are NaN"):
        ClusterMeans(2).add(one, seen(np.full((1, 1, 1, 2), np.nan), (16, 16), crops))
    with pytest.raises(ValueError, match="no image was added"):
        ClusterMeans(2).result()
