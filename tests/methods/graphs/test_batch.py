from __future__ import annotations

import dense_reference as reference
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.batch import batch_kernel, graph_features
from spectral_bench.methods.graphs.full import FullKernel
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.interface import PatchBatch, Statistics


def draw_batch(images: int, height: int, width: int, seed: int, repeats: int = 0) -> PatchBatch:
    generator = torch.Generator().manual_seed(seed)
    shape = (images, height, width)
    features = [torch.randn(*shape, channels, generator=generator) for channels in (2, 3, 5)]
    for level in features:
        flat = level.view(-1, level.shape[-1])
        flat[:repeats] = flat[-1].clone()
        flat[len(flat) // 2] = 0
    pixels = torch.rand(*shape, 3, generator=generator)
    return PatchBatch(
        tuple(features),
        pixels,
        tuple(f"image{i}" for i in range(images)),
        (Crop.whole(height * 16, width * 16),) * images,
    )


@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), st.integers(0, 2**31), st.integers(0, 4))
@settings(deadline=None, max_examples=40)
def test_equals_the_literal_kernel(images: int, height: int, width: int, seed: int, repeats: int) -> None:
    batch = draw_batch(images, height, width, seed, repeats)
    features = batch.features[-1].flatten(0, 2).double().numpy()
    similarity = torch.from_numpy(reference.cosine_similarities(features))
    assume(not bool(((similarity.abs() > 0) & (similarity.abs() < 1e-4)).any()))
    ordered = similarity.fill_diagonal_(-2).sort(dim=1, descending=True).values
    gaps = (ordered[:, :-1] - ordered[:, 1:])[:, 5:6]
    assume(not bool(((gaps > 0) & (gaps < 1e-5)).any()))
    kernel = batch_kernel(batch, neighbours=6, alpha=0.3)
    expected = reference.kernel(features, batch.pixels.double().numpy(), 6, 0.3)
    torch.testing.assert_close(kernel.dense().double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-6)


def test_alpha_zero_leaves_the_pixel_graph_out() -> None:
    batch = draw_batch(1, 3, 3, 0)
    unreadable = PatchBatch(batch.features, batch.pixels * float("nan"), batch.image_ids, batch.crops)
    assert bool(batch_kernel(unreadable, neighbours=3, alpha=0.0).dense().isfinite().all())
    with pytest.raises(NumericalError, match="pixels"):
        batch_kernel(unreadable, neighbours=3, alpha=0.3)


def test_nan_in_features_is_an_error_for_every_kind() -> None:
    batch = draw_batch(1, 3, 3, 0)
    batch.features[-1][0, 1, 1, 0] = float("nan")
    for kind in ("knn", "mutual", "epsilon", "full"):
        with pytest.raises(NumericalError, match="first: patch 4"):
            batch_kernel(batch, neighbours=3, alpha=0.0, options=GraphOptions(kind))  # type: ignore[arg-type]


def test_the_full_graph_is_never_stored_and_gets_its_pixels_too() -> None:
    batch = draw_batch(2, 3, 3, 1)
    kernel = batch_kernel(batch, neighbours=1, alpha=0.3, options=GraphOptions("full"))
    assert isinstance(kernel, FullKernel)
    features = batch.features[-1].flatten(0, 2).double().numpy()
    expected = reference.normalised(reference.threshold_affinity(features, -1.0))
    expected = expected + 0.3 * reference.normalised(reference.pixel_affinity(batch.pixels.double().numpy()))
    torch.testing.assert_close(kernel.dense().double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-6)
    without = batch_kernel(batch, neighbours=1, alpha=0.0, options=GraphOptions("full"))
    assert isinstance(without, FullKernel)
    assert without.extra is None


@pytest.mark.parametrize(("level", "channels"), [(-1, 5), (0, 2), (1, 3), (2, 5), (-3, 2), ("all", 10)])
def test_levels_are_chosen_by_number_or_all(level: int, channels: int) -> None:
    batch = draw_batch(2, 2, 3, 0)
    chosen = graph_features(batch, level)
    assert chosen.shape == (12, channels)
    whole = torch.cat([part.flatten(0, 2) for part in batch.features], 1)
    assert torch.equal(chosen, whole if level == "all" else batch.features[level].flatten(0, 2))


@pytest.mark.parametrize("level", [3, -4])
def test_a_level_that_does_not_exist_is_refused(level: int) -> None:
    with pytest.raises(ConfigError, match=rf"graph level {level}: the backbone gives 3 levels"):
        graph_features(draw_batch(1, 2, 2, 0), level)


def test_levels_are_standardised_by_the_statistics_given() -> None:
    batch = draw_batch(2, 4, 5, 0)
    flat = [level.flatten(0, 2) for level in batch.features]
    flat[0][:, 1] = 7.0  # a channel without spread
    means = tuple(level.mean(0) for level in flat)
    stds = tuple(level.std(0, correction=0) for level in flat)
    standard = graph_features(batch, "all", Statistics(means, stds))
    torch.testing.assert_close(standard.mean(0), torch.zeros(10), rtol=0, atol=1e-5)
    spread = standard.std(0, correction=0)
    torch.testing.assert_close(spread, torch.ones(10).index_fill(0, torch.tensor([1]), 0.0))
