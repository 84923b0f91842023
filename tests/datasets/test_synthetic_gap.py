"""What the generated data set is for: colour alone must fail on it, and features of a backbone must not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data

K = 32
STRIDE = 16


def _patches(split: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(N, h, w, C) values of each kind and (N, H, W) labels: colours seen at, and averaged over, patches; features."""
    import torch

    from spectral_bench.bench.features.backbones import load_backbone

    data = open_data("synthetic", DataRoots())
    images, labels = data.images(split), data.labels(split)
    pixels = np.stack([images.image(image_id) for image_id in images.ids])
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    levels = load_backbone("efficientnet_lite0", None, "cpu").features(tensor)
    grid = [side // STRIDE for side in pixels.shape[1:3]]
    sampled = torch.nn.functional.interpolate(tensor, grid, mode="bilinear").permute(0, 2, 3, 1).numpy()
    mean = pixels.reshape(len(pixels), grid[0], STRIDE, grid[1], STRIDE, 3).mean(axis=(2, 4)) / 255
    values = {"rgb sampled": sampled, "rgb mean": mean, "features": levels[-1].numpy()}
    return values, np.stack([labels.label(image_id) for image_id in labels.ids])


def _miou(train: np.ndarray, val: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """mIoU in per cent of k-means, each cluster given the class of largest IoU, void ignored."""
    from spectral_bench.results.matching import match

    channels = train.shape[-1]
    clusters = KMeans(K, n_init=1, random_state=seed).fit(train.reshape(-1, channels).astype(np.float32))
    predicted = clusters.predict(val.reshape(-1, channels).astype(np.float32)).reshape(val.shape[:3])
    dense = predicted.repeat(STRIDE, axis=1).repeat(STRIDE, axis=2)
    counts = np.bincount((dense.astype(np.int64) * 13 + labels).ravel(), minlength=K * 13).reshape(K, 13)[:, :12]
    table = np.zeros((12, 12))
    np.add.at(table, match(counts, "iou"), counts)
    hits = np.diag(table)
    return float(100 * np.mean(hits / (table.sum(axis=0) + table.sum(axis=1) - hits)))


@pytest.mark.slow
def test_k_means_fails_on_colour_and_works_on_features() -> None:
    train, _ = _patches("train")
    val, labels = _patches("val")
    scores = {kind: [_miou(train[kind], val[kind], labels, seed) for seed in range(3)] for kind in train}
    print({kind: [round(score, 1) for score in found] for kind, found in scores.items()})  # noqa: T201
    assert max(scores["rgb sampled"]) < 20
    assert max(scores["rgb mean"]) < 20
    assert min(scores["features"]) > 45
