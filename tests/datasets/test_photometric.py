from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.datasets.transforms import Photometric, distort, draw_photometric

CHANGES = st.builds(
    Photometric,
    brightness=st.floats(-32, 32),
    contrast=st.floats(0.5, 1.5),
    contrast_last=st.booleans(),
    saturation=st.floats(0.5, 1.5),
    hue=st.floats(-36, 36),
)


def _image(seed: int = 0, side: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def _slow(pixel: tuple[int, int, int], change: Photometric) -> np.ndarray:
    """The definition in floating point, one pixel, without rounding between the steps."""

    def contrast(values: np.ndarray) -> np.ndarray:
        return np.clip(values * change.contrast, 0, 255)

    values = np.clip(np.asarray(pixel, float) + change.brightness, 0, 255)
    if not change.contrast_last:
        values = contrast(values)
    hue, saturation, value = colorsys.rgb_to_hsv(*(values / 255))
    rgb = colorsys.hsv_to_rgb((hue + change.hue / 360) % 1, min(saturation * change.saturation, 1), value)
    values = np.asarray(rgb) * 255
    return contrast(values) if change.contrast_last else values


def test_the_default_changes_nothing() -> None:
    np.testing.assert_array_equal(distort(_image(), Photometric()), _image())


@settings(max_examples=60)
@given(CHANGES, st.integers(0, 1000))
def test_it_follows_the_definition_up_to_8_bit_steps(change: Photometric, seed: int) -> None:
    image = _image(seed, 5)
    found = distort(image, change).reshape(-1, 3)
    expected = np.array([_slow(tuple(pixel), change) for pixel in image.reshape(-1, 3)])
    error = np.abs(found - expected)
    # Hue is cut to a level of 1.4 degrees and its shift rounded to half of one: up to 9 grey levels of the steepest
    # channel. Saturation, cut to a level and multiplied, adds up to 2, and rounding before and after 3. Contrast
    # multiplies all of this where it comes last.
    assert error.max() <= 14 * (max(change.contrast, 1.0) if change.contrast_last else 1.0)
    assert error.mean() <= 3


@pytest.mark.parametrize(("delta", "expected"), [(10.0, [10, 110, 255]), (-10.4, [0, 90, 240])])
def test_brightness_adds_and_saturates(delta: float, expected: list[int]) -> None:
    image = np.array([[[0, 100, 250]]], np.uint8)
    np.testing.assert_array_equal(distort(image, Photometric(brightness=delta))[0, 0], expected)


@pytest.mark.parametrize("last", [False, True])
def test_contrast_multiplies_and_saturates(last: bool) -> None:
    image = np.array([[[0, 101, 250]]], np.uint8)
    np.testing.assert_array_equal(distort(image, Photometric(contrast=1.5, contrast_last=last))[0, 0], [0, 152, 255])


def test_the_place_of_contrast_matters_where_something_saturates() -> None:
    image = np.array([[[200, 120, 120]]], np.uint8)
    first = distort(image, Photometric(contrast=1.5, saturation=0.5))
    last = distort(image, Photometric(contrast=1.5, saturation=0.5, contrast_last=True))
    assert not np.array_equal(first, last)


def test_a_third_of_the_circle_turns_red_into_green() -> None:
    image = np.array([[[255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(distort(image, Photometric(hue=120.0))[0, 0], [0, 255, 0], atol=6)
    np.testing.assert_allclose(distort(image, Photometric(hue=-120.0))[0, 0], [0, 0, 255], atol=6)


def test_saturation_leaves_grey_alone() -> None:
    image = np.full((2, 2, 3), 90, np.uint8)
    np.testing.assert_array_equal(distort(image, Photometric(saturation=1.5, hue=30.0)), image)


def test_the_image_passed_in_is_not_changed() -> None:
    image = _image()
    distort(image, Photometric(20.0, 1.3, True, 0.6, 12.0))
    np.testing.assert_array_equal(image, _image())


def test_draws_lie_in_their_ranges_and_each_change_comes_in_half_of_them() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_photometric(rng) for _ in range(4000)]
    for values, low, high, neutral in (
        ([d.brightness for d in drawn], -32, 32, 0.0),
        ([d.contrast for d in drawn], 0.5, 1.5, 1.0),
        ([d.saturation for d in drawn], 0.5, 1.5, 1.0),
        ([d.hue for d in drawn], -36, 36, 0.0),
    ):
        active = [value for value in values if value != neutral]
        assert 0.46 < len(active) / len(drawn) < 0.54
        span = high - low
        assert low <= min(active) < low + 0.02 * span
        assert high - 0.02 * span < max(active) <= high
        assert np.mean(active) == pytest.approx((low + high) / 2, abs=0.03 * span)
    assert 0.46 < np.mean([d.contrast_last for d in drawn]) < 0.54


def test_the_four_changes_are_drawn_independently() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_photometric(rng) for _ in range(4000)]
    active = np.array([[d.brightness != 0, d.contrast != 1, d.saturation != 1, d.hue != 0] for d in drawn], float)
    correlation = np.corrcoef(active.T) - np.eye(4)
    assert np.abs(correlation).max() < 0.06


def test_a_draw_can_be_replayed() -> None:
    first, again = (draw_photometric(np.random.default_rng(5)) for _ in range(2))
    assert first == again
    np.testing.assert_array_equal(distort(_image(), first), distort(_image(), again))


def test_every_draw_takes_the_same_count_of_numbers() -> None:
    for seed in range(20):
        used, plain = np.random.default_rng(seed), np.random.default_rng(seed)
        draw_photometric(used)
        plain.random(9)
        assert used.random() == plain.random()
