"""k-means at 100 000 x 384, K = 256: ten iterations from the same centres beside scikit-learn's, and the start.

``pytest benchmarks/bench_kmeans.py`` prints the times; both use all threads that torch and scikit-learn are given.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from spectral_bench.methods.lloyd import lloyd
from spectral_bench.methods.seeding import seed_centres

POINTS, WIDTH, CLUSTERS, ITERATIONS, ROUNDS = 100_000, 384, 256, 10, 5


@pytest.fixture(scope="module")
def points() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(1000, WIDTH, generator=generator)
    chosen = torch.randint(1000, (POINTS,), generator=generator)
    return 0.7 * (middles[chosen] + torch.randn(POINTS, WIDTH, generator=generator))


@pytest.fixture(scope="module")
def inertia() -> dict[str, float]:
    return {}


@pytest.mark.benchmark(group="ten iterations from the same centres")
def test_ours(benchmark: Any, points: Tensor, inertia: dict[str, float]) -> None:
    start = points[:CLUSTERS].clone()
    found = benchmark.pedantic(
        lloyd, (points, start), {"iterations": ITERATIONS, "tol": 0}, rounds=ROUNDS, warmup_rounds=1
    )
    inertia["ours"] = found.inertia


@pytest.mark.benchmark(group="ten iterations from the same centres")
def test_scikit_learn(benchmark: Any, points: Tensor, inertia: dict[str, float]) -> None:
    values, start = points.numpy(), points[:CLUSTERS].numpy()
    theirs = KMeans(CLUSTERS, init=start, n_init=1, max_iter=ITERATIONS, tol=0)
    benchmark.pedantic(theirs.fit, (values,), rounds=ROUNDS, warmup_rounds=1)
    assert inertia["ours"] == pytest.approx(float(theirs.inertia_), rel=1e-2)


@pytest.mark.benchmark(group="starting centres")
def test_start(benchmark: Any, points: Tensor) -> None:
    def start() -> Tensor:
        return seed_centres(points, CLUSTERS, torch.Generator().manual_seed(0))

    assert benchmark.pedantic(start, rounds=ROUNDS, warmup_rounds=1).shape == (CLUSTERS, WIDTH)
