"""Antialiased pixels: PIL's, for those that ask, and the same beside cached features as beside computed ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from spectral_bench.bench.features import open_training_source, open_view_features
from spectral_bench.bench.features.pipeline import antialiased_pixels, batch_part, central, concatenate
from spectral_bench.results.specification import BackboneSpec, Features, FitSpec, Resize, TrainingData, Transform, View

BACKBONE = BackboneSpec(name="test_vit", options={"weights": "random", "seed": 1})
MODES = (Features(), Features(mode="online"))
VIEWS = {
    "whole": {},
    "resized": {"resize": Resize(mode="exact", size=(40, 56))},
    "windows": {"resize": Resize(mode="short_side", short_side=48), "window": 32, "stride": 24},
    "centre": {"centre_crop": 64},  # beyond images of 48 x 70: the rest is filled
}
TRANSFORMS = {
    "plain": Transform(resize=Resize(mode="exact", size=(40, 56))),
    "drawn": Transform(scale=(0.5, 2.0), crop=48, flip=True, photometric=True),
}


def pil(image: np.ndarray, grid: tuple[int, int]) -> torch.Tensor:
    """An image shrunk to a grid of patches by the image library itself."""
    shrunk = Image.fromarray(image).resize((grid[1], grid[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(shrunk) / 255).float()


def views(images, how, features, **view):
    spec = View(dataset="fake", split="val", **view)
    return list(
        open_view_features(spec, backbone_spec=BACKBONE, features=features, images=images, ids=images.ids, **how)
    )


def source(images, how, features, transform):
    spec = FitSpec(
        data=TrainingData(dataset="fake", transform=transform), features=features, backbone=BACKBONE, method="kmeans"
    )
    return open_training_source(spec, images=images, ids=images.ids, **how)


def test_they_are_those_of_the_image_library(make_images, tiny):
    images = make_images(2, (48, 80))
    shots = [images.image(name) for name in images.ids]
    found = antialiased_pixels(shots, tiny.info)
    assert torch.equal(found, torch.stack([pil(shot, (3, 5)) for shot in shots]))


def test_a_border_is_repeated_to_whole_patches(make_images, tiny):
    images = make_images(1, (40, 70))
    (shot,) = (images.image(name) for name in images.ids)
    padded = np.pad(shot, ((0, 8), (0, 10), (0, 0)), mode="edge")
    assert torch.equal(antialiased_pixels([shot], tiny.info)[0], pil(padded, (3, 5)))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_bring_the_same_beside_cached_and_computed_features(view, make_images, how):
    images = make_images(2, (48, 70))
    cached, online = (views(images, {**how, "antialias": True}, features, **view) for features in MODES)
    for one, other in zip(cached, online, strict=True):
        assert one.patches.antialiased.shape == one.patches.pixels.shape
        assert torch.equal(one.patches.antialiased, other.patches.antialiased)
    assert all(item.patches.antialiased is None for features in MODES for item in views(images, how, features, **view))


def ramps(image_id: str) -> np.ndarray:
    """(48, 70, 3) colours that change so slowly that shrinking with and without antialiasing gives nearly the same."""
    down, across = np.mgrid[0:1:48j, 0:1:70j]
    shades = np.stack([down, across, np.full_like(down, int(image_id[-1]) / 4)], -1)
    return (255 * shades).round().astype(np.uint8)


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_training_batches_bring_them_too(transform, make_images, how):
    images = make_images(4, (48, 70))
    images.image = ramps
    features = Features(views=2) if transform.random else Features()
    plain = source(images, how, features, transform)
    asking = source(images, {**how, "antialias": True}, features, transform)
    assert asking.reused  # one cache for those that ask and those that do not
    for epoch in (0, 1):
        for batch, without in zip(asking.batches(epoch, 2), plain.batches(epoch, 2), strict=True):
            assert without.antialiased is None
            assert torch.equal(batch.pixels, without.pixels)
            assert batch.antialiased.shape == batch.pixels.shape
            gaps = [(one - batch.pixels).abs().mean().item() for one in (batch.antialiased, batch.antialiased.flip(2))]
            assert gaps[0] < 0.03 < gaps[1]  # the same crop, flipped as it is
    whole = [batch.antialiased for batch in asking.images()]
    assert len(whole) == 4
    if not transform.random:
        online = source(images, {**how, "antialias": True}, Features(mode="online"), transform)
        assert all(torch.equal(one, other.antialiased) for one, other in zip(whole, online.images(), strict=True))


def test_a_complete_cache_needs_no_backbone_for_them(make_images, how):
    def no_backbone():
        raise AssertionError("the backbone is not needed")

    images = make_images(1, (48, 70))
    before = views(images, {**how, "antialias": True}, Features())
    after = views(images, {**how, "antialias": True, "backbone": no_backbone}, Features())
    assert torch.equal(before[0].patches.antialiased, after[0].patches.antialiased)


def test_cutting_and_joining_batches_keeps_them(make_images, how):
    first, second = (item.patches for item in views(make_images(2, (48, 80)), {**how, "antialias": True}, MODES[1]))
    both = concatenate([first, second])
    assert torch.equal(both.antialiased, torch.cat([first.antialiased, second.antialiased]))
    assert torch.equal(batch_part(both, 1, 2).antialiased, second.antialiased)
    assert torch.equal(both.to("cpu").antialiased, both.antialiased)
    assert central(first, (48, 80), 3).antialiased.shape == central(first, (48, 80), 3).pixels.shape
