import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.features.source import Moments, statistics_of
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.interface import PatchBatch


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    offset=st.sampled_from([0.0, 100.0, -1e4]),
    seed=st.integers(0, 1000),
)
def test_chunks_give_the_moments_of_the_whole(lengths, offset, seed):
    rows = np.random.default_rng(seed).normal(offset, 3.0, (sum(lengths), 4)).astype(np.float32)
    moments = Moments()
    for chunk in np.split(rows, np.cumsum(lengths)[:-1]):
        moments.add(torch.from_numpy(chunk))
    mean, std = moments.result()
    wide = rows.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(std, wide.std(0), rtol=1e-5, atol=1e-6)
    assert mean.dtype == std.dtype == torch.float32


def test_a_large_mean_does_not_swallow_a_small_deviation():
    moments = Moments()
    for value in (10_000.0, 10_001.0):
        moments.add(torch.full((1000, 1), value))
    assert moments.result()[1].item() == pytest.approx(0.5, rel=1e-6)


def test_each_level_has_its_own_statistics():
    batches = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        levels = tuple(torch.randn(1, 2, 3, width, generator=generator) * width for width in (2, 5))
        batches.append(PatchBatch(levels, torch.zeros(1, 2, 3, 3), ("a",), (Crop.whole(32, 48),)))
    statistics = statistics_of(iter(batches))
    for number, width in enumerate((2, 5)):
        rows = torch.cat([batch.features[number].reshape(-1, width) for batch in batches])
        torch.testing.assert_close(statistics.mean[number], rows.mean(0))
        torch.testing.assert_close(statistics.std[number], rows.std(0, correction=0))
