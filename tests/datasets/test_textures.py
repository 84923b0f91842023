from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.datasets.synthetic.textures import TEXTURES, Frame, value_noise

RANDOM = np.random.default_rng(0).random(192 * 256)


def _frame(height: int = 48, width: int = 64, period: float = 8.0) -> Frame:
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return Frame(y / period, x / period, RANDOM)


@pytest.mark.parametrize("name", TEXTURES)
def test_every_texture_blends_two_colours_and_uses_both(name: str) -> None:
    values = TEXTURES[name](_frame(192, 256))
    assert values.shape == (192, 256)
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.std() > 0.02


@pytest.mark.parametrize("name", ["rows", "columns", "checks", "bricks", "dots", "mesh", "chevrons", "rings"])
def test_regular_textures_repeat(name: str) -> None:
    frame = _frame()
    shifted = Frame(frame.y + 6, frame.x + 6, RANDOM)  # a whole number of periods of each of them
    # Thirds of a period are not exact in binary, so that single pixels on an edge may fall to the other side.
    assert np.mean(TEXTURES[name](frame) != TEXTURES[name](shifted)) < 0.03


def test_rows_and_columns_are_each_other_turned() -> None:
    frame = _frame(32, 32)
    np.testing.assert_array_equal(TEXTURES["rows"](frame), TEXTURES["columns"](frame).T)
    assert (np.ptp(TEXTURES["rows"](frame), axis=1) == 0).all()


def test_no_two_textures_are_alike() -> None:
    frame = _frame()
    values = [TEXTURES[name](frame) for name in TEXTURES]
    for i, first in enumerate(values):
        for second in values[:i]:
            assert np.abs(first - second).mean() > 0.05


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_value_noise_is_continuous_and_within_its_lattice(y: float, x: float) -> None:
    here = value_noise(np.array([[y]]), np.array([[x]]), RANDOM)
    near = value_noise(np.array([[y + 1e-6]]), np.array([[x + 1e-6]]), RANDOM)
    assert 0 <= here[0, 0] <= 1
    assert abs(here[0, 0] - near[0, 0]) < 1e-4


def test_value_noise_takes_the_lattice_values_at_lattice_points() -> None:
    y, x = np.array([[3.0]]), np.array([[7.0]])
    assert value_noise(y, x, RANDOM)[0, 0] == RANDOM[(3 * 1619 + 7 * 31) % len(RANDOM)]
