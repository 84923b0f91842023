"""Guided up-sampling of one image: against literal loops in float64, at thin things, in parts, and on CUDA."""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from test_axis import axes

from spectral_bench.bench.evaluation import guided as module
from spectral_bench.bench.evaluation.counting import ScoredImage
from spectral_bench.bench.evaluation.crf import energies
from spectral_bench.bench.evaluation.guided import (
    Guide,
    Members,
    guided_bytes,
    guided_clusters,
    largest_of,
    neighbour_indices,
    owners,
)
from spectral_bench.bench.evaluation.layout import Axis, WindowLayout, full_scores, label_map
from spectral_bench.bench.evaluation.pamr import neighbour_weights, refine, refined
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import window_crops
from spectral_bench.results.specification import Guided, Pamr

CPU = torch.device("cpu")
WINDOWS = WindowLayout(window_crops(24, 40, 20, 12), (5, 5), (20, 20), Crop.whole(24, 40), (12, 18))
WHOLE = Crop.whole(16, 24)
MIRRORED = WindowLayout((WHOLE, Crop((16, 24), 0, 0, 16, 24, flip=True)), (2, 3), (16, 24), WHOLE, (17, 23))
ONE = WindowLayout((WHOLE,), (2, 3), (16, 24), WHOLE, (16, 24))


def picture(layout: WindowLayout, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*layout.target, 3)).astype(np.uint8)


