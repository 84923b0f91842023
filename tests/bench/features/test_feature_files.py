"""Features that were computed elsewhere: read as from a cache, and refused where they are not as they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_file_lab import CHANNELS, FORMS, LEVELS, SIZES, VIT, no_backbone, same, stored, write

from spectral_bench.bench.features import open_training_source, open_view_features
from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.features.files import find
from spectral_bench.bench.features.patch_labels import PatchLabels
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.params import Colours
from spectral_bench.results.specification import (
    BackboneSpec,
    Features,
    FitSpec,
    Resize,
    TrainingData,
    Transform,
    View,
)


@pytest.mark.parametrize("form", FORMS)
def test_training_patches_are_those_of_the_cache_to_the_bit(form, make_images, how, tmp_path):
    images = make_images(5, (50, 60))
    transform = Transform(resize=Resize(mode="exact", size=(40, 56)))
    data = TrainingData(dataset="fake", transform=transform)
    spec = FitSpec(data=data, features=Features(), backbone=VIT, method="kmeans")
    cached = open_training_source(spec, images=images, ids=images.ids, **how)
    for batch in cached.images():
        write(tmp_path / "train", batch.image_ids[0], [level[0] for level in batch.features], form)
    features = Features(mode="files", root=str(tmp_path / "{split}"), stride=16, **FORMS[form])
    spec = spec.model_copy(update={"features": features, "backbone": stored(features, stride=16)})
    how = {**how, "backbone": no_backbone, "workers": 2}
    read = open_training_source(spec, images=images, ids=images.ids, **how)
    assert (read.channels, read.grid, read.n_patches, read.reused) == (CHANNELS, (3, 4), 60, False)
    for one, other in ((read.images(), cached.images()), (read.batches(3, 2), cached.batches(3, 2))):
        pairs = list(zip(one, other, strict=True))
        assert pairs
        assert all(same(*pair) for pair in pairs)
    for one, other in zip(read.statistics().mean, cached.statistics().mean, strict=True):
        assert torch.equal(one, other)
    for count in (7, 60):
        one, other = read.subsample(count), cached.subsample(count)
        assert torch.equal(one.image_index, other.image_index)
        assert all(torch.equal(a, b) for a, b in zip(one.features, other.features, strict=True))
        assert torch.equal(one.pixels, other.pixels)


def export_view(images, how, folder, view):
    cached = open_view_features(view, backbone_spec=VIT, features=Features(), images=images, ids=images.ids, **how)
    for item in cached:
        write(folder / "val", item.image_id, [level[0] for level in item.patches.features], "npy")
    return cached


def test_views_are_those_of_the_cache_whatever_the_sizes(make_sized_images, how, tmp_path):
    images = make_sized_images(SIZES)
    view = View(dataset="fake", split="val")
    cached = export_view(images, how, tmp_path, view)
    features = Features(mode="files", root=f"{tmp_path}/{{split}}", stride=16, levels=LEVELS)
    view = view.model_copy(update={"features": find(features, "fake", "val").digest()})
    backbone = BackboneSpec(name="files:mine", options={"channels": list(CHANNELS), "stride": 16})
    how = {**how, "backbone": no_backbone, "colours": Colours(antialiased=True)}
    read = open_view_features(view, backbone_spec=backbone, features=features, images=images, ids=images.ids, **how)
    assert (read.computed, read.reused) == (False, False)
    for one, other in zip(read, cached, strict=True):
        assert (one.original, one.frame, one.cover) == (other.original, other.frame, other.cover)
        assert same(one.patches, other.patches)
        assert one.patches.antialiased.shape == one.patches.pixels.shape


def test_without_a_stride_patches_span_the_image(make_sized_images, how, tmp_path):
    """As of networks that resize their inputs; each image has a grid of its own."""
    images = make_sized_images(SIZES)
    grids = {"a": (3, 4), "b": (9, 5), "c": (2, 2)}
    for image_id, grid in grids.items():
        write(tmp_path, image_id, [torch.rand(*grid, 64) for _ in LEVELS], "pt")
    features = Features(mode="files", root=str(tmp_path))
    view = View(dataset="fake", split="val", features=find(features, "fake", "val").digest())
    backbone = BackboneSpec(name="files:mine", options={"channels": list(CHANNELS), "grid": [3, 4]})
    how = {**how, "backbone": no_backbone, "colours": Colours(antialiased=True)}
    read = open_view_features(view, backbone_spec=backbone, features=features, images=images, ids=images.ids, **how)
    for item in read:
        assert item.patches.grid == grids[item.image_id]
        assert item.cover == item.frame == SIZES[item.image_id]
        assert item.patches.pixels.shape == item.patches.antialiased.shape == (1, *item.patches.grid, 3)


def test_labels_of_patches_that_span_their_image():
    class Labels:
        ids = ("a",)

        def label(self, image_id):
            return np.array([[0, 0, 1, 1], [0, 0, 1, 1]], np.uint16)

    class Info:
        name, n_raw_labels, default_classes = "fake", 2, "two"

    class Two:
        classes, raw_ids = ("x", "y"), ((0,), (1,))

    Info.class_sets = {"two": Two}
    info = backbone_info("files:mine", {"channels": [1], "grid": [7, 9]})  # of the first file, and of no matter here
    found = PatchLabels(Labels(), Info, info).labels("a", Crop.whole(2, 4), (1, 2))
    assert found.tolist() == [[0, 1]]
