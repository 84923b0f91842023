"""The one-dimensional resampling matrices against torch's interpolation and against a literal merge of windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.bench.evaluation.layout import Axis, Strip, bilinear, blocks


@given(st.integers(1, 40), st.integers(1, 90))
def test_bilinear_equals_torch(n_in: int, n_out: int) -> None:
    signal = torch.randn(1, 1, n_in, generator=torch.Generator().manual_seed(n_in), dtype=torch.float64)
    expected = F.interpolate(signal, size=n_out, mode="linear", align_corners=False)[0, 0].numpy()
    np.testing.assert_allclose(bilinear(n_in, n_out) @ signal[0, 0].numpy(), expected, atol=1e-12)


@given(st.integers(1, 40))
def test_bilinear_to_the_same_size_changes_nothing(n: int) -> None:
    np.testing.assert_array_equal(bilinear(n, n).toarray(), np.eye(n))


def literal(axis: Axis, patches: list[torch.Tensor]) -> np.ndarray:
    """Up-sample, cut, put in place, average and resize, one step after the other."""
    total, cover = torch.zeros(axis.length, dtype=torch.float64), torch.zeros(axis.length, dtype=torch.float64)
    for strip, signal in zip(axis.strips, patches, strict=True):
        pixels = F.interpolate(signal[None, None], size=axis.extent, mode="linear", align_corners=False)[0, 0]
        pixels = pixels[: strip.length]
        pixels = pixels.flip(0) if strip.flip else pixels
        for index, value in enumerate(pixels):
            place = strip.start + index - axis.start
            if 0 <= place < axis.length:
                total[place] += value
                cover[place] += 1
    merged = (total / cover)[None, None]
    return F.interpolate(merged, size=axis.target, mode="linear", align_corners=False)[0, 0].numpy()


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    """Windows at a stride over a frame that may start inside of the image."""
    window = draw(st.integers(3, 20))
    stride = draw(st.integers(1, window))
    length = draw(st.integers(1, 50))
    starts = sorted({*range(0, max(length - window, 0), stride), max(length - window, 0)})
    strips = tuple(Strip(start, window, draw(st.booleans())) for start in starts)
    first = draw(st.integers(0, length - 1))
    part = draw(st.integers(1, length - first))
    extent = window + draw(st.integers(0, 5))
    return Axis(strips, draw(st.integers(1, 9)), extent, first, part, draw(st.integers(1, 60)))


@given(axes(), st.integers(0, 2**31 - 1))
def test_a_matrix_equals_the_steps_it_stands_for(axis: Axis, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    patches = [torch.randn(axis.patches, generator=generator, dtype=torch.float64) for _ in axis.strips]
    found = axis.matrix() @ torch.cat(patches).numpy()
    np.testing.assert_allclose(found, literal(axis, patches), atol=1e-10)


@given(axes())
def test_rows_are_weights(axis: Axis) -> None:
    matrix = axis.matrix().toarray()
    assert matrix.shape == (axis.target, len(axis.strips) * axis.patches)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)


@given(axes(), st.integers(1, 70))
def test_blocks_are_the_matrix(axis: Axis, size: int) -> None:
    whole = np.zeros((axis.target, len(axis.strips) * axis.patches), dtype=np.float32)
    seen = []
    for block in blocks(axis, size):
        whole[block.pixels, block.patches] = block.weights
        seen.extend(range(axis.target)[block.pixels])
        assert block.weights.shape[0] <= size
        assert (block.weights > 0).any(axis=0).all(), "a patch that no pixel of the block depends on"
    assert seen == list(range(axis.target))
    np.testing.assert_allclose(whole, axis.matrix().toarray(), atol=1e-7)


def test_a_block_depends_on_few_patches() -> None:
    starts = (0, 512, 1024, 1280)
    axis = Axis(tuple(Strip(start, 768) for start in starts), 48, 768, 0, 2048, 2048)
    assert max(len(block.patches) for block in blocks(axis, 64)) <= 3 * 6


def test_a_gap_between_windows_is_refused() -> None:
    with pytest.raises(ValueError, match="pixel 4 of the resized image lies in no window"):
        Axis((Strip(0, 4), Strip(6, 4)), 2, 4, 0, 10, 10).matrix()
    with pytest.raises(ValueError, match="pixel 8"):
        Axis((Strip(0, 8),), 2, 8, 2, 8, 8).matrix()
