"""k-means against a float64 reference and scikit-learn, and where data are degenerate."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans, kmeans_plusplus
from torch import Tensor

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.lloyd import assign, cluster, lloyd, squared_distances
from spectral_bench.methods.seeding import seed_centres


def blobs(n: int, width: int, groups: int, seed: int = 0, noise: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(groups, width, generator=generator)
    return middles[torch.arange(n) % groups] + noise * torch.randn(n, width, generator=generator)


def reference_step(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and means by loops in float64; an empty cluster takes the farthest point left."""
    x, c = points.double(), centres.double()
    distances = ((x[:, None] - c[None]) ** 2).sum(-1)
    labels = distances.argmin(1)
    nearest = distances.gather(1, labels[:, None])[:, 0]
    repaired = labels.clone()
    far = iter(sorted(range(len(x)), key=lambda i: (-float(nearest[i]), i)))
    for cluster_id in range(len(c)):
        if not bool((labels == cluster_id).any()):
            point = next(far)
            if nearest[point] > 0:
                repaired[point] = cluster_id
    means = [x[repaired == j].mean(0) if bool((repaired == j).any()) else c[j] for j in range(len(c))]
    return labels, torch.stack(means)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(3, 60), width=st.integers(1, 5), k=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_one_float64_iteration_equals_the_reference(n: int, width: int, k: int, seed: int) -> None:
    points = torch.randn(n, width, dtype=torch.float64, generator=generator(seed))
    centres = torch.randn(min(k, n), width, dtype=torch.float64, generator=generator(seed + 1)) * 2
    found = lloyd(points, centres, iterations=1)
    torch.testing.assert_close(found.centres, reference_step(points, centres)[1], rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(width=st.integers(1, 5), k=st.integers(1, 8), seed=st.integers(0, 10**6), steps=st.integers(1, 6))
def test_several_iterations_equal_the_reference(width: int, k: int, seed: int, steps: int) -> None:
    points = torch.randn(80, width, dtype=torch.float64, generator=generator(seed))
    expected = points[:k]
    for _ in range(steps):
        labels, expected = reference_step(points, expected)
        assume(
            len(labels.unique()) == k
        )  # the points of a pair are equally far from their mean: a tie that rounding breaks
    found = lloyd(points, points[:k], iterations=steps, tol=-1.0)
    assert found.iterations == steps
    torch.testing.assert_close(found.centres, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(2, 12))
def test_inertia_counts_and_labels_agree(seed: int, k: int) -> None:
    points = blobs(200, 6, 5, seed)
    found = cluster(points, k, seeds=SeedStreams(seed), iterations=20)
    labels = assign(points, found.centres)
    assert torch.equal(torch.bincount(labels, minlength=k), found.counts)
    exact = ((points.double() - found.centres.double()[labels]) ** 2).sum()
    assert found.inertia == pytest.approx(float(exact), rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_inertia_never_rises(seed: int) -> None:
    points, start = blobs(300, 4, 7, seed), torch.randn(6, 4, generator=generator(seed))
    inertia = [lloyd(points, start, iterations=steps, tol=0).inertia for steps in range(1, 8)]
    assert all(later <= sooner * (1 + 1e-5) for sooner, later in pairwise(inertia))


def test_inertia_equals_that_of_scikit_learn_from_the_same_centres() -> None:
    points = blobs(4000, 24, 60, noise=0.8)
    start = points[:40].clone()
    theirs = KMeans(40, init=start.numpy(), n_init=1, max_iter=10, tol=0).fit(points.numpy())
    ours = lloyd(points, start, iterations=10, tol=0)
    assert ours.inertia == pytest.approx(float(theirs.inertia_), rel=1e-4)
    np.testing.assert_allclose(ours.centres.numpy(), theirs.cluster_centers_, atol=1e-3)


def test_the_start_is_not_changed() -> None:
    points = blobs(100, 3, 4)
    start = points[:4].clone()
    lloyd(points, start, iterations=5)
    assert torch.equal(start, points[:4])


def test_an_offset_common_to_all_points_costs_no_digits() -> None:
    points, offset = blobs(2000, 8, 10), 1000.0
    start = points[:10].clone()
    here, there = lloyd(points, start, iterations=10), lloyd(points + offset, start + offset, iterations=10)
    assert there.inertia == pytest.approx(here.inertia, rel=1e-2)
    assert torch.equal(here.counts, there.counts)


def test_large_clusters_lose_no_digits() -> None:
    points = torch.full((300_000, 2), 0.1)
    found = lloyd(points, torch.tensor([[0.0, 0.0], [5.0, 5.0]]), iterations=1, tol=0)
    torch.testing.assert_close(found.centres[0], torch.full((2,), 0.1), rtol=1e-4, atol=0)


def test_ties_go_to_the_lowest_index() -> None:
    points = torch.zeros(50, 3)
    centres = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]])
    assert not assign(points, centres).any()
    assert not squared_distances(points, centres).argmin(1).any()


def test_an_empty_cluster_takes_the_farthest_point_and_no_centre_is_nan() -> None:
    points = torch.tensor([[0.0], [0.1], [0.2], [9.0], [7.0]])
    start = torch.tensor([[0.0], [100.0], [100.0]])
    found = lloyd(points, start, iterations=1)
    assert sorted(found.centres[1:, 0].tolist()) == [7.0, 9.0]
    assert found.centres[1] == 9.0
    assert found.centres[0].item() == pytest.approx(0.1, abs=1e-6)
    assert found.counts.tolist() == [3, 1, 1]


