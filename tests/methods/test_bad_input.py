"""Data at the edge of what a method can take, the same for each of them; the contract holds the refusals."""

from typing import Any

import pytest
import torch

from spectral_bench.methods.exact import exact_eigenspace
from spectral_bench.methods.interface import Spectral
from spectral_bench.methods.testing import MemorySource, fit, scenes

NETWORK = {"epochs": 2, "depth": 1, "heads": 2, "head_width": 4, "mlp_width": 8}
SMALL: dict[str, dict[str, Any]] = {
    "kmeans": {"k": 4},
    "neuralef": {"k": 4, **NETWORK},
    "neuralef_kmeans": {"k": 4, **NETWORK},
    "spin": {"k": 4, "functions": 3, "epochs": 2, "width": 8},
}
WITH_GRAPH = [name for name in SMALL if name != "kmeans"]


def params(name: str, batch_size: int, neighbours: int) -> dict[str, Any]:
    return SMALL[name] | ({"batch_size": batch_size, "neighbours": neighbours} if name in WITH_GRAPH else {})


def two_parts() -> MemorySource:
    """Images of either of two groups whose features are orthogonal, so that no edge joins the groups."""
    generator = torch.Generator().manual_seed(0)
    levels = []
    for channels in (4, 6, 8):
        level = torch.zeros(4, 4, 5, channels)
        level[:2, ..., : channels // 2] = torch.rand(2, 4, 5, channels // 2, generator=generator) + 0.1
        level[2:, ..., channels // 2 :] = torch.rand(2, 4, 5, channels // 2, generator=generator) + 0.1
        levels.append(level)
    return MemorySource(levels, torch.rand(4, 4, 5, 3, generator=generator))


@pytest.mark.parametrize("name", SMALL)
def test_a_single_image_is_enough(name: str) -> None:
    source = scenes(1, (4, 5))[0]
    scores = fit(name, params(name, 1, 6), source).predict(source.batch([0]))
    assert scores.shape == (1, 4, 4, 5)
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", WITH_GRAPH)
def test_more_neighbours_than_a_batch_has_patches_mean_all_of_them(name: str) -> None:
    source = scenes(4, (4, 5))[0]
    states = [fit(name, params(name, 2, k), source).state_dict() for k in (39, 100_000)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", SMALL)
def test_a_disconnected_graph_gives_finite_scores(name: str) -> None:
    source = two_parts()
    alone = {"alpha": 0.0} if name in WITH_GRAPH else {}  # the pixel graph joins nothing across images either
    method = fit(name, params(name, 4, 6) | alone, source)
    assert method.predict(source.batch(range(4))).isfinite().all()
    if isinstance(method, Spectral):
        values, _ = exact_eigenspace(method.kernel(source.batch(range(4))), 2)
        assert values == pytest.approx([values[0]] * 2, rel=1e-5)  # a part each: the graph does fall apart
