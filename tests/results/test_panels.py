from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.results.panels import Panel, panel_path, read_panel, scaled, write_panel


def panel(functions: np.ndarray) -> Panel:
    rng = np.random.default_rng(0)
    image, window = (rng.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(2))
    truth, clusters = rng.integers(0, 400, (12, 16)), rng.integers(0, 3, (12, 16))
    return Panel(image, truth, clusters, window, functions, cover=(1.0, 1.125))


def test_a_panel_comes_back_as_it_was(tmp_path: Path):
    written = panel(scaled(np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)))
    path = write_panel(tmp_path, "v", "a/b 1", "f00", written)
    assert path == panel_path(tmp_path, "v", "a/b 1")
    found = read_panel(tmp_path, "v", "a/b 1", "f00")
    assert found is not None
    for name in ("image", "truth", "clusters", "window"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
    np.testing.assert_allclose(found.functions, written.functions, atol=2**-15)
    assert found.cover == written.cover


def test_a_panel_without_functions(tmp_path: Path):
    write_panel(tmp_path, "v", "a", "f00", panel(np.zeros((0, 1, 1), np.float32)))
    found = read_panel(tmp_path, "v", "a", "f00")
    assert found is not None
    assert len(found.functions) == 0


def test_what_belongs_to_another_evaluation_or_is_torn_counts_as_absent(tmp_path: Path):
    path = write_panel(tmp_path, "v", "a", "f00", panel(np.zeros((0, 1, 1), np.float32)))
    assert read_panel(tmp_path, "v", "b", "f00") is None
    assert read_panel(tmp_path, "v", "a", "f01") is None
    path.write_bytes(path.read_bytes()[:100])
    assert read_panel(tmp_path, "v", "a", "f00") is None


def test_the_same_panel_gives_the_same_bytes(tmp_path: Path):
    one = write_panel(tmp_path / "one", "v", "a", "f00", panel(np.ones((1, 2, 2), np.float32)))
    other = write_panel(tmp_path / "other", "v", "a", "f00", panel(np.ones((1, 2, 2), np.float32)))
    assert one.read_bytes() == other.read_bytes()


VALUES = st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=6, max_size=6)


@given(VALUES, st.sampled_from([-4.0, -1.0, 2.0]))
def test_scale_and_sign_of_an_eigenfunction_do_not_matter(values: list[float], factor: float):
    function = np.array(values, np.float32).reshape(1, 2, 3)
    found = scaled(function)
    np.testing.assert_array_equal(scaled(np.float32(factor) * function), found)
    assert np.abs(found).max() <= 1
    assert found.max() == (1 if function.any() else 0)


def test_a_function_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="nan or infinite"):
        scaled(np.array([[[np.nan, 1.0]]], np.float32))
