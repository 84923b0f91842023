"""Views that average in the mirrored image: the shots, the features, the cache."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.features import open_view_features
from spectral_bench.bench.features.pipeline import extract, mirrored_in
from spectral_bench.bench.features.recipes import CentreRecipe, MirroredRecipe, view_recipe
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import apply_crop
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.results.specification import BackboneSpec, Features, Resize, View

BACKBONE = BackboneSpec(name="test_vit", options={"weights": "random", "seed": 1})
FLOAT32 = Features(dtype="float32")
LOOKS = [
    pytest.param({}, id="whole, padded"),
    pytest.param({"resize": Resize(mode="exact", size=(32, 64))}, id="whole patches"),
    pytest.param({"centre_crop": 80}, id="crop larger than the image"),
    pytest.param({"window": 32, "stride": 16}, id="windows"),
    pytest.param({"window": 40, "stride": 24}, id="padded windows"),
]


def open_(images, how, flip, features=FLOAT32, **view):
    spec = View(dataset="fake", split="val", flip=flip, **view)
    return open_view_features(spec, backbone_spec=BACKBONE, features=features, images=images, ids=images.ids, **how)


def mirrored(crop: Crop) -> Crop:
    return replace(crop, flip=True)


def test_each_shot_is_followed_by_the_mirrored_ones() -> None:
    view = View(dataset="d", split="val", resize=Resize(mode="short_side", short_side=40), centre_crop=36)
    plain = view_recipe(view)
    both = view_recipe(view.model_copy(update={"flip": "scores"}))
    assert both == view_recipe(view.model_copy(update={"flip": "features"}))
    assert both == MirroredRecipe(CentreRecipe(view.resize, 36))
    first, second = both.shots(0, 60, 91)
    assert (first,) == plain.shots(0, 60, 91)
    assert second.crop == mirrored(first.crop)
    assert both.material() == {**plain.material(), "mirrored": True}


@pytest.mark.parametrize("mode", ["cache", "online"])
@pytest.mark.parametrize("look", LOOKS)
def test_scores_are_of_features_of_mirrored_windows(make_images, how, tiny, look, mode: str) -> None:
    images = make_images(2, (43, 61))
    features = Features(dtype="float32", mode=mode)
    plain = open_(images, how, None, features, **look)
    for one, both in zip(plain, open_(images, how, "scores", features, **look), strict=True):
        half = len(one.patches)
        assert both.patches.crops == (*one.patches.crops, *map(mirrored, one.patches.crops))
        assert both.cover == one.cover
        image = images.image(one.image_id)
        flipped = [apply_crop(image, crop, tiny.fill)[:, ::-1] for crop in one.patches.crops]
        expected = extract(tiny, flipped, [one.image_id] * half, both.patches.crops[half:])
        for level, straight, target in zip(both.patches.features, one.patches.features, expected.features, strict=True):
            torch.testing.assert_close(level[:half], straight, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(level[half:], target, rtol=1e-4, atol=1e-4)


def turned_back(level: np.ndarray, width: int, cover: int) -> np.ndarray:
    """(h, w, C) float64 features of a mirrored crop at the centres of the patches of the crop as it is."""
    patches = level.shape[1]
    side = cover / patches
    centres = (np.arange(patches) + 0.5) * side
    out = np.empty_like(level)
    for place, centre in enumerate(width - centres):  # where the mirrored crop shows what this patch shows
        for row in range(level.shape[0]):
            for channel in range(level.shape[2]):
                out[row, place, channel] = np.interp(centre, centres, level[row, :, channel])
    return out


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 7), st.integers(0, 2**31 - 1), st.data())
def test_mirrored_features_are_interpolated_at_the_centres_of_patches(patches, side, seed, data) -> None:
    width = data.draw(st.integers((patches - 1) * side + 1, patches * side))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(4, 2, patches, 3)).astype(np.float32)
    crop = Crop((9, 99), 0, 3, 9, width)
    batch = PatchBatch(
        (torch.from_numpy(values), torch.from_numpy(values[..., :1] * 2)),
        torch.from_numpy(rng.random((4, 2, patches, 3), np.float32)),
        ("a",) * 4,
        (crop, crop, mirrored(crop), mirrored(crop)),
    )
    merged = mirrored_in(batch, patches * side)
    assert merged.crops == (crop, crop)
    assert torch.equal(merged.pixels, batch.pixels[:2])
    for found, level in zip(merged.features, (values, values[..., :1] * 2), strict=True):
        for image in range(2):
            other = turned_back(level[2 + image].astype(np.float64), width, patches * side)
            np.testing.assert_allclose(found[image], (level[image] + other) / 2, rtol=1e-5, atol=1e-5)
    if width == patches * side:
        assert torch.equal(merged.features[0], torch.from_numpy((values[:2] + values[2:, :, ::-1]) / 2))


@pytest.mark.parametrize("mode", ["cache", "online"])
@pytest.mark.parametrize("look", LOOKS)
def test_features_are_averaged_in_every_mode(make_images, how, look, mode: str) -> None:
    images = make_images(2, (43, 61))
    features = Features(dtype="float32", mode=mode)
    merged = open_(images, how, "features", features, **look)
    for one, both in zip(merged, open_(images, how, "scores", features, **look), strict=True):
        expected = mirrored_in(both.patches, both.cover[1])
        assert one.patches.crops == expected.crops == both.patches.crops[: len(one.patches)]
        for level, target in zip(one.patches.features, expected.features, strict=True):
            assert torch.equal(level, target)
    assert torch.equal(merged.at(1).patches.features[-1], one.patches.features[-1])


def test_mirrored_images_show_the_same_averages_mirrored(make_images, how) -> None:
    """Features of whole patches, averaged with those of the mirrored image, turn round with the image."""
    images = make_images(1, (48, 64))
    (one,) = open_(images, how, "features", Features(mode="online"))
    straight = images.image
    images.image = lambda image_id: np.ascontiguousarray(straight(image_id)[:, ::-1])
    (other,) = open_(images, how, "features", Features(mode="online"))
    for level, target in zip(one.patches.features, other.patches.features, strict=True):
        torch.testing.assert_close(level, target.flip(2), rtol=1e-4, atol=1e-4)


def test_features_and_scores_share_a_cache_of_their_own(make_images, how) -> None:
    images = make_images(2)
    plain = open_(images, how, None)
    both = open_(images, how, "scores")
    assert not both.reused
    assert open_(images, how, "features").reused
    assert open_(images, how, None).reused
    sizes = sorted(sum(file.stat().st_size for file in folder.glob("*.bin")) for folder in how["folder"].iterdir())
    assert math.isclose(sizes[1], 2 * sizes[0])
    assert len(plain) == len(both) == 2