def scores(layout: WindowLayout, n_clusters: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(len(layout.crops), n_clusters, *layout.grid, generator=generator)


def patch_of(axis: Axis, strip: int, pixel: int) -> int:
    """The patch of a window that the centre of a label pixel lies in, by fractions; -1 outside of it."""
    window = axis.strips[strip]
    place = axis.start + Fraction(2 * pixel + 1, 2) * Fraction(axis.length, axis.target) - window.start
    if not 0 <= place < window.length:
        return -1
    patch = Fraction(axis.extent, axis.patches)
    for index in range(axis.patches):
        low, high = index * patch, (index + 1) * patch
        if (low < window.length - place <= high) if window.flip else (low <= place < high):
            return index
    raise AssertionError("a window is covered by its patches")


@given(axes())
@settings(max_examples=30)
def test_a_pixel_belongs_to_the_patch_that_its_centre_lies_in(axis: Axis) -> None:
    expected = [[patch_of(axis, strip, pixel) for pixel in range(axis.target)] for strip in range(len(axis.strips))]
    assert owners(axis).tolist() == expected


def naive(values: NDArray[Any], given: NDArray[Any], layout: WindowLayout, image: NDArray[Any], how: Guided) -> Any:
    """(H, W, K) up-sampled scores, pixel by pixel in float64.

    Args:
        values: (H, W, K) scores that are up-sampled bilinearly.
        given: (W, K, h, w) the patches' scores.
        layout: where windows and label lie.
        image: (H, W, 3).
        how: the settings.
    """
    height, width = image.shape[:2]
    colours, current = image / 255.0, values.astype(np.float64)
    tops = sorted({(crop.top, crop.height) for crop in layout.crops})
    lefts = sorted({(crop.left, crop.width, crop.flip) for crop in layout.crops})
    around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    patches: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    held: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for index, crop in enumerate(layout.crops):
        down, across = tops.index((crop.top, crop.height)), lefts.index((crop.left, crop.width, crop.flip))
        for row in range(height):
            for column in range(width):
                patch = patch_of(layout.rows, down, row), patch_of(layout.columns, across, column)
                if min(patch) >= 0:
                    patches.setdefault((index, *patch), []).append((row, column))
                    held.setdefault((row, column), []).append((index, *patch))
    for iteration in range(how.iterations):
        turn = how.distances[-1 - iteration % len(how.distances)]
        following = np.zeros_like(current)
        for row in range(height):
            for column in range(width):
                shares, total = [], 0.0
                for by in how.distances if how.distances_taken == "together" else [turn]:
                    for down, right in around:
                        place = min(max(row + down * by, 0), height - 1), min(max(column + right * by, 0), width - 1)
                        square = ((colours[place] - colours[row, column]) ** 2).sum()
                        shares.append((np.exp(-square / (2 * how.contrast**2)) + 1e-6, place))
                        total += shares[-1][0]
                for share, place in shares:
                    following[row, column] += share / total * current[place]
        short = {
            (index, y, x): given[index, :, y, x] - np.mean([following[pixel] for pixel in pixels], axis=0)
            for (index, y, x), pixels in patches.items()
        }
        ratios = {
            patch: given[patch[0], :, patch[1], patch[2]] / (given[patch[0], :, patch[1], patch[2]] - missing)
            for patch, missing in short.items()
            if how.correction == "ratio"
        }
        for pixel, owned in held.items():
            if ratios:
                following[pixel] *= 1 + how.keep * (np.mean([ratios[patch] for patch in owned], axis=0) - 1)
            else:
                following[pixel] += how.keep * np.mean([short[patch] for patch in owned], axis=0)
        current = following
    return current


@pytest.mark.parametrize("layout", [ONE, MIRRORED, WINDOWS], ids=["whole", "mirrored", "windows"])
@pytest.mark.parametrize(
    ("keep", "correction", "taken"),
    [
        *((keep, "shift", "together") for keep in (1.0, 0.4, 0.0)),
        (0.0, "shift", "in_turn"),
        *((keep, "ratio", "in_turn") for keep in (1.0, 0.4)),
    ],
)
def test_it_is_the_formula_pixel_by_pixel(layout: WindowLayout, keep: float, correction: Any, taken: Any) -> None:
    image, given = picture(layout, seed=3), scores(layout)
    given = torch.softmax(given, 1) if correction == "ratio" else given
    image[: layout.target[0] // 2] //= 8  # similar colours: weights of all sizes
    how = Guided(iterations=3, distances=(1, 3), contrast=0.1, keep=keep, correction=correction, distances_taken=taken)
    expected = naive(full_scores(given, layout).numpy(), given.double().numpy(), layout, image, how)
    found = Guide.of(layout, image, how, CPU).scores(given)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    ordered = np.sort(expected, axis=-1)
    clear = ordered[..., -1] - ordered[..., -2] > 1e-3
    assert clear.mean() > 0.95
    clusters = largest_of(given, layout, image, how)
    assert clusters.dtype == torch.int64
    np.testing.assert_array_equal(clusters.numpy()[clear], expected.argmax(-1)[clear])


@pytest.mark.parametrize("correction", ["shift", "ratio"])
def test_each_patch_keeps_its_mean(correction: Any) -> None:
    given, image = torch.softmax(scores(ONE), 1), picture(ONE)
    given[:, 3] = 0
    found = Guide.of(ONE, image, Guided(correction=correction), CPU).scores(given)
    means = found.view(2, 8, 3, 8, 5).mean((1, 3)).permute(2, 0, 1)
    torch.testing.assert_close(means, given[0], atol=1e-4, rtol=0)
    assert found[..., 3].abs().max() < 1e-4
    if correction == "ratio":
        assert found.min() >= 0


def test_ratios_give_what_is_thin_more_of_its_patch_than_shifts() -> None:
    """A post of 1 pixel in patches of 8, of a colour near that of the rest."""
    post = np.zeros(ONE.target, dtype=bool)
    post[:, 10] = True
    image = np.where(post[..., None], 120, 100).repeat(3, 2).astype(np.uint8)
    share = torch.tensor([0.0, 0.125, 0.0]).expand(2, 3)
    given = torch.stack([1 - share, share])[None]
    shifted, multiplied = (
        Guide.of(ONE, image, Guided(correction=how, contrast=0.05), CPU).scores(given)[..., 1].numpy()[post]
        for how in ("shift", "ratio")
    )
    assert multiplied.mean() > 1.2 * shifted.mean()


def test_ratios_of_negative_scores_are_refused_and_a_temperature_makes_them_shares() -> None:
    given, image = scores(WINDOWS), picture(WINDOWS)
    with pytest.raises(ConfigError, match=r"correction: ratio multiplies scores, .* some of -\d.*: set a temperature"):
        largest_of(given, WINDOWS, image, Guided(correction="ratio"))
    how = Guided(iterations=3, correction="ratio", temperature=0.5)
    shares = torch.softmax(given / 0.5, 1)
    expected = largest_of(shares, WINDOWS, image, Guided(iterations=3, correction="ratio"))
    assert torch.equal(largest_of(given, WINDOWS, image, how), expected)
    pamr = Pamr(iterations=1)
    whole = refine(shares, WINDOWS, image, pamr, Guided(iterations=3, correction="ratio"))
    assert torch.equal(refine(given, WINDOWS, image, pamr, how), whole)


def test_the_crf_takes_ratios_of_a_temperature_for_shares_too() -> None:
    pytest.importorskip("pydensecrf.densecrf")
    given, image = scores(WINDOWS), picture(WINDOWS)
    how, shares = Guided(iterations=3, correction="ratio", temperature=0.5), torch.softmax(given / 0.5, 1)
    guides = [Guide.of(WINDOWS, image, one, CPU) for one in (how, how.model_copy(update={"temperature": None}))]
    np.testing.assert_array_equal(energies(given, WINDOWS, guides[0]), energies(shares, WINDOWS, guides[1]))


def test_what_has_vanished_in_a_patch_comes_back_by_ratios_too() -> None:
    """Patches of one pixel each, whose neighbours have none of their cluster: their mean is 0 at first."""
    layout = WindowLayout((WHOLE,), (2, 3), (16, 24), WHOLE, (2, 3))
    given = torch.zeros(1, 2, 2, 3)
    given[0, 1, 0, 0], given[0, 0] = 1, 1 - given[0, 1]
    how = Guided(iterations=1, distances=(2,), correction="ratio")
    torch.testing.assert_close(Guide.of(layout, picture(layout), how, CPU).scores(given), given[0].permute(1, 2, 0))


def test_what_fills_a_small_part_of_a_patch_wins_its_pixels() -> None:
    """A post of 2 pixels in patches of 8: evenly spread its quarter wins none, by colour it wins its own."""
    post = np.zeros(ONE.target, dtype=bool)
    post[:, 10:12] = True
    image = np.where(post[..., None], 220, 40).repeat(3, 2).astype(np.uint8)
    share = torch.tensor([0.0, 0.25, 0.0]).expand(2, 3)
    given = torch.stack([1 - share, share])[None]
    assert not label_map(given, ONE).any()
    assert largest_of(given, ONE, image, Guided()).bool().numpy().tolist() == post.tolist()


def test_equal_scores_go_to_the_lowest_cluster_whatever_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    tied, image, how = scores(WINDOWS, 11), picture(WINDOWS), Guided(iterations=3)
    tied[:, 7], tied[:, 9] = tied[:, 2], tied[:, 2]
    whole = largest_of(tied, WINDOWS, image, how)
    assert not {7, 9} & set(whole.unique().tolist())
    shares = Guided(iterations=3, correction="ratio", temperature=2.0)
    other = largest_of(tied, WINDOWS, image, shares)
    for count in (1, 2, 4):
        monkeypatch.setattr(module, "at_once", lambda pixels, count=count: count)
        assert torch.equal(largest_of(tied, WINDOWS, image, how), whole)
        assert torch.equal(largest_of(tied, WINDOWS, image, shares), other)


def test_the_crf_starts_from_the_same_scores() -> None:
    pytest.importorskip("pydensecrf.densecrf")
    given, image, how = scores(WINDOWS), picture(WINDOWS), Guided(iterations=3)
    guide = Guide.of(WINDOWS, image, how, CPU)
    shares = torch.softmax(guide.scores(given), -1).permute(2, 0, 1).clamp(1e-5, 1)
    found = energies(given, WINDOWS, guide).reshape(5, *WINDOWS.target)
    np.testing.assert_allclose(found, -shares.log().numpy(), atol=1e-5)


def test_pamr_starts_from_the_same_scores() -> None:
    given, image, pamr, how = scores(WINDOWS), picture(WINDOWS), Pamr(iterations=1), Guided(iterations=3)
    neighbours = neighbour_indices(WINDOWS.target, pamr.dilations, CPU)
    weights = neighbour_weights(torch.from_numpy(image).float() / 255, neighbours, pamr)
    values = Guide.of(WINDOWS, image, how, CPU).scores(given).flatten(0, 1)
    expected = refined(values, neighbours, weights, 1).argmax(1).view(WINDOWS.target)
    assert torch.equal(refine(given, WINDOWS, image, pamr, how), expected)
    assert not torch.equal(refine(given, WINDOWS, image, pamr), expected)


def test_threads_change_no_bit() -> None:
    given, image, before, found = scores(WINDOWS, 7), picture(WINDOWS), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(Guide.of(WINDOWS, image, Guided(iterations=2), CPU).scores(given))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_an_image_of_one_pixel_keeps_its_scores() -> None:
    layout = WindowLayout((Crop.whole(1, 1),), (1, 1), (1, 1), Crop.whole(1, 1), (1, 1))
    values = torch.tensor([0.1, 0.7, 0.3]).view(1, 3, 1, 1)
    assert largest_of(values, layout, picture(layout), Guided()).tolist() == [[1]]


def test_patches_without_a_pixel_move_nothing() -> None:
    """Fewer label pixels than patches: those that no centre lies in have no mean to keep."""
    layout = WindowLayout((WHOLE,), (2, 8), (16, 24), WHOLE, (2, 3))
    members = Members.of(layout.columns, CPU)
    assert members.held.sum() == 3
    assert Guide.of(layout, picture(layout), Guided(), CPU).scores(scores(layout)).isfinite().all()


def test_scores_that_are_not_finite_are_refused() -> None:
    broken = scores(ONE)
    broken[0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="nan or infinite"):
        largest_of(broken, ONE, picture(ONE), Guided())


def test_an_image_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: 10**5)
    image = ScoredImage("street", (16, 24), scores(ONE), ONE)
    loader: Any = SimpleNamespace(image=lambda name: picture(ONE))
    expected = r"image street: guided up-sampling to 16 x 24 pixels takes about 0.0 GB, and 0.0 GB are free"
    with pytest.raises(MemoryError, match=expected):
        guided_clusters(image, images=loader, guided=Guided(), stage=lambda name: nullcontext())
    assert guided_bytes(10**6, (1024, 2048), Guided()) < 3 * 10**9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_clusters() -> None:
    given, image = scores(WINDOWS), picture(WINDOWS)
    on_cuda = largest_of(given.cuda(), WINDOWS, image, Guided())
    assert on_cuda.device.type == "cuda"
    assert (on_cuda.cpu() == largest_of(given, WINDOWS, image, Guided())).float().mean() > 0.99
