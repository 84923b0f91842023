"""PAMR over one image: against a literal loop in float64, at borders and edges, in parts, and on CUDA."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spectral_bench.bench.evaluation import guided as parts
from spectral_bench.bench.evaluation import pamr as module
from spectral_bench.bench.evaluation.counting import ScoredImage
from spectral_bench.bench.evaluation.guided import neighbour_indices
from spectral_bench.bench.evaluation.layout import WindowLayout, full_scores, label_map
from spectral_bench.bench.evaluation.pamr import (
    neighbour_weights,
    pamr_bytes,
    pamr_clusters,
    refine,
    refined,
)
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import window_crops
from spectral_bench.results.specification import Pamr

CPU = torch.device("cpu")
LAYOUT = WindowLayout(window_crops(24, 40, 20, 12), (5, 5), (20, 20), Crop.whole(24, 40), (12, 18))


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def scores(n_clusters: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(len(LAYOUT.crops), n_clusters, *LAYOUT.grid, generator=generator)


def naive(values: NDArray[Any], image: NDArray[np.uint8], pamr: Pamr) -> NDArray[np.float64]:
    """(H, W, K) scores after PAMR, pixel by pixel in float64: weights from the paper's formula, then the means."""
    height, width = image.shape[:2]
    colours = image.astype(np.float64) / 255
    around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    weights, places = {}, {}
    for row in range(height):
        for column in range(width):
            near, all_of = [], []
            for by in pamr.dilations:
                for down, right in around:
                    place = min(max(row + down * by, 0), height - 1), min(max(column + right * by, 0), width - 1)
                    all_of.append(colours[place])
                    if (down, right) != (0, 0):
                        near.append(place)
            deviation = np.std(all_of, axis=0, ddof=1)
            logits = [
                -np.mean(np.abs(colours[row, column] - colours[place]) / (1e-8 + pamr.contrast * deviation))
                for place in near
            ]
            shares = np.exp(np.array(logits) - max(logits))
            weights[row, column], places[row, column] = shares / shares.sum(), near
    current = values.astype(np.float64)
    for _ in range(pamr.iterations):
        following = np.zeros_like(current)
        for pixel, near in places.items():
            for share, place in zip(weights[pixel], near, strict=True):
                following[pixel] += share * current[place]
        current = following
    return current


@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    st.integers(1, 3),
    st.sampled_from([0.05, 0.1, 1.0]),
    st.integers(0, 2**31),
)
@settings(max_examples=25)
def test_it_is_the_formula_pixel_by_pixel(
    height: int, width: int, dilations: list[int], iterations: int, contrast: float, seed: int
) -> None:
    pamr = Pamr(iterations=iterations, dilations=tuple(dilations), contrast=contrast)
    image, values = picture(height, width, seed), np.random.default_rng(seed).normal(size=(height, width, 3))
    image[: height // 2] = image[0, 0]  # of one colour: no deviation
    expected = naive(values, image, pamr)
    neighbours = neighbour_indices((height, width), pamr.dilations, CPU)
    for dtype, atol in ((torch.float64, 1e-9), (torch.float32, 2e-4)):
        weights = neighbour_weights(torch.from_numpy(image).to(dtype) / 255, neighbours, pamr)
        assert weights.dtype == dtype
        torch.testing.assert_close(weights.sum(1), torch.ones(height * width, dtype=dtype))
        found = refined(torch.from_numpy(values).to(dtype).flatten(0, 1), neighbours, weights, iterations)
        np.testing.assert_allclose(found.numpy().reshape(values.shape), expected, atol=atol)


def test_clusters_are_the_argmax_of_refined_scores_at_the_labels_pixels() -> None:
    image, pamr = picture(*LAYOUT.target), Pamr(iterations=2, dilations=(1, 3))
    expected = naive(full_scores(scores(), LAYOUT).numpy(), image, pamr)
    found = refine(scores(), LAYOUT, image, pamr)
    assert found.dtype == torch.int64
    ordered = np.sort(expected, axis=-1)
    clear = ordered[..., -1] - ordered[..., -2] > 1e-4
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found.numpy()[clear], expected.argmax(-1)[clear])


def test_scores_do_not_cross_an_edge() -> None:
    """Noisy scores on two areas of one colour each: each becomes of one cluster, and their border stays."""
    layout = WindowLayout((Crop.whole(32, 48),), (32, 48), (32, 48), Crop.whole(32, 48), (32, 48))
    area = torch.arange(48) >= 20
    truth = area.long().expand(32, 48)
    noisy = 0.6 * torch.stack([1 - truth, truth]).float() + 0.5 * torch.randn(
        2, 32, 48, generator=torch.Generator().manual_seed(0)
    )
    image = np.where(area.numpy()[None, :, None], 200, 30).repeat(32, 0).repeat(3, 2).astype(np.uint8)
    before, after = label_map(noisy[None], layout), refine(noisy[None], layout, image, Pamr())
    assert (before == truth).float().mean() < 0.9
    assert torch.equal(after, truth)


def test_equal_scores_go_to_the_lowest_cluster_whatever_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    tied = scores(11)
    tied[:, 7], tied[:, 9] = tied[:, 2], tied[:, 2]
    image = picture(*LAYOUT.target)
    whole = refine(tied, LAYOUT, image, Pamr(iterations=3))
    assert not {7, 9} & set(whole.unique().tolist())
    for at_once in (1, 2, 4):
        monkeypatch.setattr(parts, "at_once", lambda pixels, count=at_once: count)
        assert torch.equal(refine(tied, LAYOUT, image, Pamr(iterations=3)), whole)


def test_threads_change_no_bit() -> None:
    image, values = picture(40, 50), torch.randn(2000, 7, generator=torch.Generator().manual_seed(0))
    pamr, before, found = Pamr(iterations=2), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            neighbours = neighbour_indices((40, 50), pamr.dilations, CPU)
            weights = neighbour_weights(torch.from_numpy(image) / 255, neighbours, pamr)
            found.append(refined(values, neighbours, weights, 2))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_an_image_of_one_pixel_keeps_its_scores() -> None:
    layout = WindowLayout((Crop.whole(1, 1),), (1, 1), (1, 1), Crop.whole(1, 1), (1, 1))
    values = torch.tensor([0.1, 0.7, 0.3]).view(1, 3, 1, 1)
    assert refine(values, layout, picture(1, 1), Pamr()).tolist() == [[1]]


def test_scores_that_are_not_finite_are_refused() -> None:
    broken = scores()
    broken[0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="nan or infinite"):
        refine(broken, LAYOUT, picture(*LAYOUT.target), Pamr())


def test_an_image_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: 10**5)
    image = ScoredImage("street", (24, 40), scores(), LAYOUT)
    loader: Any = SimpleNamespace(image=lambda name: picture(24, 40))
    with pytest.raises(MemoryError, match=r"image street: PAMR at 12 x 18 pixels takes about 0.0 GB, and 0.0 GB are"):
        pamr_clusters(image, images=loader, pamr=Pamr(), stage=lambda name: nullcontext())
    assert pamr_bytes(10**6, (1024, 2048), Pamr()) < 3 * 10**9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_clusters() -> None:
    image, on_cpu = picture(*LAYOUT.target), refine(scores(), LAYOUT, picture(*LAYOUT.target), Pamr())
    on_cuda = refine(scores().cuda(), LAYOUT, image, Pamr())
    assert on_cuda.device.type == "cuda"
    assert (on_cuda.cpu() == on_cpu).float().mean() > 0.99
