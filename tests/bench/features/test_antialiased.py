"""Antialiased pixels (PIL's) and finer ones, for those that ask: the same beside cached and computed features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from spectral_bench.bench.features import open_training_source, open_view_features
from spectral_bench.bench.features.pipeline import (
    antialiased_pixels,
    central,
    concatenate,
    fine_pixels,
    grid_pixels,
)
from spectral_bench.methods.params import Colours
from spectral_bench.results.specification import BackboneSpec, Features, FitSpec, Resize, TrainingData, Transform, View

BACKBONE = BackboneSpec(name="test_vit", options={"weights": "random", "seed": 1})
ASKED = Colours(antialiased=True, samples=2)
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


def test_finer_pixels_are_those_of_a_finer_grid_in_the_place_of_their_patch(make_images, tiny):
    images = make_images(2, (48, 70))  # 3 x 5 patches of 16 x 16 pixels, the last column padded
    scaled = torch.from_numpy(np.stack([images.image(name) for name in images.ids])).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(fine_pixels(scaled, tiny.info, 1)[:, :, :, 0, 0], grid_pixels(scaled, tiny.info))
    own = fine_pixels(scaled, tiny.info, 16)  # as many as a patch has pixels: these themselves
    assert own.shape == (2, 3, 5, 16, 16, 3)
    for row, column in np.ndindex(3, 4):
        part = scaled[:, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        torch.testing.assert_close(own[:, row, column], part.permute(0, 2, 3, 1))
    assert torch.equal(own[:, :, 4, :, 6:], own[:, :, 4, :, 5:6].expand(2, 3, 16, 10, 3))  # the border, repeated


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_bring_the_same_beside_cached_and_computed_features(view, make_images, how):
    images = make_images(2, (48, 70))
    cached, online = (views(images, {**how, "colours": ASKED}, features, **view) for features in MODES)
    for one, other in zip(cached, online, strict=True):
        assert one.patches.antialiased.shape == one.patches.pixels.shape
        assert torch.equal(one.patches.antialiased, other.patches.antialiased)
        assert one.patches.fine.shape == (*one.patches.pixels.shape[:3], 2, 2, 3)
        assert torch.equal(one.patches.fine, other.patches.fine)
    assert all(
        item.patches.antialiased is item.patches.fine is None
        for features in MODES
        for item in views(images, how, features, **view)
    )


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
    asking = source(images, {**how, "colours": ASKED}, features, transform)
    assert asking.reused  # one cache for those that ask and those that do not
    for epoch in (0, 1):
        for batch, without in zip(asking.batches(epoch, 2), plain.batches(epoch, 2), strict=True):
            assert without.antialiased is without.fine is None
            assert torch.equal(batch.pixels, without.pixels)
            assert batch.antialiased.shape == batch.pixels.shape
            for colours in (batch.antialiased, batch.fine.mean((3, 4))):
                gaps = [(one - batch.pixels).abs().mean().item() for one in (colours, colours.flip(2))]
                assert gaps[0] < 0.03 < gaps[1]  # the same crop, flipped as it is
    whole = list(asking.images())
    assert len(whole) == 4
    if not transform.random:
        online = source(images, {**how, "colours": ASKED}, Features(mode="online"), transform)
        for one, other in zip(whole, online.images(), strict=True):
            assert torch.equal(one.antialiased, other.antialiased)
            assert torch.equal(one.fine, other.fine)


def test_a_complete_cache_needs_no_backbone_for_them(make_images, how):
    def no_backbone():
        raise AssertionError("the backbone is not needed")

    images = make_images(1, (48, 70))
    before = views(images, {**how, "colours": ASKED}, Features())
    after = views(images, {**how, "colours": ASKED, "backbone": no_backbone}, Features())
    assert torch.equal(before[0].patches.antialiased, after[0].patches.antialiased)
    assert torch.equal(before[0].patches.fine, after[0].patches.fine)


def test_cutting_and_joining_batches_keeps_them(make_images, how):
    first, second = (item.patches for item in views(make_images(2, (48, 80)), {**how, "colours": ASKED}, MODES[1]))
    both = concatenate([first, second])
    middle = central(first, (48, 80), 3)
    assert middle.pixels.shape == (1, 1, 3, 3)
    for name in ("antialiased", "fine"):
        one, other = getattr(first, name), getattr(second, name)
        assert torch.equal(getattr(both, name), torch.cat([one, other]))
        assert torch.equal(getattr(both.part(slice(1, 2)), name), other)
        assert torch.equal(getattr(both.to("cpu"), name), getattr(both, name))
        assert torch.equal(getattr(middle, name), one[:, 1:2, 1:4])
        assert getattr(concatenate([first, replace(second, antialiased=None, fine=None)]), name) is None
