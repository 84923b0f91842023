from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.datasets.transforms import Crop, apply_crop, crop_label, draw_crop, resize_image, resize_label

SIDE = st.integers(3, 40)
CROPS = st.builds(
    Crop,
    resized=st.tuples(SIDE, SIDE),
    top=st.integers(-12, 30),
    left=st.integers(-12, 30),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    flip=st.booleans(),
)


def _image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _slow_crop(resized: np.ndarray, crop: Crop, fill: object) -> np.ndarray:
    """The definition, pixel by pixel, on an image or label that has been resized as a whole."""
    result = np.empty((crop.height, crop.width, *resized.shape[2:]), resized.dtype)
    for i in range(crop.height):
        for j in range(crop.width):
            row, column = crop.top + i, crop.left + (crop.width - 1 - j if crop.flip else j)
            inside = 0 <= row < crop.resized[0] and 0 <= column < crop.resized[1]
            result[i, j] = resized[row, column] if inside else fill
    return result


@given(SIDE, SIDE, CROPS)
def test_a_crop_equals_the_box_of_the_whole_resized_image(height: int, width: int, crop: Crop) -> None:
    image = _image(height, width)
    expected = _slow_crop(resize_image(image, crop.resized), crop, (9, 8, 7))
    found = apply_crop(image, crop, (9, 8, 7))
    assert found.dtype == np.uint8
    assert found.shape == (crop.height, crop.width, 3)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


@given(SIDE, SIDE, CROPS)
def test_a_crop_without_resizing_is_exact(height: int, width: int, crop: Crop) -> None:
    crop = Crop((height, width), crop.top, crop.left, crop.height, crop.width, crop.flip)
    image = _image(height, width)
    np.testing.assert_array_equal(apply_crop(image, crop, 7), _slow_crop(image, crop, 7))


@given(SIDE, SIDE, CROPS)
def test_a_label_crop_equals_the_box_of_the_whole_resized_label(height: int, width: int, crop: Crop) -> None:
    label = np.random.default_rng(1).integers(0, 2**16, (height, width)).astype(np.uint16)
    found = crop_label(label, crop, 65535)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, _slow_crop(resize_label(label, crop.resized), crop, 65535))


def test_image_and_label_crops_show_the_same_place() -> None:
    # The label is a function of the image, so it must still be one after any crop without resizing.
    image = _image(30, 40)
    label = image[..., 0].astype(np.uint16)
    for seed in range(20):
        crop = draw_crop(np.random.default_rng(seed), 30, 40, crop=24, flip=True)
        np.testing.assert_array_equal(apply_crop(image, crop)[..., 0], crop_label(label, crop, 0))


def test_the_whole_image_is_returned_unchanged() -> None:
    image = _image(6, 8)
    np.testing.assert_array_equal(apply_crop(image, Crop.whole(6, 8)), image)


def test_results_do_not_share_memory_when_they_are_flipped() -> None:
    flipped = apply_crop(_image(6, 8), Crop((6, 8), 0, 0, 6, 8, flip=True))
    assert flipped.flags.c_contiguous


@given(
    st.integers(0, 2**32),
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([None, (0.5, 2.0), (1.0, 1.0), (0.9, 1.1)]),
    st.sampled_from([None, 32, 480]),
    st.booleans(),
)
def test_drawn_crops_stay_in_bounds(
    seed: int, height: int, width: int, scale: tuple[float, float] | None, size: int | None, flip: bool
) -> None:
    crop = draw_crop(np.random.default_rng(seed), height, width, scale=scale, crop=size, flip=flip)
    low, high = scale or (1.0, 1.0)
    for side, resized in zip((height, width), crop.resized, strict=True):
        assert max(1, side * low - 0.5) <= resized <= max(1, side * high + 0.5)
    if size is None:
        assert (crop.top, crop.left, crop.height, crop.width) == (0, 0, *crop.resized)
    else:
        assert crop.height == crop.width == size
        for start, resized in ((crop.top, crop.resized[0]), (crop.left, crop.resized[1])):
            assert 0 <= start <= max(resized - size, 0)
    assert flip or not crop.flip


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([None, (0.5, 2.0)]), st.sampled_from([None, 10]))
def test_a_draw_takes_the_same_numbers_whatever_the_options(
    seed: int, flip: bool, scale: tuple[float, float] | None, size: int | None
) -> None:
    with_options, plain = np.random.default_rng(seed), np.random.default_rng(seed)
    draw_crop(with_options, 20, 30, scale=scale, crop=size, flip=flip)
    draw_crop(plain, 20, 30)
    assert with_options.random() == plain.random()


def test_equal_seeds_draw_equal_crops_and_others_differ() -> None:
    def draw(seed: int) -> list[Crop]:
        rng = np.random.default_rng(seed)
        return [draw_crop(rng, 520, 693, scale=(0.5, 2.0), crop=480, flip=True) for _ in range(5)]

    assert draw(3) == draw(3) != draw(4)
    assert len(set(draw(3))) == 5


def test_draws_are_uniform_over_places_sizes_and_sides() -> None:
    rng = np.random.default_rng(0)
    crops = [draw_crop(rng, 100, 100, crop=91, flip=True) for _ in range(4000)]
    for values in ([c.top for c in crops], [c.left for c in crops]):
        counts = np.bincount(values, minlength=10)
        assert len(counts) == 10
        assert counts.min() > 320
        assert counts.max() < 480
    assert 0.47 < np.mean([c.flip for c in crops]) < 0.53
    sizes = [draw_crop(rng, 100, 100, scale=(0.5, 2.0)).resized[0] for _ in range(4000)]
    assert 49 < min(sizes) < 52
    assert 198 < max(sizes) <= 200
    assert np.mean(sizes) == pytest.approx(125, abs=3)


def test_height_and_width_share_one_factor() -> None:
    crop = draw_crop(np.random.default_rng(1), 100, 300, scale=(0.5, 2.0))
    assert crop.resized[1] / crop.resized[0] == pytest.approx(3, abs=0.03)
