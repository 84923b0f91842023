from __future__ import annotations

import hashlib

import numpy as np
import pytest
from sklearn.cluster import KMeans

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.synthetic.dataset import INFO, PALETTE, SyntheticImages, SyntheticLabels
from spectral_bench.datasets.synthetic.layout import N_CLASSES, draw_layout
from spectral_bench.datasets.synthetic.paint import VOID, paint_image, paint_label

IMAGES = SyntheticImages("train")
LABELS = SyntheticLabels("train")


def _sha(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def test_it_needs_no_root() -> None:
    data = open_data("synthetic", DataRoots())
    assert not data.info.needs_root
    assert len(data.images("train").ids) == data.info.splits["train"] == 64
    assert len(data.images("val").ids) == data.info.splits["val"] == 32
    assert data.labels("val").ids == data.images("val").ids
    assert data.problems("train") == data.problems("val") == []


def test_images_and_labels_have_the_promised_shape_and_type() -> None:
    image, label = IMAGES.image(IMAGES.ids[3]), LABELS.label(IMAGES.ids[3])
    assert image.shape == (*INFO.evaluation_size, 3)  # type: ignore[misc]
    assert image.dtype == np.uint8
    assert label.shape == INFO.evaluation_size
    assert label.dtype == np.uint16


def test_no_loader_offers_both() -> None:
    assert not hasattr(IMAGES, "label")
    assert not hasattr(LABELS, "image")


def test_an_image_alone_equals_the_same_image_after_others() -> None:
    alone = SyntheticImages("val").image("val_0009")
    loader = SyntheticImages("val")
    for image_id in loader.ids[:9]:
        loader.image(image_id)
    np.testing.assert_array_equal(loader.image("val_0009"), alone)


def test_generated_pixels_are_pinned() -> None:
    # A change here must raise VERSION in datasets/synthetic/dataset.py: records keep it as the digest of the data.
    assert IMAGES.digest() == "synthetic-1-train-64"
    assert _sha(paint_image(0, 0)) == "31542e75f79e17fa"
    assert _sha(np.stack([paint_image(1, i) for i in range(8)])) == "9d48cbc37f5abf12"
    assert _sha(np.stack([paint_label(1, i) for i in range(8)])) == "b675ebc2cba6cecf"


def test_images_differ_between_each_other_and_between_splits() -> None:
    hashes = {_sha(paint_image(split, index)) for split in (0, 1) for index in range(10)}
    assert len(hashes) == 20


def test_every_class_occurs_in_both_splits_and_void_stays_rare() -> None:
    for split in INFO.splits:
        labels = SyntheticLabels(split)
        counts = sum(np.bincount(labels.label(i).ravel(), minlength=INFO.n_raw_labels) for i in labels.ids)
        assert len(counts) == N_CLASSES + 1
        share = counts / counts.sum()
        assert share[:N_CLASSES].min() > 0.02
        assert 0.005 < share[VOID] < 0.06


def test_the_class_set_counts_every_class_but_void() -> None:
    classes = INFO.class_sets[INFO.default_classes]
    assert len(classes.classes) == len(classes.palette) == len(set(PALETTE)) == N_CLASSES >= 8
    assert [raw for ids in classes.raw_ids for raw in ids] == list(range(N_CLASSES))
    assert INFO.raw_names[VOID] == "void"
    assert INFO.n_raw_labels == VOID + 1


def test_void_lies_at_borders_between_classes_only() -> None:
    layout, label = draw_layout(0, 5), paint_label(0, 5)
    truth = np.asarray(layout.classes)[layout.region]
    padded = np.pad(truth, 1, mode="edge")
    neighbours = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    border = np.any([truth != other for other in neighbours], axis=0)
    np.testing.assert_array_equal(label == VOID, border)
    np.testing.assert_array_equal(label[~border], truth[~border])


def test_places_prefer_their_own_classes() -> None:
    # Bands are the first six regions, two a band; each band owns three classes, the objects the last three.
    layouts = [draw_layout(0, index) for index in range(64)]
    own = [category // 3 == place // 2 for layout in layouts for place, category in enumerate(layout.classes[:6])]
    assert 0.65 < np.mean(own) < 0.9


def test_mean_colour_says_little_about_the_class() -> None:
    colours, classes = [], []
    for index in range(64):
        image, label = paint_image(0, index), paint_label(0, index)
        for category in np.unique(label[label != VOID]):
            colours.append(image[label == category].mean(axis=0))
            classes.append(int(category))
    table = np.asarray(classes)
    nearest = np.linalg.norm(np.asarray(colours)[:, None] - np.asarray(colours)[None], axis=2)
    np.fill_diagonal(nearest, np.inf)
    # Leave-one-out nearest neighbour on the mean colours of whole regions: chance is about 9 %.
    assert np.mean(table[nearest.argmin(axis=1)] == table) < 0.25


def test_local_contrast_says_more_than_colour() -> None:
    patches, contrast, classes = [], [], []
    for index in range(24):
        image = paint_image(0, index).astype(float).reshape(12, 16, 16, 16, 3)
        label = paint_label(0, index).reshape(12, 16, 16, 16)
        pure = (label.min(axis=(1, 3)) == label.max(axis=(1, 3))) & (label.max(axis=(1, 3)) != VOID)
        grey = image.mean(axis=4)
        patches.append(image.mean(axis=(1, 3))[pure])
        down, across = np.abs(np.diff(grey, axis=1)).mean((1, 3)), np.abs(np.diff(grey, axis=3)).mean((1, 3))
        contrast.append(np.stack([down, across, grey.std(axis=(1, 3))], axis=-1)[pure])
        classes.append(label.max(axis=(1, 3))[pure])
    truth = np.concatenate(classes)

    def purity(values: np.ndarray) -> float:
        cluster = KMeans(24, n_init=1, random_state=0).fit_predict((values - values.mean(0)) / values.std(0))
        return sum(np.bincount(truth[cluster == k]).max() for k in range(24)) / len(truth)

    assert purity(np.concatenate(contrast)) > purity(np.concatenate(patches)) + 0.08


@pytest.mark.parametrize("loader", [IMAGES.image, LABELS.label])
def test_an_unknown_id_is_refused(loader: object) -> None:
    with pytest.raises(DataError, match=r"synthetic train: no image val_0000.*train_0000 to train_0063"):
        loader("val_0000")  # type: ignore[operator]


@pytest.mark.parametrize("open_", ["images", "labels", "problems"])
def test_an_unknown_split_lists_the_valid_ones(open_: str) -> None:
    data = open_data("synthetic", DataRoots())
    with pytest.raises(DataError, match=r'unknown split of synthetic "valid"; did you mean "val"\? valid: train, val'):
        getattr(data, open_)("valid")
