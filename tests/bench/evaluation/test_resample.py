"""Label maps and scores against plain interpolation of every window, merged pixel by pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.bench.evaluation import layout as resample
from spectral_bench.bench.evaluation.layout import WindowLayout, full_scores, label_map, score_bands
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import centre_crop, window_crops


def naive_scores(scores: Tensor, layout: WindowLayout) -> Tensor:
    """(K, H, W) float64: up-sample each window, cut its padding off, add it up, divide, cut the frame, resize."""
    height, width = layout.frame.resized
    margin = 400  # windows may reach beyond the image
    total = torch.zeros(scores.shape[1], height + 2 * margin, width + 2 * margin, dtype=torch.float64)
    cover = torch.zeros(height + 2 * margin, width + 2 * margin, dtype=torch.float64)
    for crop, patches in zip(layout.crops, scores.double(), strict=True):
        pixels = F.interpolate(patches[None], size=layout.cover, mode="bilinear", align_corners=False)[0]
        pixels = pixels[:, : crop.height, : crop.width]
        pixels = pixels.flip(-1) if crop.flip else pixels
        box = slice(crop.top + margin, crop.top + margin + crop.height)
        across = slice(crop.left + margin, crop.left + margin + crop.width)
        total[:, box, across] += pixels
        cover[box, across] += 1
    frame = layout.frame
    rows = slice(frame.top + margin, frame.top + margin + frame.height)
    columns = slice(frame.left + margin, frame.left + margin + frame.width)
    merged = (total / cover)[:, rows, columns]
    return F.interpolate(merged[None], size=layout.target, mode="bilinear", align_corners=False)[0]


def random_scores(layout: WindowLayout, n_clusters: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(layout.crops), n_clusters, *layout.grid, generator=generator)


def assert_map_equals(found: Tensor, scores: Tensor) -> None:
    """Equal to the argmax of (K, H, W) ``scores`` wherever the best leads by more than rounding."""
    assert found.dtype == torch.int64
    assert found.shape == scores.shape[1:]
    chosen = scores.gather(0, found[None])[0]
    assert (scores.amax(dim=0) - chosen).max() < 1e-5


@st.composite
def layouts(draw: st.DrawFn) -> WindowLayout:
    """Sliding windows over an image, padded to whole patches, and a label of any size."""
    height, width = draw(st.integers(5, 50)), draw(st.integers(5, 50))
    window = draw(st.integers(4, 40))
    crops = window_crops(height, width, window, draw(st.integers(1, window)))
    if draw(st.booleans()):
        crops = tuple(Crop(crop.resized, crop.top, crop.left, crop.height, crop.width, True) for crop in crops)
    if draw(st.booleans()):
        crops = tuple(draw(st.permutations(crops)))
    patch = draw(st.integers(1, 16))
    grid = -(-window // patch)
    target = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    return WindowLayout(crops, (grid, grid), (grid * patch, grid * patch), Crop.whole(height, width), target)


@settings(max_examples=60, deadline=None)
@given(layouts(), st.integers(1, 5), st.integers(0, 2**31 - 1))
def test_windows_equal_plain_interpolation(layout: WindowLayout, n_clusters: int, seed: int) -> None:
    scores = random_scores(layout, n_clusters, seed)
    expected = naive_scores(scores, layout)
    found = full_scores(scores, layout)
    assert found.shape == (*layout.target, n_clusters)
    assert (found.permute(2, 0, 1) - expected).abs().max() < 1e-5
    assert_map_equals(label_map(scores, layout), expected)


WHOLE = WindowLayout((Crop.whole(352, 480),), (22, 30), (352, 480), Crop.whole(352, 480), (360, 480))
PADDED = WindowLayout((Crop.whole(100, 150),), (7, 10), (112, 160), Crop.whole(100, 150), (213, 307))
CENTRE = WindowLayout((centre_crop(320, 427, 320),), (20, 20), (320, 320), centre_crop(320, 427, 320), (320, 320))
NATIVE = WindowLayout((Crop.whole(320, 480),), (14, 14), (320, 480), Crop.whole(320, 480), (300, 450))
SMALL = WindowLayout((centre_crop(300, 401, 320),), (20, 20), (320, 320), Crop((300, 401), 0, 40, 300, 320), (300, 320))
SLIDING = WindowLayout(window_crops(520, 780, 480, 320), (30, 30), (480, 480), Crop.whole(520, 780), (333, 500))


@pytest.mark.parametrize("layout", [WHOLE, PADDED, CENTRE, NATIVE, SMALL, SLIDING])
def test_the_views_of_the_protocols_equal_plain_interpolation(layout: WindowLayout) -> None:
    scores = random_scores(layout, 19)
    expected = naive_scores(scores, layout)
    assert (full_scores(scores, layout).permute(2, 0, 1) - expected).abs().max() < 1e-5
    assert_map_equals(label_map(scores, layout), expected)


def test_a_whole_image_takes_two_steps() -> None:
    # To the input's pixels, then to the label's: not the same as going to the label at once.
    scores = random_scores(WHOLE, 8)
    two = F.interpolate(F.interpolate(scores.double(), (352, 480), mode="bilinear"), (360, 480), mode="bilinear")[0]
    one = F.interpolate(scores.double(), (360, 480), mode="bilinear")[0]
    found = full_scores(scores, WHOLE).permute(2, 0, 1)
    assert (found - two).abs().max() < 1e-5
    assert (found - one).abs().max() > 1e-3


def test_one_hot_scores_keep_ties_at_the_lowest_cluster() -> None:
    # Two patches meet half way: the pixel between them belongs to both, and goes to the lower cluster.
    scores = torch.zeros(1, 9, 1, 2)
    scores[0, 7, 0, 0] = scores[0, 2, 0, 1] = 1.0
    layout = WindowLayout((Crop.whole(3, 6),), (1, 2), (3, 6), Crop.whole(3, 6), (3, 5))
    assert label_map(scores, layout).tolist() == [[7, 7, 2, 2, 2]] * 3
    assert label_map(torch.zeros(1, 9, 1, 2), layout).unique().tolist() == [0]


@pytest.mark.parametrize("tile", [(1, 1), (7, 2**10), (64, 2**14), (10**4, 2**30)])
def test_the_size_of_tiles_changes_nothing(tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    layout = WindowLayout(window_crops(60, 90, 48, 30), (6, 6), (48, 48), Crop.whole(60, 90), (31, 47))
    scores = random_scores(layout, 6)
    expected = naive_scores(scores, layout)
    monkeypatch.setattr(resample, "_TILE", {"cpu": tile})
    assert_map_equals(label_map(scores, layout), expected)


def test_bands_come_from_the_top_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = random_scores(PADDED, 12)
    monkeypatch.setattr(resample, "_BAND", 20 * 307 * 12 * 4)
    next_row = 0
    for rows, band in score_bands(scores, PADDED):
        assert rows.start == next_row
        assert band.shape == (rows.stop - rows.start, 307, 12)
        assert len(band) <= 20
        next_row = rows.stop
    assert next_row == 213
    assert (full_scores(scores, PADDED).permute(2, 0, 1) - naive_scores(scores, PADDED)).abs().max() < 1e-5


def test_mirrored_windows_average_with_straight_ones() -> None:
    straight, mirrored = Crop.whole(20, 30), Crop((20, 30), 0, 0, 20, 30, flip=True)
    layout = WindowLayout((straight, mirrored), (5, 6), (20, 30), straight, (20, 30))
    scores = random_scores(layout, 4)
    both = torch.stack([scores[0], scores[1].flip(-1)]).mean(dim=0, keepdim=True)
    alone = WindowLayout((straight,), (5, 6), (20, 30), straight, (20, 30))
    assert (full_scores(scores, layout) - full_scores(both, alone)).abs().max() < 1e-5


def test_a_second_call_gives_the_same_map_and_leaves_the_scores_alone() -> None:
    scores = random_scores(SLIDING, 30)
    before = scores.clone()
    first = label_map(scores, SLIDING)
    assert torch.equal(first, label_map(scores, SLIDING))
    assert torch.equal(scores, before)


def test_scores_of_other_types_and_with_gradients() -> None:
    scores = random_scores(PADDED, 5)
    half = scores.half()
    assert torch.equal(label_map(half, PADDED), label_map(half.float(), PADDED))
    assert torch.equal(label_map(scores.requires_grad_(), PADDED), label_map(scores.detach(), PADDED))
    strided = scores.detach().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(label_map(strided, PADDED), label_map(scores.detach(), PADDED))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    scores = random_scores(PADDED, 3)
    scores[0, 1, 2, 3] = value
    with pytest.raises(FloatingPointError, match="nan or infinite"):
        label_map(scores, PADDED)


@pytest.mark.parametrize("shape", [(2, 3, 7, 10), (1, 3, 10, 7), (3, 7, 10)])
def test_scores_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(1, K, 7, 10\)"):
        label_map(torch.zeros(shape), PADDED)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_map() -> None:
    scores = random_scores(SLIDING, 40)
    found = label_map(scores.cuda(), SLIDING)
    assert found.device.type == "cuda"
    assert_map_equals(found.cpu(), naive_scores(scores, SLIDING))
