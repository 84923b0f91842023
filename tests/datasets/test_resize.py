from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.datasets.transforms import resize_image, resize_label, resized_size, short_side_size
from spectral_bench.datasets.transforms.resize import round_half_up, scaled_size

SIDE = st.integers(1, 60)


@pytest.mark.parametrize(
    ("height", "width", "short", "expected"),
    [
        (375, 500, 520, (520, 693)),  # 693.33
        (500, 375, 520, (693, 520)),
        (1024, 2048, 1024, (1024, 2048)),
        (100, 100, 7, (7, 7)),
        (2, 3, 1, (1, 2)),  # 1.5 goes up
        (4, 10, 1, (1, 3)),  # 2.5 goes up
        (10, 4, 2, (5, 2)),
    ],
)
def test_short_side(height: int, width: int, short: int, expected: tuple[int, int]) -> None:
    assert short_side_size(height, width, short) == expected
    assert resized_size(height, width, "short_side", short_side=short) == expected


@given(SIDE, SIDE, SIDE)
def test_the_short_side_is_exact_and_the_shape_kept_to_half_a_pixel(height: int, width: int, short: int) -> None:
    new_height, new_width = short_side_size(height, width, short)
    assert min(new_height, new_width) == short
    assert (new_height <= new_width) == (height <= width) or new_height == new_width
    assert abs(max(new_height, new_width) - max(height, width) * short / min(height, width)) <= 0.5


def test_none_keeps_the_size_and_exact_gives_it() -> None:
    assert resized_size(30, 40) == (30, 40)
    assert resized_size(30, 40, "exact", size=(7, 9)) == (7, 9)


@pytest.mark.parametrize("mode", ["exact", "short_side", "long_side"])
def test_a_mode_without_its_argument_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"resize mode '{mode}'"):
        resized_size(30, 40, mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "expected"), [(0.5, 1), (1.5, 2), (2.5, 3), (2.499, 2), (-0.5, 0), (3.0, 3)])
def test_halves_go_up(value: float, expected: int) -> None:
    assert round_half_up(value) == expected


def test_a_scaled_size_never_vanishes() -> None:
    assert scaled_size(3, 10, 0.1) == (1, 1)
    assert scaled_size(375, 500, 2.0) == (750, 1000)
    assert scaled_size(5, 5, 0.5) == (3, 3)


def test_an_image_of_the_right_size_is_passed_through() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    assert resize_image(image, (4, 5)) is image


def test_shrinking_averages_instead_of_aliasing() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_image(stripes, (16, 16))
    assert small.shape == (16, 16, 3)
    assert np.abs(small[:, 2:-2].astype(int) - 128).max() < 25


def test_enlarging_interpolates_between_pixel_centres() -> None:
    image = np.array([[[0] * 3, [100] * 3]], np.uint8)
    np.testing.assert_array_equal(resize_image(image, (1, 4))[0, :, 0], [0, 25, 75, 100])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 25), st.integers(1, 25))
def test_labels_take_the_pixel_under_their_centre(height: int, width: int, new_height: int, new_width: int) -> None:
    label = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    resized = resize_label(label, (new_height, new_width))
    assert resized.dtype == np.uint16
    for i in range(new_height):
        for j in range(new_width):
            row, column = (2 * i + 1) * height // (2 * new_height), (2 * j + 1) * width // (2 * new_width)
            assert resized[i, j] == label[row, column]


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 5))
def test_enlarging_a_label_by_a_whole_factor_repeats_it(height: int, width: int, factor: int) -> None:
    label = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    enlarged = resize_label(label, (height * factor, width * factor))
    np.testing.assert_array_equal(enlarged, label.repeat(factor, 0).repeat(factor, 1))
    np.testing.assert_array_equal(resize_label(enlarged, label.shape), label)
