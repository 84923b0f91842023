from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.datasets.transforms import Crop, centre_crop, window_crops


@pytest.mark.parametrize(
    ("height", "width", "window", "stride", "tops", "lefts"),
    [
        (520, 693, 480, 320, [0, 40], [0, 213]),
        (1024, 2048, 768, 512, [0, 256], [0, 512, 1024, 1280]),
        (512, 512, 512, 512, [0], [0]),
        (512, 1024, 512, 512, [0], [0, 512]),
        (512, 513, 512, 512, [0], [0, 1]),
        (100, 700, 480, 320, [0], [0, 220]),
    ],
)
def test_the_windows_of_the_protocols(
    height: int, width: int, window: int, stride: int, tops: list[int], lefts: list[int]
) -> None:
    found = window_crops(height, width, window, stride)
    assert [(c.top, c.left) for c in found] == [(top, left) for top in tops for left in lefts]
    assert all(c == Crop((height, width), c.top, c.left, window, window) for c in found)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.data())
def test_windows_cover_every_pixel_once_each_and_stay_inside(
    height: int, width: int, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window))
    crops = window_crops(height, width, window, stride)
    assert len(set(crops)) == len(crops)
    covered = np.zeros((height, width), int)
    for crop in crops:
        covered[crop.top : crop.top + window, crop.left : crop.left + window] += 1
        assert 0 <= crop.top <= max(height - window, 0)
        assert 0 <= crop.left <= max(width - window, 0)
    assert covered.min() >= 1
    down = max(0, -(-(height - window) // stride)) + 1
    across = max(0, -(-(width - window) // stride)) + 1
    assert len(crops) == down * across


@pytest.mark.parametrize("stride", [0, -1, 11])
def test_a_stride_that_leaves_pixels_out_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride {stride}; expected 1 to 10"):
        window_crops(50, 50, 10, stride)


@pytest.mark.parametrize(
    ("height", "width", "top", "left"),
    [
        (320, 426, 0, 53),
        (320, 427, 0, 54),  # 53.5 to the even neighbour
        (320, 425, 0, 52),  # 52.5 to the even neighbour
        (300, 640, -10, 160),
        (301, 320, -9, 0),  # 19 rows of padding: 9 above, 10 below
    ],
)
def test_the_centre(height: int, width: int, top: int, left: int) -> None:
    assert centre_crop(height, width, 320) == Crop((height, width), top, left, 320, 320)


@pytest.mark.slow
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_the_centre_agrees_with_torchvision(height: int, width: int, size: int) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    from spectral_bench.datasets.transforms import crop_label

    label = 1 + np.arange(height * width, dtype=np.uint16).reshape(height, width)
    expected = functional.center_crop(torch.from_numpy(label.astype(np.int32))[None], [size, size])[0].numpy()
    np.testing.assert_array_equal(crop_label(label, centre_crop(height, width, size), 0), expected)
