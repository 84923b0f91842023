"""The graph of one image equals its formula."""

from __future__ import annotations

from typing import Any

import dense_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.methods.deep_spectral.affinity import all_alike, image_affinity
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.options import GraphOptions

COLOUR = GraphOptions(pixel_near=4, pixel_far=2)


def draw(height: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(height, width, 5, generator=generator), torch.rand(height, width, 3, generator=generator)


@given(st.integers(1, 5), st.integers(1, 5), st.floats(0, 20), st.booleans(), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_equals_the_literal_sum(height: int, width: int, weight: float, binary: bool, seed: int) -> None:
    features, pixels = draw(height, width, seed)
    found = image_affinity(
        features, pixels, colour_weight=weight, colour=COLOUR, binary=binary, dtype=torch.float64
    ).numpy()
    assert np.array_equal(found, found.T)
    flat = features.double().flatten(0, 1).numpy()
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    colour = np.zeros_like(found)
    for k, place in ((4, 2.0), (2, 0.1)):
        directed = reference.directed_pixel_edges(pixels.double().numpy(), k, place)
        colour += directed + directed.T
    expected = np.maximum(unit @ unit.T, 0) + weight * (np.minimum(colour, 1) if binary else colour)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_without_a_weight_the_colours_are_not_looked_at() -> None:
    features, pixels = draw(3, 4, 0)
    found = [
        image_affinity(features, colours, colour_weight=0.0, colour=COLOUR) for colours in (pixels, pixels * torch.nan)
    ]
    assert torch.equal(*found)
    with pytest.raises(NumericalError, match="pixels of the graph"):
        image_affinity(features, pixels * torch.nan, colour_weight=1.0, colour=COLOUR)


def test_a_patch_of_zeros_is_similar_to_none_not_even_itself() -> None:
    features, pixels = draw(2, 3, 1)
    features[0, 1] = 0
    found = image_affinity(features, pixels, colour_weight=0.0, colour=COLOUR)
    assert not bool(found[1].any())
    assert found.diagonal().tolist() == pytest.approx([1, 0, 1, 1, 1, 1])


@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_patches_that_are_all_alike_are_seen(weight: float) -> None:
    features, pixels = torch.full((2, 2, 5), 0.3), torch.full((2, 2, 3), 0.5)
    everybody = GraphOptions(pixel_near=20, pixel_far=20)
    assert all_alike(image_affinity(features, pixels, colour_weight=weight, colour=everybody))
    features[1, 1, 0] = 0.4
    assert not all_alike(image_affinity(features, pixels, colour_weight=weight, colour=everybody))


def test_one_patch_is_alike_to_itself() -> None:
    assert all_alike(torch.ones(1, 1))


@pytest.mark.parametrize("power", [1.0, 2.5, 10.0])
def test_similarities_are_rescaled_and_raised_to_a_power_as_in_diffcut(power: float) -> None:
    features = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(0)).double()
    unit = torch.nn.functional.normalize(features.view(20, 7), dim=1)
    cosine = unit @ unit.T
    moved = ((cosine - cosine.min()) / (cosine.max() - cosine.min())) ** power
    found = plain(features, power=power, rescaled=True, dtype=torch.float64)
    torch.testing.assert_close(found, moved)
    torch.testing.assert_close(found, found.T, rtol=0, atol=0)
    clamped = plain(features, power=power, dtype=torch.float64)
    torch.testing.assert_close(clamped, cosine.clamp_min(0) ** power)


def test_patches_without_features_stay_similar_to_none_when_rescaled() -> None:
    features = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    full = plain(features[:1], rescaled=True)
    features[1] = 0
    found = plain(features, rescaled=True)
    torch.testing.assert_close(found[:3, :3], full)
    assert not bool(found[3:].any() | found[:, 3:].any())
    assert not bool(plain(torch.zeros(2, 3, 4), rescaled=True).any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_not_scaled_up_where_patches_are_alike(dtype: torch.dtype) -> None:
    features = torch.rand(1, 1, 64, generator=torch.Generator().manual_seed(0)).expand(6, 7, 64) * 1.7
    scales = torch.rand(6, 7, 1, generator=torch.Generator().manual_seed(1)) + 0.5
    assert bool((plain(features * scales, power=10.0, rescaled=True, dtype=dtype) == 1).all())


def plain(features: torch.Tensor, **options: Any) -> torch.Tensor:
    return image_affinity(features, torch.zeros(*features.shape[:2], 3), colour_weight=0, colour=COLOUR, **options)
