import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.features.backbones import BackboneInfo
from spectral_bench.bench.features.pipeline import central, concatenate, extract, grid_pixels
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.interface import PatchBatch

INFO = BackboneInfo("any", 16, (4, 4, 4), "vit")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_batch_holds_features_pixels_names_and_crops(tiny):
    crops = (Crop.whole(40, 64), Crop((80, 64), 40, 0, 40, 64, flip=True))
    batch = extract(tiny, [picture(40, 64), picture(40, 64, 1)], ["a", "b"], crops)
    assert len(batch) == 2
    assert batch.grid == (3, 4)
    assert [tuple(level.shape) for level in batch.features] == [(2, 3, 4, 64)] * 3
    assert batch.pixels.shape == (2, 3, 4, 3)
    assert batch.pixels.dtype == torch.float32
    assert (batch.image_ids, batch.crops) == (("a", "b"), crops)


def test_features_are_those_of_the_scaled_image(tiny):
    image = picture(48, 64)
    scaled = torch.tensor(image)[None].permute(0, 3, 1, 2).float() / 255  # the strides of extract: the same bits
    batch = extract(tiny, [image], ["a"], [Crop.whole(48, 64)])
    for level, target in zip(batch.features, tiny.features(scaled), strict=True):
        assert torch.equal(level, target)


def test_pixels_are_sampled_at_patch_centres_without_antialiasing():
    """At an even stride the centre of a patch lies between four pixels: bilinear sampling gives their mean."""
    image = torch.rand(1, 3, 48, 64)
    pixels = grid_pixels(image, INFO)
    for row in range(3):
        for column in range(4):
            y, x = 16 * row + 7, 16 * column + 7
            expected = image[0, :, y : y + 2, x : x + 2].mean((1, 2))
            torch.testing.assert_close(pixels[0, row, column], expected)


def test_beyond_the_image_pixels_repeat_its_border():
    image = torch.zeros(1, 3, 20, 16)
    image[:, :, 19] = 0.25
    pixels = grid_pixels(image, INFO)
    assert pixels.shape == (1, 2, 1, 3)
    torch.testing.assert_close(pixels[0, 1, 0], torch.full((3,), 0.25))


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_pixels_are_colours_of_the_image(height, width):
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height * 71 + width))
    pixels = grid_pixels(image, INFO)
    assert tuple(pixels.shape[1:3]) == INFO.grid(height, width)
    assert (pixels >= image.amin() - 1e-6).all()
    assert (pixels <= image.amax() + 1e-6).all()


def test_at_a_native_resolution_pixels_span_the_whole_image():
    info = BackboneInfo("any", 16, (4, 4, 4), "clip", (32, 32))
    image = torch.zeros(1, 3, 100, 60)
    image[:, :, :50] = 1.0
    pixels = grid_pixels(image, info)
    assert pixels.shape == (1, 2, 2, 3)
    assert (pixels[0, 0] == 1).all()
    assert (pixels[0, 1] == 0).all()


@pytest.mark.parametrize("cut", [1, 2])
def test_concatenate_undoes_entries(tiny, cut):
    crops = [Crop.whole(32, 32)] * 3
    batch = extract(tiny, [picture(32, 32, seed) for seed in range(3)], ["a", "b", "c"], crops)
    again = concatenate([batch.part(slice(0, cut)), batch.part(slice(cut, 3))])
    assert again.image_ids == batch.image_ids
    assert again.crops == batch.crops
    assert torch.equal(again.pixels, batch.pixels)
    assert all(torch.equal(one, other) for one, other in zip(again.features, batch.features, strict=True))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 300))
def test_the_central_part_is_in_the_middle_and_no_larger_than_asked_for(height, width, most):
    places = torch.arange(height * width).view(1, height, width, 1).float()
    crop = Crop((16 * height + 8, 16 * width), 5, 7, 16 * height, 16 * width)
    batch = PatchBatch((places, places), places.expand(-1, -1, -1, 3), ("a",), (crop,))
    part = central(batch, (16 * height, 16 * width), most)
    rows, columns = part.grid
    assert rows * columns <= most or rows * columns == height * width <= most
    assert 2 * rows * columns >= min(most, height * width) / 2  # no needless loss
    top, left = (height - rows) // 2, (width - columns) // 2
    assert torch.equal(part.features[1], places[:, top : top + rows, left : left + columns])
    assert part.pixels.shape == (1, rows, columns, 3)
    (cut,) = part.crops
    assert (cut.resized, cut.top, cut.left) == (crop.resized, 5 + 16 * top, 7 + 16 * left)
    assert (cut.height, cut.width) == (16 * rows, 16 * columns)
