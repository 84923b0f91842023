"""Standardisation, chunks and refusals of what methods are fed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.inputs import (
    all_finite,
    by_chunks,
    images_of,
    one_by_one,
    require_finite,
    require_patches,
    standardisation,
)
from spectral_bench.methods.interface import Statistics
from spectral_bench.methods.testing import MemorySource, scenes


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), offset=st.floats(-100, 100), spread=st.floats(0.01, 100))
def test_standardised_channels_have_mean_0_and_deviation_1(seed: int, offset: float, spread: float) -> None:
    level = torch.randn(2, 5, 6, 3, generator=torch.Generator().manual_seed(seed)) * spread + offset
    mean, scale = standardisation(MemorySource([level, level * 2]).statistics())
    x = (torch.cat([level, level * 2], -1).flatten(0, 2) - mean) * scale
    torch.testing.assert_close(x.mean(0), torch.zeros(6), atol=5e-3, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(6), atol=5e-3, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e4])
def test_constant_channels_become_0_whatever_rounding_left_of_their_deviation(value: float) -> None:
    mean, scale = standardisation(Statistics((torch.tensor([value]),), (torch.tensor([abs(value) * 1e-8]),)))
    assert ((torch.full((5, 1), value * (1 + 1e-7)) - mean) * scale == 0).all()
    assert scale.item() == 0


def test_small_channels_are_not_constant() -> None:
    _, scale = standardisation(Statistics((torch.tensor([0.0, 1e-9]),), (torch.tensor([1e-12, 1e-9]),)))
    torch.testing.assert_close(scale, torch.tensor([1e12, 1e9]))


def test_more_clusters_than_patches_are_refused() -> None:
    source, _ = scenes(2, (3, 4))
    require_patches(source, 24)
    with pytest.raises(ConfigError, match="k = 25: expected at most 24, the number of training patches in 2 images"):
        require_patches(source, 25)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_features_that_are_not_finite_are_refused_with_their_level(bad: float) -> None:
    levels = [torch.zeros(2, 3), torch.zeros(2, 3)]
    require_finite(levels, "image a")
    levels[1][0, 2] = bad
    with pytest.raises(NumericalError, match="level 1 of the features of image a holds NaN or infinite"):
        require_finite(levels, "image a")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [(), (float("nan"),), (float("inf"),), (float("inf"), -float("inf"))])
@pytest.mark.parametrize("scale", [1.0, -1.0, 0.0])
def test_values_are_finite_even_if_their_sum_is_not(dtype: torch.dtype, bad: tuple[float, ...], scale: float) -> None:
    values = torch.full((5, 7), torch.finfo(dtype).max * scale, dtype=dtype)
    values[2, 3 : 3 + len(bad)] = torch.tensor(bad, dtype=dtype)
    assert all_finite(values) is bool(torch.isfinite(values).all()) is (not bad)
    assert all_finite(values[:0])


def test_images_are_named() -> None:
    source, _ = scenes(6)
    assert images_of(source.batch([2])) == "image image2"
    assert images_of(source.batch([2, 0])) == "images image2, image0"
    assert images_of(source.batch(range(6))) == "images image0, image1, image2 and 3 more"


def test_chunks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.methods.inputs._ROWS", 7)
    levels = [torch.randn(30, 2), torch.randn(30, 3)]
    sizes: list[int] = []

    def function(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        sizes.append(len(parts[0]))
        return torch.cat(parts, 1) * 2

    assert torch.equal(by_chunks(function, levels, torch.device("cpu")), torch.cat(levels, 1) * 2)
    assert sizes == [7, 7, 7, 7, 2]


def test_one_by_one_keeps_everything_of_an_image() -> None:
    source, _ = scenes(4)
    batch = source.batch([3, 1, 0])
    parts = one_by_one(batch)
    assert [part.image_ids for part in parts] == [("image3",), ("image1",), ("image0",)]
    assert torch.equal(torch.cat([part.pixels for part in parts]), batch.pixels)
    for index, level in enumerate(batch.features):
        assert torch.equal(torch.cat([part.features[index] for part in parts]), level)
    assert all(len(part.crops) == 1 for part in parts)