def test_the_farthest_point_of_equals_is_the_first() -> None:
    points = torch.tensor([[0.0], [0.0], [4.0], [-4.0]])
    found = lloyd(points, torch.tensor([[0.0], [50.0]]), iterations=1)
    assert found.centres[1] == 4.0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
@pytest.mark.parametrize("k", [1, 5, 16])
def test_constant_points_end_in_one_cluster(value: float, k: int) -> None:
    points = torch.full((500, 7), value)
    found = cluster(points, k, seeds=SeedStreams(0))
    assert found.centres.isfinite().all()
    assert found.inertia == pytest.approx(0, abs=1e-6 * max(value, 1) ** 2)
    assert (found.counts > 0).sum() == 1
    assert found.converged


def test_more_clusters_than_distinct_points() -> None:
    points = torch.eye(3).repeat(20, 1)
    found = cluster(points, 8, seeds=SeedStreams(3))
    assert found.centres.isfinite().all()
    assert found.inertia == pytest.approx(0, abs=1e-5)
    assert (found.counts > 0).sum() == 3


def test_as_many_clusters_as_points() -> None:
    points = blobs(12, 5, 12)
    found = cluster(points, 12, seeds=SeedStreams(0))
    assert found.counts.tolist() == [1] * 12
    with pytest.raises(ValueError, match="13 centres wanted of 12 points"):
        cluster(points, 13, seeds=SeedStreams(0))


def test_separated_blobs_are_found() -> None:
    points = blobs(900, 80, 9)
    found = cluster(points, 9, seeds=SeedStreams(1))
    truth = torch.arange(900) % 9
    pairs = {(int(a), int(b)) for a, b in zip(assign(points, found.centres), truth, strict=True)}
    assert len(pairs) == 9
    assert found.converged


def test_rest_is_noticed_and_the_tolerance_obeyed() -> None:
    points = blobs(500, 6, 5, noise=1.0)
    start = points[:5].clone()
    exact, loose = (lloyd(points, start, iterations=300, tol=tol) for tol in (0.0, 1e-1))
    assert exact.converged
    assert loose.iterations < exact.iterations
    assert not lloyd(points, start, iterations=1, tol=0).converged


@pytest.mark.parametrize("width", [6, 130])
def test_starting_centres_are_distinct_points(width: int) -> None:
    points = blobs(3000, width, 40, noise=0.5)
    centres = seed_centres(points, 30, generator())
    at = (points[None] == centres[:, None]).all(-1).nonzero()
    assert sorted(at[:, 0].tolist()) == list(range(30))
    assert len(set(at[:, 1].tolist())) == 30


def test_starts_are_as_good_as_those_of_scikit_learn() -> None:
    points = blobs(6000, 100, 80, noise=0.6)

    def inertia(start: Callable[[int], Tensor]) -> float:
        return float(np.mean([lloyd(points, start(seed), iterations=30).inertia for seed in range(4)]))

    ours = inertia(lambda seed: seed_centres(points, 40, generator(seed)))
    theirs = inertia(lambda seed: torch.from_numpy(kmeans_plusplus(points.numpy(), 40, random_state=seed)[0]))
    assert ours < theirs * 1.02


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    points = blobs(2000, 20, 30, noise=1.0)
    first, again, other = (cluster(points, 20, seeds=SeedStreams(seed), iterations=5) for seed in (0, 0, 1))
    assert torch.equal(first.centres, again.centres)
    assert not torch.equal(first.centres, other.centres)


def test_the_best_restart_is_kept_and_iterations_are_counted_over_all() -> None:
    points = blobs(600, 5, 12, noise=0.3)
    seen: list[int] = []
    best = cluster(points, 12, seeds=SeedStreams(5), restarts=4, iterations=4, on_iteration=seen.append)
    alone = [
        lloyd(points, seed_centres(points, 12, SeedStreams(5).torch("kmeans", start)), iterations=4).inertia
        for start in range(4)
    ]
    assert best.inertia == min(alone)
    assert seen == list(range(1, len(seen) + 1))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_the_points_and_agree(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = blobs(3001, 8, 12, noise=0.5)
    start = points[:20].clone()
    alone = lloyd(points, start, iterations=6)
    monkeypatch.setattr("spectral_bench.methods.lloyd._SHARED", 1)
    monkeypatch.setattr("spectral_bench.methods.lloyd._CHUNK", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        shared, again = (lloyd(points, start, iterations=6) for _ in range(2))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(shared.centres, again.centres)
    torch.testing.assert_close(shared.centres, alone.centres)
    assert torch.equal(shared.counts, alone.counts)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 20), k=st.integers(1, 9))
def test_squared_distances(seed: int, n: int, k: int) -> None:
    points = torch.randn(n, 4, generator=generator(seed))
    centres = torch.randn(k, 4, generator=generator(seed + 1))
    exact = torch.cdist(points.double(), centres.double()).square()
    torch.testing.assert_close(squared_distances(points, centres).double(), exact, rtol=1e-4, atol=1e-5)
    assert (squared_distances(points, points) >= 0).all()
